"""Coordinate attention (Hou et al. 2021, arXiv:2103.02907).

Paper and authors' code agree; the code's hidden width is at least 8 and its convolutions have
biases. The authors place the mechanism after the depthwise step of MobileNetV2's expanding blocks;
in ResNets they suggest SE's place and give no results. They start convolutions normal with a
variance of 2 over the fan out, and biases at 0; here both start as torch draws them.
"""

import torch
import torch.nn.functional as F
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.numeric import full_precision, gated, mean
from attn.network.scores import Scores


class Coordinate(nn.Module):
    """f_h, f_w = hswish(BN(W1 [mean_W x; mean_H x])); y = sigmoid(W2 f_h) * sigmoid(W3 f_w) * x.

    Scores: the product of both gates, (B, C, H, W), in (0, 1), about 0.25 at first; beside it
    `height` (B, C, H, 1) and `width` (B, C, 1, W).
    Raises ValueError where reduction is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 32, least: int = 8):
        super().__init__()
        self.hidden = hidden = hidden_width(channels, reduction, least)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.rows = nn.Conv2d(hidden, channels, 1)
        self.columns = nn.Conv2d(hidden, channels, 1)
        self.scores, self.height, self.width = Scores(), Scores(), Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            pooled = mean(x, 3), mean(x, 2).transpose(2, 3)  # (B, C, H, 1), (B, C, W, 1)
            f = F.hardswish(self.norm(self.squeeze(torch.cat(pooled, 2))))  # (B, hidden, H + W, 1)
            f_h, f_w = f.split(x.shape[2:], 2)
            a_h = self.height(torch.sigmoid(self.rows(f_h)))  # (B, C, H, 1)
            a_w = self.width(torch.sigmoid(self.columns(f_w)).transpose(2, 3))  # (B, C, 1, W)
            s = self.scores(a_h * a_w)  # (B, C, H, W)
        return gated(x, s)
