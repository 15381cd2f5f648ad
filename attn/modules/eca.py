"""ECA: efficient channel attention (Wang et al. 2020, arXiv:1910.03151).

The paper derives the kernel from the number of channels; the authors' code is given a number for
each stage, 3 by default. `kernel` chooses: 0, the default, is the paper's rule, but never below 3,
as in timm (for three colours the rule gives 1). Beyond both ends of the channels the convolution
sees zeros, as in the authors' code. In MobileNetV2 the authors' code has ECA behind the projection
of every block (`backbone.refine_at=projection`), with kernel 1 up to 96 channels and 3 above, which
a single `kernel` cannot say.
"""

import math

import torch
from torch import nn

from attn.modules.numeric import full_precision, gated, mean
from attn.network.scores import Scores


def adaptive_kernel(channels: int) -> int:
    """Returns log2(C) / 2 + 1 / 2 rounded down, and the next number where that is even."""
    t = int((math.log2(channels) + 1) / 2)
    return max(3, t if t % 2 else t + 1)


class ECA(nn.Module):
    """y = sigmoid(w * mean x) * x, w a convolution over neighbouring channels.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where kernel is even or below 0.
    """

    seam = "refine"

    def __init__(self, channels: int, kernel: int = 0):
        super().__init__()
        kernel = kernel or adaptive_kernel(channels)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel}: choose an odd number, or 0")
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            z = mean(x, (2, 3)).flatten(2).transpose(1, 2)  # (B, 1, C)
            s = self.scores(torch.sigmoid(self.conv(z)).transpose(1, 2)[..., None])  # (B, C, 1, 1)
        return gated(x, s)
