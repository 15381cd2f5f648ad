"""The seams: named places in a network that do nothing until attention fills them.

A backbone or a block owns one `Seams`, which declares its places and the width of each.
Identities hold no parameters, so a network with empty seams has exactly torchvision's
state_dict.

    input      before the stem
    features   the final feature map, before pooling
"""

from torch import nn


class Seams(nn.Module):
    """Places of one network or block: `seams.input(x)` is x until `fill("input", module)`."""

    def __init__(self, **channels: int):
        super().__init__()
        self.channels = channels
        for name in channels:
            self.add_module(name, nn.Identity())

    def fill(self, name: str, module: nn.Module):
        self.add_module(name, module)
