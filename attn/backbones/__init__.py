"""The backbones: one dictionary of names; each is `Backbone(num_classes)` for three input channels.

A backbone names its stem convolution (`stem`), and owns the `seams` that attention may fill.
"""

from attn.backbones.mobilenet import MobileNetV2
from attn.backbones.resnet import resnet20

BACKBONES = {"mobilenet_v2": MobileNetV2, "resnet20": resnet20}
