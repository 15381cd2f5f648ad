"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): torchvision's, with seams."""

import torchvision

from attn.seams import Seams


class MobileNetV2(torchvision.models.MobileNetV2):
    """torchvision's network: same keys, same outputs, until a seam is filled."""

    stem = "features.0.0"

    def __init__(self, num_classes: int = 1000):
        super().__init__(num_classes)
        self.seams = Seams(input=3, features=self.last_channel)

    def forward(self, x):  # (B, 3, H, W)
        x = self.features(self.seams.input(x))
        x = self.seams.features(x)  # (B, 1280, H/32, W/32)
        return self.classifier(x.mean((2, 3)))
