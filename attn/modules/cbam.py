"""CBAM: Convolutional Block Attention Module (Woo et al. 2018, arXiv:1807.06521).

Paper and authors' code agree on the channel part: average and maximum over space go through one
shared two-layer MLP, and are added before the sigmoid. The paper's formula leaves out the
biases that the authors' code has; `bias` chooses, the authors' by default. The mean and the
maximum are taken by reduction instead of pooling layers: any height and width, and
deterministic gradients; where several positions tie for the maximum the gradient is shared
among them, while a pooling layer gives it to one.
"""

import torch
from torch import nn

from attn.modules.width import hidden_width
from attn.scores import Scores


class ChannelAttention(nn.Module):
    """CBAM's channel part alone: y = sigmoid(MLP(mean x) + MLP(max x)) * x.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where reduction is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        hidden = hidden_width("cbam_channel", channels, reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        mean = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        maximum = x.amax((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * self.scores(torch.sigmoid(self.mlp(mean) + self.mlp(maximum)))
