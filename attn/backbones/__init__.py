"""The backbones by name; each backbone is `Backbone(num_classes)` for three input channels.

A backbone names its stem convolution (`stem_name`), lists its blocks by stage (`stages`), and
owns the `seams` that attention may fill; so does each block.
"""

from attn.backbones.mobilenet import MobileNetV2
from attn.backbones.resnet import resnet18, resnet20, resnet50, resnet56, resnet110

BACKBONES = {
    "mobilenet_v2": MobileNetV2,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "resnet110": resnet110,
}
