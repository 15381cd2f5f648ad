"""ResNet for CIFAR (He et al. 2015, arXiv:1512.03385, section 4.2), of torchvision's blocks.

Three stages of 16, 32 and 64 channels behind a 3x3 stem. Where the shape changes the shortcut
is a 1x1 convolution with normalisation (the paper's option B, torchvision's); the paper's CIFAR
networks pad with zeros instead (option A), which saves 2,752 parameters.
"""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from attn.seams import Seams


class CifarResNet(ResNet):
    """6 * depth + 2 layers; torchvision's names for its parts."""

    stem = "conv1"

    def __init__(self, depth: int, num_classes: int = 10):
        nn.Module.__init__(self)  # torchvision's constructor would build the four ImageNet stages
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = 16, 1, 1, 64
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._make_layer(BasicBlock, 16, depth)
        self.layer2 = self._make_layer(BasicBlock, 32, depth, stride=2)
        self.layer3 = self._make_layer(BasicBlock, 64, depth, stride=2)
        self.fc = nn.Linear(64, num_classes)
        self.seams = Seams(input=3, features=64)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):  # (B, 3, H, W)
        x = self.relu(self.bn1(self.conv1(self.seams.input(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.seams.features(x)  # (B, 64, H/4, W/4)
        return self.fc(torch.flatten(x.mean((2, 3)), 1))


def resnet20(num_classes: int = 10):
    return CifarResNet(3, num_classes)
