"""BAM: bottleneck attention module (Park et al. 2018, arXiv:1807.06514).

The paper adds the two parts, and normalises at the end of each. The authors' code, which gave the
published checkpoints, multiplies the parts and normalises the hidden layers. `combine` and `bn`
choose the form; the code's form (mul, hidden) is the default, the paper's form is add, output. The
paper's formulas of the two parts show no ReLU; here both parts have ReLUs in both forms. The
authors' ResNet starts all biases at 0 and the spatial convolutions Kaiming normal, fan out (the
last, of a single channel, with an sd of 1.4); here the layers start as torch draws them. On maps of
8 x 8 and less the convolutions of dilation 4 see mostly padding. MobileNetV2 is not among their
networks; here BAM stands between its stages of other resolutions, as between ResNet's.
"""

import torch
from torch import nn

from attn.errors import one_of
from attn.modules.arguments import hidden_width
from attn.modules.numeric import full, full_precision, gated, mean
from attn.network.scores import Scores

COMBINE = {"mul": torch.mul, "add": torch.add}
BN = ("hidden", "output")


class BAM(nn.Module):
    """y = (1 + sigmoid(Mc(x) * Ms(x))) * x, or with Mc(x) + Ms(x).

    Scores: the sigmoid, (B, C, H, W), in (0, 1); the multiplier is 1 more, so nothing is ever
    suppressed below 1. Beside it the logits it is made of: `channel_logits` (B, C, 1, 1) and
    `spatial_logits` (B, 1, H, W).
    Raises ValueError where reduction or dilation is below 1, or combine or bn is unknown.
    """

    seam = "out"

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        dilation: int = 4,
        combine: str = "mul",
        bn: str = "hidden",
    ):
        super().__init__()
        one_of("combine", combine, COMBINE, ValueError)
        one_of("bn", bn, BN, ValueError)
        if dilation < 1:
            raise ValueError(f"dilation={dilation} is below 1; 4 is usual")
        self.hidden = hidden = hidden_width(channels, reduction)
        self.combine = COMBINE[combine]
        inside, outside = (bn == place for place in BN)

        def norm(width, here):
            return nn.BatchNorm2d(width) if here else nn.Identity()

        def dilated():
            conv = nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)
            return [conv, norm(hidden, inside), nn.ReLU()]

        def first():
            return [nn.Conv2d(channels, hidden, 1), norm(hidden, inside), nn.ReLU()]

        self.channel = nn.Sequential(
            *first(), nn.Conv2d(hidden, channels, 1), norm(channels, outside)
        )
        self.spatial = nn.Sequential(
            *first(), *dilated(), *dilated(), nn.Conv2d(hidden, 1, 1), norm(1, outside)
        )
        self.scores, self.channel_logits, self.spatial_logits = Scores(), Scores(), Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            mc = self.channel_logits(self.channel(mean(x, (2, 3))))  # (B, C, 1, 1)
            ms = self.spatial_logits(self.spatial(full(x)))  # (B, 1, H, W)
            s = self.scores(torch.sigmoid(self.combine(mc, ms)))  # (B, C, H, W)
        return gated(x, 1 + s)
