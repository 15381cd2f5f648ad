"""Controls, of no paper, that a gate that learns from the image must beat.

The controls are a gate that does not look at the image, a gain of fixed total for each channel, a
gate that is never trained, a constant, and the layers of CBAM's channel part without a gate, whose
output is added to each channel. The gains are those of SAND (Pad et al. 2025, arXiv:2505.03923)
without its noise: they select features because what a channel gains another loses.
"""

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


class Gain(nn.Module):
    """y = sqrt(C) w / |w| * x: one learned gain a channel, whose squares add up to C; 1 at first.

    Score: the channel's share of the squares, w^2 / |w|^2, (B, C, 1, 1), in (0, 1); 1 / C at first.
    """

    seam = "refine"

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.scores = Scores(gate=False)  # of which the multiplier is a root

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            g = self.weight / self.weight.square().mean(1, keepdim=True).sqrt()  # (1, C, 1, 1)
            self.scores((g.square() / g.shape[1]).expand(len(x), -1, -1, -1))
        return gated(x, g)


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

    Score: the value, (B, C, 1, 1). Raises ValueError where the value is not above 0.
    """

    seam = "refine"

    def __init__(self, channels: int, value: float = 0.5):
        super().__init__()
        if not value > 0:
            raise ValueError(f"value={value}: it must be above 0")
        self.channels, self.value = channels, value
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        return gated(x, self.scores(x.new_full((len(x), self.channels, 1, 1), self.value)))
