"""The convolution that a mechanism at the seam `conv` replaces, and another like it."""

from torch import nn


def parts(replaced: nn.Sequential) -> tuple[nn.Conv2d, nn.Module]:
    """Returns the convolution and the activation of what is replaced.

    Raises TypeError where that is not nn.Sequential(convolution, norm, activation), and ValueError
    where the convolution is not a 3x3 convolution that keeps the map's size but for its stride.
    """
    if not isinstance(replaced, nn.Sequential) or len(replaced) != 3:
        raise TypeError(
            "a mechanism at the seam conv replaces nn.Sequential(convolution, norm, activation), "
            f"not {replaced!r}"
        )
    conv, _, activation = replaced
    if (conv.kernel_size, conv.padding, conv.dilation) != ((3, 3), (1, 1), (1, 1)):
        raise ValueError(f"a 3x3 convolution with padding 1 and dilation 1 is replaced, not {conv}")
    return conv, activation


def like(conv: nn.Conv2d, inside: int, outside: int, groups: int, dilation: int = 1):
    """Returns a 3x3 convolution without bias, with the stride of `conv`.

    The weights are drawn as torchvision draws the weights of its convolutions.
    """
    new = nn.Conv2d(
        inside, outside, 3, conv.stride, dilation, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new
