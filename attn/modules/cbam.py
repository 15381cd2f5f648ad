"""CBAM: Convolutional Block Attention Module (Woo et al. 2018, arXiv:1807.06521).

Paper and authors' code agree on the channel part: average and maximum over space go through one
shared two-layer MLP, and are added before the sigmoid. The paper's formulas leave out what the
authors' code has: the MLP's biases (`bias`), and a BatchNorm after the spatial convolution, whose
gain their ResNet starts at 0, so that the spatial gate is 0.5 everywhere at first (`spatial_bn`).
Both follow the code by default. Its spatial convolution reads [max, mean], as here; ports that
read [mean, max] differ only in the order of its weights.

The mean and the maximum are taken by reduction instead of pooling layers: any height and width,
and deterministic gradients; where several positions tie for the maximum the gradient is shared
among them, while a pooling layer gives it to one.
"""

import torch
from torch import nn

from attn.modules.precision import full_precision, maximum, mean
from attn.modules.width import hidden_width
from attn.scores import Scores


class ChannelAttention(nn.Module):
    """CBAM's channel part alone: y = sigmoid(MLP(mean x) + MLP(max x)) * x.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where reduction is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        hidden = hidden_width("cbam", channels, reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            pooled = mean(x, (2, 3)), maximum(x, (2, 3))  # each (B, C, 1, 1)
            s = self.scores(torch.sigmoid(self.mlp(pooled[0]) + self.mlp(pooled[1])))
        return x * s.to(x.dtype)


class SpatialAttention(nn.Module):
    """CBAM's spatial part: y = sigmoid(BN(conv[max over C; mean over C])) * x.

    Score: the gate, (B, 1, H, W), in (0, 1): by how much each position is kept.
    Raises ValueError where the kernel is not odd.
    """

    def __init__(self, kernel: int = 7, bn: bool = True):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"cbam: kernel={kernel} has no centre; choose an odd one (3, 7)")
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01) if bn else nn.Identity()
        if bn:
            nn.init.zeros_(self.bn.weight)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            pooled = torch.cat([maximum(x, 1), mean(x, 1)], 1)  # (B, 2, H, W)
            q = self.scores(torch.sigmoid(self.bn(self.conv(pooled))))
        return x * q.to(x.dtype)


class CBAM(nn.Module):
    """Channel attention, then spatial attention.

    Scores: the channel gate (B, C, 1, 1) and the spatial gate (B, 1, H, W), both in (0, 1).
    Raises ValueError where reduction is below 1 or the kernel is not odd.
    """

    seam = "refine"

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        bias: bool = True,
        kernel: int = 7,
        spatial_bn: bool = True,
    ):
        super().__init__()
        self.channel = ChannelAttention(channels, reduction, bias)
        self.spatial = SpatialAttention(kernel, spatial_bn)

    def forward(self, x):  # (B, C, H, W)
        return self.spatial(self.channel(x))
