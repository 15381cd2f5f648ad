"""A learned gain for each channel, of fixed total: what a channel gains, others lose.

SAND (Pad et al. 2025, arXiv:2505.03923) selects features by such gains and by noise of its own;
here the gains stand alone. They are a control: they are blind to the image.
"""

import torch
from torch import nn

from attn.modules.numeric import full_precision, gated
from attn.network.scores import Scores


class Gain(nn.Module):
    """y = sqrt(C) w / |w| * x: one learned gain a channel, whose squares add up to C; 1 at first.

    Score: the channel's share of the squares, w^2 / |w|^2, (B, C, 1, 1), in (0, 1); 1 / C at first.
    """

    seam = "refine"

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shares = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            g = self.weight / self.weight.square().mean(1, keepdim=True).sqrt()  # (1, C, 1, 1)
            self.shares((g.square() / g.shape[1]).expand(len(x), -1, -1, -1))
        return gated(x, g)
