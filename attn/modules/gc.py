"""GC: the global context block (Cao et al. 2019, arXiv:1904.11492).

Paper and authors' code agree: the context is added to every position by default. `fuse=scale` is
the form that the paper compares with, a gate. The last convolution starts at zero, as the authors'
does, so the block starts as the identity (add), or as a gate of one half (scale). The authors leave
out the first stage (`stages=[2,3,4]`), and have no basic blocks. Layer normalisation of a single
hidden channel gives its bias whatever the image; so the hidden width is at least `least`, which the
authors' networks never reach.
"""

import torch
from torch import nn

from attn.errors import one_of
from attn.modules.arguments import hidden_width
from attn.modules.numeric import full, full_precision, gated
from attn.network.scores import Scores

FUSE = ("add", "scale")


class GlobalContext(nn.Module):
    """y = x + W2 relu(LN(W1 sum_p a_p x_p)), a = softmax over positions of w x; or a gate of it.

    Scores: the weight of each position, (B, 1, H, W), which add up to 1; with fuse=scale the gate
    (B, C, 1, 1), in (0, 1).
    Raises ValueError where reduction or least is below 1, or fuse is neither add nor scale.
    """

    seam = "refine"

    def __init__(self, channels: int, reduction: int = 16, least: int = 8, fuse: str = "add"):
        super().__init__()
        one_of("fuse", fuse, FUSE, ValueError)
        self.hidden = hidden = hidden_width(channels, reduction, least)
        self.weights = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )
        nn.init.kaiming_normal_(self.weights.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.weights.bias)
        nn.init.zeros_(self.transform[-1].weight)
        nn.init.zeros_(self.transform[-1].bias)
        self.position_shares = Scores()
        self.scores = Scores() if fuse == "scale" else None

    def forward(self, x):  # (B, C, H, W)
        with full_precision(x):
            u = full(x)
            logits = self.weights(u)  # (B, 1, H, W)
            a = self.position_shares(logits.flatten(2).softmax(2).view_as(logits))
            t = self.transform((a * u).sum((2, 3), keepdim=True))  # (B, C, 1, 1)
            if self.scores is None:
                return (u + t).to(x.dtype)
            s = self.scores(torch.sigmoid(t))
        return gated(x, s)
