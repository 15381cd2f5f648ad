"""ResNet (He et al. 2015, arXiv:1512.03385), torchvision's and the paper's for CIFAR, with seams.

resnet18 and resnet50 are torchvision's: same keys, same outputs, until a seam is filled.
resnet20, 56 and 110 are the networks of section 4.2: three stages of 16, 32 and 64 channels behind
a 3x3 stem. Where the shape changes, the paper pads the shortcut with zeros (option A). Here the
shortcut is a 1x1 convolution with normalisation (option B, torchvision's), which adds 2,752
parameters.
"""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from attn.backbones.scale import scale_inputs, scale_outputs
from attn.backbones.stem import check_stem
from attn.network.seams import Seams


def shortcut(block, x):
    return x if block.downsample is None else block.downsample(x)


class Basic(BasicBlock):
    """torchvision's block of two 3x3 convolutions, with seams."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        width = self.bn2.num_features
        self.act1 = nn.ReLU(inplace=True)
        self.seams = Seams(conv=width, refine=width, fuse=width, out=width)

    @property
    def convolution(self) -> nn.Sequential:
        return nn.Sequential(self.conv1, self.bn1, self.act1)

    def replace_convolution(self, module: nn.Module):
        self.conv1, self.bn1, self.act1 = module, nn.Identity(), nn.Identity()

    def forward(self, x):  # (B, C, H, W)
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.seams.refine(self.bn2(self.conv2(y)))
        return self.seams.out(self.relu(self.seams.fuse(y, shortcut(self, x))))

    def fold(self, place, factors):
        scale_outputs(self.bn2, factors)


class Bottle(Bottleneck):
    """torchvision's block of a 1x1, a 3x3 and a 1x1 convolution, with seams."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        width = self.bn3.num_features
        self.act2 = nn.ReLU(inplace=True)
        self.seams = Seams(conv=self.bn2.num_features, refine=width, fuse=width, out=width)

    @property
    def convolution(self) -> nn.Sequential:
        return nn.Sequential(self.conv2, self.bn2, self.act2)

    def replace_convolution(self, module: nn.Module):
        self.conv2, self.bn2, self.act2 = module, nn.Identity(), nn.Identity()

    def forward(self, x):  # (B, C, H, W)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.act2(self.bn2(self.conv2(y)))
        y = self.seams.refine(self.bn3(self.conv3(y)))
        return self.seams.out(self.relu(self.seams.fuse(y, shortcut(self, x))))

    def fold(self, place, factors):
        scale_outputs(self.bn3, factors)


class ResNetWithSeams(ResNet):
    """torchvision's four stages.

    stem: imagenet is a 7x7 convolution of stride 2 and a pooling of stride 2, cifar a 3x3
    convolution without pooling. groups, width_per_group: groups and width of the bottlenecks'
    3x3 convolutions (ResNeXt). Raises ValueError where stem is neither imagenet nor cifar.
    """

    stem_name = "conv1"

    def __init__(self, block, depths, num_classes, stem, **widths):
        check_stem("resnet", stem)
        super().__init__(block, depths, num_classes, **widths)
        if stem == "cifar":
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.seams = Seams(input=3, features=self.fc.in_features)

    @property
    def stages(self) -> list[list[nn.Module]]:
        layers = [self.layer1, self.layer2, self.layer3, self.layer4]
        return [list(layer) for layer in layers if len(layer)]

    def forward(self, x):  # (B, 3, H, W)
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.seams.input(x)))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.classify(self.seams.features(x))

    def classify(self, x):  # (B, C, h, w)
        return self.fc(torch.flatten(self.avgpool(x), 1))

    def fold(self, place, factors):
        scale_inputs({"input": self.conv1, "features": self.fc}[place], factors)


class CifarResNet(ResNetWithSeams):
    """A network of three stages and 6 * depth + 2 layers."""

    def __init__(self, depth: int, num_classes: int):
        nn.Module.__init__(self)  # torchvision's constructor would build the four ImageNet stages
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = 16, 1, 1, 64
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        self.layer1 = self._make_layer(Basic, 16, depth)
        self.layer2 = self._make_layer(Basic, 32, depth, stride=2)
        self.layer3 = self._make_layer(Basic, 64, depth, stride=2)
        self.layer4 = nn.Sequential()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        self.seams = Seams(input=3, features=64)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(num_classes: int = 1000, stem: str = "imagenet"):
    return ResNetWithSeams(Basic, [2, 2, 2, 2], num_classes, stem)


def resnet50(
    num_classes: int = 1000, stem: str = "imagenet", groups: int = 1, width_per_group: int = 64
):
    if groups < 1 or width_per_group < 1:
        raise ValueError(
            f"resnet50: groups={groups}, width_per_group={width_per_group}; choose 1 and 64, "
            "or ResNeXt's 32 and 4"
        )
    widths = {"groups": groups, "width_per_group": width_per_group}
    return ResNetWithSeams(Bottle, [3, 4, 6, 3], num_classes, stem, **widths)


def resnet20(num_classes: int = 10):
    return CifarResNet(3, num_classes)


def resnet56(num_classes: int = 10):
    return CifarResNet(9, num_classes)


def resnet110(num_classes: int = 10):
    return CifarResNet(18, num_classes)
