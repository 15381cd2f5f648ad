"""SK: selective kernel convolution in place of a 3x3 one (Li et al. 2019, arXiv:1903.06586).

There are two branches, 3x3 and 3x3 of dilation 2 (a 5x5's reach), each with normalisation and
activation. As in the authors' Caffe layers neither of the two fully connected layers has a bias.
Stride, groups and activation are those of the replaced convolution: for SKNet-50 the place is
ResNeXt-50 32x4d (backbone.groups=32 backbone.width_per_group=4). Basic blocks, in which the first
of the two convolutions is replaced, and inverted residuals are not in the paper. The authors draw
the fully connected layers with an sd of 0.01, so their shares start within a few hundredths of one
half; here these layers start as torch draws them, and the shares with an sd of about 0.13.
"""

import copy

import torch
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.convolution import like, parts
from attn.modules.numeric import full_precision, mean
from attn.network.scores import Scores


class SK(nn.Module):
    """U_m = act(BN(conv_m(x))); a = softmax_m(W_s relu(BN(W_d mean(sum_m U_m)))); y = sum a_m U_m.

    Score: the shares a, (B, 2, C), of the 3x3 and of the 5x5 kernel for each channel; they add up
    to 1, and tables show the second.
    Raises ValueError where reduction is below 1.
    """

    seam = "conv"
    dilations = (1, 2)

    def __init__(self, replaced: nn.Sequential, reduction: int = 16, least: int = 32):
        super().__init__()
        conv, activation = parts(replaced)
        inside, channels, groups = conv.in_channels, conv.out_channels, conv.groups
        self.hidden = hidden = hidden_width(channels, reduction, least)
        self.branches = nn.ModuleList(
            nn.Sequential(
                like(conv, inside, channels, groups, dilation),
                nn.BatchNorm2d(channels),
                copy.deepcopy(activation),
            )
            for dilation in self.dilations
        )
        self.fuse = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU()
        )
        self.select = nn.Conv2d(hidden, len(self.dilations) * channels, 1, bias=False)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        u = torch.stack([branch(x) for branch in self.branches], 1)  # (B, 2, C', h, w)
        with full_precision(x):
            z = self.fuse(mean(u, (3, 4)).sum(1))  # (B, hidden, 1, 1)
            logits = self.select(z).view(len(x), len(self.dilations), -1)  # (B, 2, C')
            a = self.scores(logits.softmax(1))
            return (a[..., None, None] * u).sum(1).to(u.dtype)  # (B, C', h, w)
