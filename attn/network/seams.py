"""The seams: named places in a network that do nothing until attention fills them.

A network or a block owns one `Seams`, which declares its places and what stands there. Seams hold
no parameters, so a network with empty seams has exactly torchvision's state_dict.

    input      before the stem
    conv       a 3x3 convolution with its normalisation and activation; a mechanism replaces all
    refine     before the addition, or behind a depthwise convolution (backbone.refine_at)
    fuse       the residual addition, in blocks that add
    out        after the block's last activation
    features   the final feature map, before pooling
"""

from torch import nn

OF_BLOCKS = ("conv", "refine", "fuse", "out")


class CannotStand(ValueError):
    """A mechanism, right in itself, cannot stand at this place of this network."""


class Add(nn.Module):
    """The addition that stands at `fuse` until the seam is filled."""

    def forward(self, branch, shortcut):
        return branch + shortcut


class Seams(nn.Module):
    """Places of one network or block: `seams.input(x)` is x until `fill("input", module)`.

    widths: place -> channels there, or None for a place that this block passes by and does not
    offer. `conv` is not filled here: a block that offers it has `convolution`, the Sequential of
    convolution, normalisation and activation, and `replace_convolution(module)`.
    """

    def __init__(self, **widths: int | None):
        super().__init__()
        self.widths = {name: width for name, width in widths.items() if width is not None}
        for name in widths:
            if name != "conv":
                self.add_module(name, Add() if name == "fuse" else nn.Identity())

    def fill(self, name: str, module: nn.Module):
        self.add_module(name, module)
