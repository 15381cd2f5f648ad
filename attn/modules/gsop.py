"""GSoP: global second-order pooling, its channel form (Gao et al. 2019, arXiv:1811.12006).

As in the authors' code nothing stands between the row-wise convolution and the last one, a ReLU
stands before the reduction, and the reduction has a bias. Their code reduces with stride 2 in the
first stage, by the number of its planes, which a module does not know. Here the stride is 2
wherever the map is larger than `large`, 28 by default, which is the same at 224 pixels. The authors
also take the stride out of ResNet's fourth stage. A mechanism cannot do so: the number of
parameters is the authors', the number of multiply-adds is not. The paper's position form is left
out.
"""

import torch
from torch import nn

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
