"""SA: shuffle attention (Zhang and Yang 2021, arXiv:2102.00240).

Paper and authors' code agree. Each of `groups` groups of channels gives its first half to a channel
gate and its second half to a spatial gate, with weights that all groups share. The authors' 64
groups do not divide narrow layers (their code divides by zero); here the number of groups is the
largest divisor of half the channels that is at most `groups`. The shuffled branch is added to a
shortcut that is not shuffled, as published. At `first` with three noise channels the question is
confounded: R, B and noise 2 get channel gates, the others spatial gates, and the stem gets colours
and noise in turn. Over a single position the spatial gates are the same for every image. Basic
blocks are not in the authors' code.
"""

import torch
from torch import nn

from attn.modules.numeric import full, full_precision, gated, mean
from attn.network.scores import Scores
from attn.network.seams import CannotStand


def normalise(x, norm: nn.GroupNorm):
    """Normalises each channel of each image by itself; torch's own refuses single values."""
    centred = full(x) - mean(x, (2, 3))
    normed = centred * (mean(centred.square(), (2, 3)) + norm.eps).rsqrt()
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


class Shuffle(nn.Module):
    """[sigmoid(w1 mean x0 + b1) * x0; sigmoid(w2 GN(x1) + b2) * x1] of each group, then shuffled.

    Score: the gates, (B, C, H, W), in (0, 1), in the order of the input's channels: in each group
    of 2n channels the first n are channel gates, the others spatial ones.
    Raises CannotStand on an odd number of channels, ValueError where groups is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, groups: int = 64):
        super().__init__()
        if channels % 2:
            raise CannotStand("it halves the channels; choose a place with an even number of them")
        if groups < 1:
            raise ValueError(f"groups={groups} is below 1; 64 is usual")
        half = channels // 2
        self.groups = max(g for g in range(1, min(groups, half) + 1) if half % g == 0)
        width = half // self.groups
        shape = (1, width, 1, 1)
        self.channel_weight = nn.Parameter(torch.zeros(shape))
        self.channel_bias = nn.Parameter(torch.ones(shape))
        self.spatial_weight = nn.Parameter(torch.zeros(shape))
        self.spatial_bias = nn.Parameter(torch.ones(shape))
        self.norm = nn.GroupNorm(width, width)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        batch, channels, height, width = x.shape
        x0, x1 = x.reshape(batch * self.groups, -1, height, width).chunk(2, 1)  # (B G, n, H, W)
        with full_precision(x):
            z = mean(x0, (2, 3))  # (B G, n, 1, 1)
            s0 = torch.sigmoid(self.channel_weight * z + self.channel_bias)
            normed = normalise(x1, self.norm)
            s1 = torch.sigmoid(self.spatial_weight * normed + self.spatial_bias)
            s = torch.cat([s0.expand_as(s1), s1], 1)  # (B G, 2n, H, W)
            s = self.scores(s.view(batch, channels, height, width))
        y = gated(x, s)
        return y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)  # halves interleaved
