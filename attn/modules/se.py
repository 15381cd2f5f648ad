"""Squeeze-and-Excitation (Hu et al. 2018, arXiv:1709.01507).

The paper's formula has no biases, the authors' Caffe layers have biases, the common PyTorch port
has no biases: `bias` chooses, and the default is the authors' form.
"""

import torch
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.numeric import full_precision, gated, mean
from attn.network.scores import Scores


class SE(nn.Module):
    """y = sigmoid(W2 relu(W1 mean x)) * x.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where reduction is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        self.hidden = hidden = hidden_width(channels, reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            z = mean(x, (2, 3))  # (B, C, 1, 1)
            s = self.scores(torch.sigmoid(self.excite(torch.relu(self.squeeze(z)))))
        return gated(x, s)
