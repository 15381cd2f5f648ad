"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): torchvision's network, with seams.

Attention on the residual branch has two of the published places here: `expansion`, after the
depthwise step in the blocks that expand (coordinate attention, MobileNetV3), and `projection`,
after the last normalisation (ECA-Net).
"""

from functools import partial

import torchvision
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

from attn.backbones.scale import scale_inputs, scale_outputs
from attn.backbones.stem import check_stem
from attn.network.seams import Seams

PLACES = ("expansion", "projection")


class Inverted(InvertedResidual):
    """torchvision's block of 1x1 expansion, 3x3 depthwise and 1x1 projection, with seams."""

    def __init__(self, inside, outside, stride, expand_ratio, norm_layer=None, refine_at=PLACES[0]):
        super().__init__(inside, outside, stride, expand_ratio, norm_layer)
        self.refine_at = refine_at
        expanded = inside * expand_ratio if expand_ratio != 1 else None
        width = {"expansion": expanded, "projection": outside}[refine_at]
        added = outside if self.use_res_connect else None
        hidden = self.conv[-3][0].out_channels
        self.seams = Seams(conv=hidden, refine=width, fuse=added, out=outside)

    @property
    def convolution(self) -> nn.Sequential:
        return self.conv[-3]

    def replace_convolution(self, module: nn.Module):
        self.conv[-3] = module

    def forward(self, x):  # (B, C, H, W)
        depthwise, project = self.conv[:-2], self.conv[-2:]
        if self.refine_at == "expansion":
            y = project(self.seams.refine(depthwise(x)))
        else:
            y = self.seams.refine(project(depthwise(x)))
        return self.seams.out(self.seams.fuse(y, x) if self.use_res_connect else y)

    def fold(self, place, factors):
        if self.refine_at == "expansion":
            scale_inputs(self.conv[-2], factors)
        else:
            scale_outputs(self.conv[-1], factors)


class MobileNetV2(torchvision.models.MobileNetV2):
    """torchvision's network: same keys, same outputs, until a seam is filled.

    stem: imagenet halves the image's size five times in all, cifar four times (its stem has no
    stride). Raises ValueError where stem or refine_at is unknown.
    """

    stem_name = "features.0.0"

    def __init__(self, num_classes: int = 1000, stem: str = "imagenet", refine_at: str = PLACES[0]):
        check_stem("mobilenet_v2", stem)
        if refine_at not in PLACES:
            raise ValueError(
                f"mobilenet_v2: refine_at={refine_at}; choose one of {', '.join(PLACES)}"
            )
        super().__init__(num_classes, block=partial(Inverted, refine_at=refine_at))
        if stem == "cifar":
            self.features[0][0].stride = (1, 1)
        self.seams = Seams(input=3, features=self.last_channel)

    @property
    def stages(self) -> list[list[Inverted]]:
        """Returns the blocks of each of the five resolutions.

        The resolutions end at 16, 24, 32, 96 and 320 channels.
        """
        stages = [[]]
        for block in self.features[1:-1]:
            if block.stride == 2:
                stages.append([])
            stages[-1].append(block)
        return stages

    def forward(self, x):  # (B, 3, H, W)
        x = self.features(self.seams.input(x))
        return self.classify(self.seams.features(x))

    def classify(self, x):  # (B, 1280, h, w)
        return self.classifier(x.mean((2, 3)))

    def fold(self, place, factors):
        layers = {"input": self.features[0][0], "features": self.classifier[-1]}
        scale_inputs(layers[place], factors)
