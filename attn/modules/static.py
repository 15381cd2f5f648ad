"""Controls, of no paper: a gate that does not look at the image, and one that is never trained."""

import torch
from torch import nn

from attn.modules.cbam import ChannelAttention
from attn.modules.precision import full_precision, gated
from attn.scores import Scores


class Static(nn.Module):
    """y = sigmoid(w) * x: one learned gate a channel, the same for every image; 0.5 at first.

    Score: the gate, (B, C, 1, 1), in (0, 1).
    """

    seam = "refine"

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            s = self.scores(torch.sigmoid(self.weight).expand(len(x), -1, -1, -1))
        return gated(x, s)


class Random(ChannelAttention):
    """CBAM's channel part as it was drawn: it looks at the image and never learns.

    Score: the gate, (B, C, 1, 1), in (0, 1). Raises ValueError where reduction is below 1.
    """

    def __init__(
        self, channels: int, reduction: int = 1, bias: bool = True, pools: str = "avg+max"
    ):
        super().__init__(channels, reduction, bias, pools)
        self.requires_grad_(False)
