"""scSE: concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv:1803.02579).

The conference paper adds the two results; its journal version (arXiv:1808.08127) and the authors'
code take the larger result at every element. `combine` chooses the form, the code's by default. The
larger result is not max(s, q) * x: where x is negative the smaller gate gives the larger product.
The authors put the mechanism behind the blocks of a segmentation network; here the mechanism stands
where SE does.
"""

import torch
from torch import nn

from attn.errors import one_of
from attn.modules.numeric import full, full_precision, gated
from attn.modules.se import SE
from attn.network.scores import Scores

COMBINE = {"max": torch.maximum, "sum": torch.add}


class ChannelSE(SE):
    """cSE: y = sigmoid(W2 relu(W1 mean x + b1) + b2) * x, SE with half the width inside.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where reduction is below 1.
    """

    def __init__(self, channels: int, reduction: int = 2):
        super().__init__(channels, reduction)


class SpatialSE(nn.Module):
    """sSE: y = sigmoid(w * x + b) * x, w a 1x1 convolution to one channel.

    Score: the gate, (B, 1, H, W), in (0, 1): by how much each position is kept.
    """

    seam = "refine"

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)
        self.spatial = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            q = self.spatial(torch.sigmoid(self.conv(full(x))))
        return gated(x, q)


class SCSE(nn.Module):
    """y = max(cSE(x), sSE(x)) at every element, or their sum.

    Scores: the channel gate (B, C, 1, 1) and the spatial gate (B, 1, H, W), both in (0, 1); with
    combine=sum an element is multiplied by their sum, in (0, 2).
    Raises ValueError where reduction is below 1 or combine is neither max nor sum.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 2, combine: str = "max"):
        super().__init__()
        one_of("combine", combine, COMBINE, ValueError)
        self.combine = COMBINE[combine]
        self.channel = ChannelSE(channels, reduction)
        self.position = SpatialSE(channels)

    def forward(self, x):  # (B, C, H, W)
        return self.combine(self.channel(x), self.position(x))
