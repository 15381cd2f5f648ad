"""Controls, of no paper, that a gate that learns from the image must beat.

The controls are a gate that does not look at the image, a gate that is never trained, a constant,
and the layers of CBAM's channel part without a gate, whose output is added to each channel.
"""

import math

import torch
from torch import nn

from attn.modules.cbam import ChannelAttention
from attn.modules.numeric import full_precision, gated
from attn.network.scores import Scores


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


class Added(ChannelAttention):
    """y = x + MLP(mean x) + MLP(max x): CBAM's channel part, as many parameters and no gate.

    Score: none. Raises ValueError where reduction is below 1.
    """

    def __init__(
        self, channels: int, reduction: int = 1, bias: bool = True, pools: str = "avg+max"
    ):
        super().__init__(channels, reduction, bias, pools)
        del self.scores

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            return (x + self.logits(x)).to(x.dtype)


class Constant(nn.Module):
    """y = value x: what scaling alone does, as a gate scales before it has learned anything.

    Score: the value, (B, C, 1, 1). Raises ValueError where the value is not above 0, or infinite.
    """

    seam = "refine"

    def __init__(self, channels: int, value: float = 0.5):
        super().__init__()
        if not 0 < value < math.inf:
            raise ValueError(f"value={value}: it must be above 0, and finite")
        self.channels, self.value = channels, value
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        shape = len(x), self.channels, 1, 1
        s = x.new_full(shape, self.value, dtype=torch.promote_types(x.dtype, torch.float32))
        return gated(x, self.scores(s))
