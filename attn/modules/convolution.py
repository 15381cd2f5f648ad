"""A convolution like the convolution that a mechanism at the seam `conv` replaces."""

from torch import nn


def like(conv: nn.Conv2d, inside: int, outside: int, groups: int, dilation: int = 1):
    """Returns a 3x3 convolution without bias, with the stride of `conv`.

    The weights are drawn as torchvision draws the weights of its convolutions.
    """
    new = nn.Conv2d(
        inside, outside, 3, conv.stride, dilation, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new
