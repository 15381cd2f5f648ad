"""GCT: gated channel transformation (Yang et al. 2020, arXiv:1909.11519).

The paper's epsilon stands under the sum over channels, the code's under their mean: here it is the
code's. By default the authors apply no weight decay to the bias b; here the recipe's decay applies
to all. They place the gate before every convolution of a ResNet, also the first; here the gate
stands once in a block, where SE does. In MobileNetV2 that is before the block's last convolution,
in a ResNet behind its last normalisation.
"""

import torch
from torch import nn

from attn.modules.numeric import full, full_precision, gated
from attn.network.scores import Scores

EPSILON = 1e-5  # under both roots, the authors' code's


class GCT(nn.Module):
    """y = (1 + tanh(g e / rms(e) + b)) * x, with e = a |x|, |x| a channel's L2 norm.

    At first g and b are 0, so y = x: the gate opens and closes from there. The root mean square is
    over the channels. Score: (1 + tanh) / 2, (B, C, 1, 1), in (0, 1): the multiplier is twice the
    score, and 0.5 changes nothing.
    """

    seam = "refine"

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            norm = (full(x).square().sum((2, 3), keepdim=True) + EPSILON).sqrt()  # (B, C, 1, 1)
            e = self.alpha * norm
            rms = (e.square().mean(1, keepdim=True) + EPSILON).sqrt()  # (B, 1, 1, 1)
            z = self.gamma * e / rms + self.beta
            s = self.scores(torch.sigmoid(2 * z))  # (1 + tanh z) / 2
        return gated(x, 2 * s)
