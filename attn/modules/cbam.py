"""CBAM: Convolutional Block Attention Module (Woo et al. 2018, arXiv:1807.06521).

Paper and authors' code agree on the channel part: average and maximum over space go through one
shared two-layer MLP, and are added before the sigmoid. The authors' code also knows the poolings lp
and lse. The paper's formulas leave out what the authors' code has: the MLP's biases (`bias`), and a
BatchNorm after the spatial convolution, whose gain the authors' ResNet starts at 0, so that the
spatial gate is 0.5 everywhere at first (`spatial_bn`). Both follow the code by default. The code's
spatial convolution reads [max, mean], as here; ports that read [mean, max] differ only in the order
of its weights. The authors' ResNet starts with biases of 0 and the spatial convolution Kaiming
normal, fan out; here both parts start as torch draws them. For `parallel` the paper gives no
formula: here both gates see x and multiply x.

The poolings are reductions instead of pooling layers: they take any height and width, and have
deterministic gradients. Where several positions tie for the maximum the gradient is shared among
the positions, while a pooling layer gives the gradient to one position. lp is the root of a sum,
not of a mean, and lse grows with the logarithm of the number of positions: on large maps both can
saturate the gate.
"""

import torch
from torch import nn

from attn.errors import one_of
from attn.modules.arguments import hidden_width
from attn.modules.numeric import full, full_precision, gated, maximum, mean
from attn.network.scores import Scores


def root_of_squares(x, dim):
    return torch.linalg.vector_norm(full(x), 2, dim, True)


def logsumexp(x, dim):
    return full(x).logsumexp(dim, True)


POOLS = {"avg": mean, "max": maximum, "lp": root_of_squares, "lse": logsumexp}
ORDERS = ("channel_spatial", "spatial_channel", "parallel")


class ChannelAttention(nn.Module):
    """CBAM's channel part alone: y = sigmoid(MLP(mean x) + MLP(max x)) * x.

    pools: which of avg, max, lp, lse are added, as in avg+max.
    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where reduction is below 1, or a pool is unknown or there twice.
    """

    seam = "refine"

    def __init__(
        self, channels: int, reduction: int = 16, bias: bool = True, pools: str = "avg+max"
    ):
        super().__init__()
        self.hidden = hidden = hidden_width(channels, reduction)
        names = pools.split("+")
        for name in names:
            one_of("pools", name, POOLS, ValueError)
        if len(set(names)) < len(names):
            raise ValueError(f"pools={pools} has one twice")
        self.pools = [POOLS[name] for name in names]
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        return gated(x, self.gate(x))

    def gate(self, x):  # (B, C, 1, 1)
        with full_precision(x):
            return self.scores(torch.sigmoid(self.logits(x)))

    def logits(self, x):  # (B, C, 1, 1)
        return sum(self.mlp(pool(x, (2, 3))) for pool in self.pools)


class SpatialAttention(nn.Module):
    """CBAM's spatial part: y = sigmoid(BN(conv[max over C; mean over C])) * x.

    Score: the gate, (B, 1, H, W), in (0, 1): by how much each position is kept.
    Raises ValueError where the kernel is not odd.
    """

    def __init__(self, kernel: int = 7, bn: bool = True):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} has no centre; choose an odd one (3, 7)")
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01) if bn else nn.Identity()
        if bn:
            nn.init.zeros_(self.bn.weight)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        return gated(x, self.gate(x))

    def gate(self, x):  # (B, 1, H, W)
        with full_precision(x):
            pooled = torch.cat([maximum(x, 1), mean(x, 1)], 1)  # (B, 2, H, W)
            return self.scores(torch.sigmoid(self.bn(self.conv(pooled))))


class CBAM(nn.Module):
    """y = q(x1) * x1, x1 = s(x) * x: channel gate s, then spatial gate q; or q first, or both of x.

    Scores: the channel gate (B, C, 1, 1) and the spatial gate (B, 1, H, W), both in (0, 1).
    Raises ValueError where reduction is below 1, the kernel is not odd, or a pool or the order is
    unknown.
    """

    seam = "refine"

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        bias: bool = True,
        pools: str = "avg+max",
        kernel: int = 7,
        spatial_bn: bool = True,
        order: str = "channel_spatial",
    ):
        super().__init__()
        one_of("order", order, ORDERS, ValueError)
        self.order = order
        self.channel = ChannelAttention(channels, reduction, bias, pools)
        self.spatial = SpatialAttention(kernel, spatial_bn)

    def forward(self, x):  # (B, C, H, W)
        if self.order == "channel_spatial":
            return self.spatial(self.channel(x))
        if self.order == "spatial_channel":
            return self.channel(self.spatial(x))
        return gated(x, self.channel.gate(x) * self.spatial.gate(x))
