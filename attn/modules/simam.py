"""SimAM: a gate without parameters (Yang et al. 2021, PMLR 139, 11863-11874).

The paper divides the variance by the number of positions, the authors' code by that number less
one; here it is the code's. The authors place the gate behind the block's 3x3 convolution and before
its normalisation, in MobileNetV2 too; here the gate stands where SE does. Their code has 0.0001 for
CIFAR and 0.1 for ImageNet as `strength`, the paper's lambda. Over a single position the gate is
sigmoid(0.5).
"""

import math

import torch
from torch import nn

from attn.modules.numeric import full, full_precision, gated, mean
from attn.network.scores import Scores


class SimAM(nn.Module):
    """y = sigmoid(((x - m)^2 + 2 v + 2 l) / (4 (v + l))) * x; m, v: a channel's mean, variance.

    Score: the gate, (B, C, H, W), in [0.62, 1]: the further a position lies from its channel's
    mean, the more of it is kept.
    Raises ValueError where strength, which is l, is not above 0, or infinite.
    """

    seam = "refine"

    def __init__(self, channels: int, strength: float = 1e-4):
        super().__init__()
        if not 0 < strength < math.inf:
            raise ValueError(f"strength={strength}: it must be above 0, and finite: 0.0001")
        self.strength = strength
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        positions = x.shape[2] * x.shape[3]
        with full_precision(x):
            d = (full(x) - mean(x, (2, 3))).square()  # (B, C, H, W)
            v = d.sum((2, 3), keepdim=True) / max(1, positions - 1)  # (B, C, 1, 1)
            s = self.scores(torch.sigmoid(d / (4 * (v + self.strength)) + 0.5))  # (B, C, H, W)
        return gated(x, s)
