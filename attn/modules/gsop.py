"""GSoP: global second-order pooling, by channel and by position (Gao 2019, arXiv:1811.12006).

The channel form: as in the authors' code nothing stands between the row-wise convolution and the
last one, where the paper has a non-linear activation; a ReLU stands before the reduction, and the
reduction has a bias. Their code reduces with stride 2 in the first stage, by the number of its
planes, which a module does not know. Here the stride is 2 wherever the map is larger than `large`,
28 by default, which is the same at 224 pixels. The authors also take the stride out of ResNet's
fourth stage. A mechanism cannot do so: the number of parameters is the authors', the number of
multiply-adds is not. The authors draw all convolutions Kaiming normal, fan out; here those of both
forms start as torch draws them. Over a single position the covariance is 0, and the gate the same
for every image. The fusions of the two forms and the head of the paper's second network are left
out here; the authors' basic blocks have no attention.

The position form: as in the authors' code a ReLU stands before the last convolution, none behind
the reduction, and the result is rectified (`rectify`), but not at `first` and `last`, which stand
in no block. The authors' code divides and centres by the number of positions where the number
of channels belongs; both agree at a width of 64. `divisor` chooses: the default is the covariance.
"""

import torch
import torch.nn.functional as F
from torch import nn

from attn.errors import one_of
from attn.modules.numeric import full, full_precision, gated
from attn.network.scores import Scores


def covariance(u):
    """Returns the covariance of the channels over the positions, divided by M.

    Takes (B, D, M) and returns (B, D, D).
    """
    centred = u - u.mean(2, keepdim=True)
    return centred @ centred.transpose(1, 2) / u.shape[2]


class GSoP(nn.Module):
    """y = sigmoid(W3 rows(BN(cov(relu(BN(W1 relu x)))))) * x; rows: a convolution of each row.

    Score: the gate, (B, C, 1, 1), in (0, 1): by how much each channel is kept.
    Raises ValueError where width is below 1.
    """

    seam = "refine"

    def __init__(self, channels: int, width: int = 128, large: int = 28):
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width} is below 1; 128 is usual")
        self.large = large
        self.hidden = d = min(width, channels)
        self.reduce = nn.Conv2d(channels, d, 1)
        self.reduce_bn = nn.BatchNorm2d(d)
        self.covariance_bn = nn.BatchNorm2d(d)
        self.rows = nn.Conv2d(d, 4 * d, (d, 1), groups=d)
        self.excite = nn.Conv2d(4 * d, channels, 1)
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            u = torch.relu(full(x))
            stride = 2 if min(x.shape[2:]) > self.large else 1
            u = torch.relu(self.reduce_bn(self.reduce(u[..., ::stride, ::stride])))  # (B, D, h, w)
            sigma = covariance(u.flatten(2))[..., None]  # (B, D, D, 1): a row of it is a channel
            z = self.rows(self.covariance_bn(sigma))  # (B, 4D, 1, 1)
            s = self.scores(torch.sigmoid(self.excite(z)))
        return gated(x, s)


SIDE = 8  # of the grid of positions
DIVISORS = ("channels", "positions")


def averaged(x, height: int, width: int):
    """Returns F.adaptive_avg_pool2d(x, (height, width)), (B, C, H, W) -> (B, C, height, width).

    On a GPU the gradient of the pooling layer has no fixed order of summation. Where a fixed order
    is asked for, as in a strict run, the means are matrix products.
    """
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return averaged_by_products(x, height, width)
    return F.adaptive_avg_pool2d(x, (height, width))


def averaged_by_products(x, height: int, width: int):
    return _bins(x, height, x.shape[2]) @ x @ _bins(x, width, x.shape[3]).T


def _bins(x, count: int, length: int):
    """Returns the weights (count, length) of means over bins, as adaptive pooling cuts them."""
    number = torch.arange(count, device=x.device)[:, None]
    starts, ends = number * length // count, -(-(number + 1) * length // count)
    at = torch.arange(length, device=x.device)
    return ((at >= starts) & (at < ends)).to(x.dtype) / (ends - starts)


class GSoPPosition(nn.Module):
    """y = relu(up(sigmoid(W3 relu(rows(BN(cov(pool(BN(W1 relu x)))))))) * x); pool: to 8 x 8.

    The covariance is of the positions over the channels. Score: the gate, (B, 1, H, W), in (0, 1):
    by how much each position is kept.
    Raises ValueError where width is below 1, or divisor is neither channels nor positions.
    """

    seam = "refine"

    def __init__(
        self,
        channels: int,
        width: int = 128,
        divisor: str = "channels",
        rectify: bool = True,
    ):
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width} is below 1; 128 is usual")
        one_of("divisor", divisor, DIVISORS, ValueError)
        self.hidden = d = min(width, channels)
        self.divisor = d if divisor == "channels" else SIDE**2
        self.rectify = rectify
        positions = SIDE**2
        self.reduce = nn.Conv2d(channels, d, 1)
        self.reduce_bn = nn.BatchNorm2d(d)
        self.covariance_bn = nn.BatchNorm2d(positions)
        self.rows = nn.Conv2d(positions, 4 * positions, (positions, 1), groups=positions)
        self.excite = nn.Conv2d(4 * positions, positions, 1)
        self.spatial = Scores()

    @staticmethod
    def at_end(channels: int, width: int = 128, divisor: str = "channels", rectify: bool = True):
        return GSoPPosition(channels, width, divisor, rectify=False)

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            u = self.reduce_bn(self.reduce(torch.relu(full(x))))  # (B, D, H, W)
            u = averaged(u, SIDE, SIDE).flatten(2)  # (B, D, P)
            centred = u - u.sum(1, keepdim=True) / self.divisor
            sigma = (u.transpose(1, 2) @ centred / self.divisor)[..., None]  # (B, P, P, 1)
            z = torch.relu(self.rows(self.covariance_bn(sigma)))  # (B, 4P, 1, 1)
            s = torch.sigmoid(self.excite(z)).view(-1, 1, SIDE, SIDE)
            s = self.spatial(averaged(s, *x.shape[2:]))  # (B, 1, H, W)
        y = gated(x, s)
        return torch.relu(y) if self.rectify else y
