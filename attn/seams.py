"""The seams: named places in a network that do nothing until attention fills them.

A network or a block owns one `Seams`, which declares its places and the width of each. Identities
hold no parameters, so a network with empty seams has exactly torchvision's state_dict.

    input      before the stem
    refine     the end of the residual branch, before the addition
    out        after the block's last activation
    features   the final feature map, before pooling
"""

from torch import nn


class CannotStand(ValueError):
    """A mechanism, right in itself, cannot stand at this place of this network."""


class Seams(nn.Module):
    """Places of one network or block: `seams.input(x)` is x until `fill("input", module)`.

    channels: place -> width, or None for a place that this block passes by and does not offer.
    """

    def __init__(self, **channels: int | None):
        super().__init__()
        self.channels = {name: width for name, width in channels.items() if width is not None}
        for name in channels:
            self.add_module(name, nn.Identity())

    def fill(self, name: str, module: nn.Module):
        self.add_module(name, module)
