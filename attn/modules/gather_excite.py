"""Gather-excite (Hu et al. 2018, arXiv:1810.12348): each position's gate from what surrounds it.

The paper's form without parameters averages over an extent; its form with parameters (theta)
gathers by depthwise convolutions of stride 2, a step for each power of two, each normalised, with a
ReLU between them. `learned` chooses; the form without parameters is the default. Over the whole map
(extent 0) theta is a convolution as large as the map, which a mechanism does not know: there only
the form without parameters stands. With `mlp`, SE's two layers follow (the paper's theta plus;
without theta and extent, SE); as in the authors' Caffe network a ReLU stands before them, behind
theta. The authors draw these two layers with an sd of 0.01, so their gate starts at one half; here
they start as torch draws them.
"""

import torch
import torch.nn.functional as F
from torch import nn

from attn.modules.arguments import hidden_width
from attn.modules.numeric import full, full_precision, gated
from attn.network.scores import Scores


def gather(channels: int, extent: int, rectified: bool) -> nn.Sequential:
    """Returns depthwise convolutions that halve the map until a position stands for `extent`.

    rectified: whether a ReLU stands behind the last convolution too.
    """
    layers = []
    for _ in range(extent.bit_length() - 1):
        conv = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False)
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*(layers if rectified else layers[:-1]))


class GatherExcite(nn.Module):
    """y = sigmoid(up(G(x))) * x; G: means over the extent, or depthwise convolutions; up: nearest.

    Score: the gate, (B, C, H, W), in (0, 1); (B, C, 1, 1) over the whole map.
    Raises ValueError where the extent is neither 0 nor a power of two from 2 on, where learned is
    true with extent 0, or where reduction is below 1.
    """

    seam = "refine"

    def __init__(
        self,
        channels: int,
        extent: int = 0,
        learned: bool = False,
        mlp: bool = False,
        reduction: int = 16,
    ):
        super().__init__()
        if extent != 0 and (extent < 2 or extent & (extent - 1)):
            raise ValueError(f"extent={extent}: choose 0, the whole map, or 2, 4, 8 and so on")
        if learned and extent == 0:
            raise ValueError("extent=0 with learned=true: the size of the map is not known here")
        self.extent = extent
        self.gather = gather(channels, extent, rectified=mlp) if learned else None
        width = hidden_width(channels, reduction)
        self.mlp = nn.Identity()
        if mlp:
            self.hidden = width
            layers = nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1)
            self.mlp = nn.Sequential(*layers)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            z = self.mlp(self._gathered(full(x)))  # (B, C, h, w)
            s = torch.sigmoid(z)
            if self.extent:
                s = F.interpolate(s, x.shape[2:])  # (B, C, H, W)
            s = self.scores(s)
        return gated(x, s)

    def _gathered(self, u):
        if self.gather is not None:
            return self.gather(u)
        if self.extent == 0:
            return u.mean((2, 3), keepdim=True)
        kernel, stride = 2 * self.extent - 1, self.extent
        return F.avg_pool2d(u, kernel, stride, kernel // 2, count_include_pad=False)
