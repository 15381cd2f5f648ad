"""Split attention in place of a 3x3 convolution (ResNeSt, Zhang et al. 2020, arXiv:2004.08955).

The paper's figure and the authors' code agree. With cardinality 1 each of the `radix` splits sees
its own slice of the input, as in their grouped convolution. Only the convolution is replaced:
ResNeSt's deep stem, its average pooling for strides and its shortcuts are other changes. In a
depthwise convolution, which is not in the paper, every split sees its own channel; nor are basic
blocks, in which the first of the two convolutions is replaced. The authors draw all convolutions
Kaiming normal, fan out; here `fc1` and `fc2` start as torch draws them.
"""

import copy
from functools import reduce

import torch
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.convolution import like, parts
from attn.modules.numeric import full_precision, mean
from attn.network.scores import Scores
from attn.network.seams import CannotStand


class Split(nn.Module):
    """U_r = act(BN(conv_r(x))); a = softmax_r(W2 relu(BN(W1 mean(sum_r U_r)))); y = sum a_r U_r.

    With radix 1 the softmax is a sigmoid.
    Score: the shares a, (B, radix, C): how much of each channel comes from each split; they add
    up to 1 (radix 1: a gate in (0, 1)), and tables show the last.
    Raises ValueError where radix, cardinality or reduction is below 1, where radix times
    cardinality does not divide the input's channels, or where cardinality does not divide the
    output's or the hidden width.
    Raises CannotStand on a grouped convolution, and with several cardinalities on a depthwise one.
    """

    seam = "conv"

    def __init__(
        self, replaced: nn.Sequential, radix: int = 2, cardinality: int = 1, reduction: int = 4
    ):
        super().__init__()
        conv, activation = parts(replaced)
        inside, channels = conv.in_channels, conv.out_channels
        self.radix, self.cardinality = radix, cardinality
        self.depthwise = conv.groups == inside > 1
        _check(conv, radix, cardinality, self.depthwise)
        self.hidden = hidden = hidden_width(inside * radix, reduction, least=32)
        if hidden % cardinality:
            raise ValueError(
                f"cardinality={cardinality} does not divide the hidden width {hidden}; choose a "
                "divisor of it"
            )
        groups = inside if self.depthwise else cardinality * radix
        self.conv = like(conv, inside, channels * radix, groups)
        self.norm = nn.BatchNorm2d(channels * radix)
        self.activation = copy.deepcopy(activation)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=cardinality)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, channels * radix, 1, groups=cardinality)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        u = self._splits(self.activation(self.norm(self.conv(x))))  # (B, R, C', h, w)
        with full_precision(x):
            z = torch.relu(self.norm1(self.fc1(mean(u, (3, 4)).sum(1))))
            logits = self.fc2(z).view(len(x), self.cardinality, self.radix, -1)  # cardinal-major
            logits = logits.transpose(1, 2).reshape(len(x), self.radix, -1)  # (B, R, C')
            a = self.scores(logits.softmax(1) if self.radix > 1 else logits.sigmoid())
            parts = (a[..., None, None] * u).unbind(1)  # R of (B, C', h, w)
            return reduce(torch.add, parts).to(u.dtype)  # as .sum(1), which is not channels_last

    def _splits(self, u):
        """Returns (B, R C', h, w) as (B, R, C', h, w).

        The channels are radix-major, but channel-major where the convolution is depthwise.
        """
        if self.depthwise:
            return u.unflatten(1, (-1, self.radix)).transpose(1, 2)
        return u.unflatten(1, (self.radix, -1))


def _check(conv, radix, cardinality, depthwise):
    inside, channels = conv.in_channels, conv.out_channels
    for key, value in (("radix", radix), ("cardinality", cardinality)):
        if value < 1:
            raise ValueError(f"{key}={value} is below 1; choose 1, 2 or 4")
    if depthwise and cardinality > 1:
        raise CannotStand(
            f"cardinality={cardinality}: a depthwise convolution has no groups to share; choose 1"
        )
    if not depthwise and conv.groups > 1:
        raise CannotStand(f"the convolution has {conv.groups} groups; choose a backbone with 1")
    if not depthwise and inside % (radix * cardinality):
        raise ValueError(
            f"radix={radix} times cardinality={cardinality} does not divide {inside} channels; "
            "choose a divisor"
        )
    if channels % cardinality:
        raise ValueError(f"cardinality={cardinality} does not divide {channels} channels")
