"""AFF and iAFF: attentional feature fusion (Dai et al. 2021, arXiv:2009.14082).

AFF's formula is w * X + (1 - w) * Y. The authors' code doubles both terms, so that AFF is X + Y
where w is one half, its mean at first: that factor is `scale`, 2 by default. iAFF has no such
factor in the paper or in the code. The contributed PyTorch port's iAFF uses its first global gate
twice; here, as in the authors' MXNet code, the second step has its own global gate. The authors'
CIFAR ResNet, of pre-activation basic blocks, has reduction 4 in every block, and their networks of
bottlenecks have reduction 16; their ResNet-50 has AFF in the last two stages, and by default a stem
of three 3x3 convolutions and shortcuts with average pooling. They draw the weights by Xavier's
rule, with biases of 0; here the layers start as torch draws them.
"""

import torch
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.numeric import full, full_precision, gated, mean
from attn.network.scores import Scores


def bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
        nn.BatchNorm2d(channels),
    )


class Weights(nn.Module):
    """w = sigmoid(L(x) + G(mean x)), (B, C, H, W): a position's own context and the image's."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.hidden = hidden = hidden_width(channels, reduction)
        self.local_context = bottleneck(channels, hidden)
        self.global_context = bottleneck(channels, hidden)

    def forward(self, x):  # (B, C, H, W)
        return torch.sigmoid(self.local_context(x) + self.global_context(mean(x, (2, 3))))


class MSCAM(nn.Module):
    """y = w(x) * x: what stands at `first` and `last`, where nothing is added.

    Score: the gate w, (B, C, H, W), in (0, 1). Raises ValueError where reduction is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.weights = Weights(channels, reduction)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            w = self.scores(self.weights(full(x)))
        return gated(x, w)


class AFF(nn.Module):
    """Z = scale * (w(X + Y) * X + (1 - w(X + Y)) * Y), X the branch and Y the shortcut.

    Score: w, (B, C, H, W), in (0, 1): the branch's share; the shortcut's is 1 - w.
    Raises ValueError where reduction is below 1.
    """

    seam = "fuse"

    def __init__(self, channels: int, reduction: int = 4, scale: float = 2.0):
        super().__init__()
        self.scale = scale
        self.weights = Weights(channels, reduction)
        self.scores = Scores()

    @staticmethod
    def at_end(channels: int, reduction: int = 4, scale: float = 2.0):
        return MSCAM(channels, reduction)

    def forward(self, branch, shortcut):  # (B, C, H, W) each
        with full_precision(branch):
            x, y = full(branch), full(shortcut)
            w = self.scores(self.weights(x + y))
            return (self.scale * (w * x + (1 - w) * y)).to(branch.dtype)


class IAFF(nn.Module):
    """I = w1(X + Y) * X + (1 - w1) * Y; Z = w2(I) * X + (1 - w2) * Y.

    Scores: w2, (B, C, H, W), in (0, 1), the branch's share; beside it `first`, w1.
    Raises ValueError where reduction is below 1.
    """

    seam = "fuse"

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.initial = Weights(channels, reduction)
        self.weights = Weights(channels, reduction)
        self.first, self.scores = Scores(), Scores()

    @staticmethod
    def at_end(channels: int, reduction: int = 4):
        return MSCAM(channels, reduction)

    def forward(self, branch, shortcut):  # (B, C, H, W) each
        with full_precision(branch):
            x, y = full(branch), full(shortcut)
            w = self.first(self.initial(x + y))
            w = self.scores(self.weights(w * x + (1 - w) * y))
            return (w * x + (1 - w) * y).to(branch.dtype)
