"""The backbones by name; each backbone is `Backbone(num_classes)` for three input channels.

A backbone names its stem convolution (`stem_name`), lists its blocks by stage (`stages`), and
owns the `seams` that attention may fill; so does each block. `classify(features)` gives a
backbone's logits from the final feature map. `fold(place, factors)` of a backbone or a block puts
constant factors of a place into the weights beside it. A block with the seam `conv` also has
`convolution` and `replace_convolution`.
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
