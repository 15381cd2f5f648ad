"""Multiplies channels by constants within the weights of a layer, as folding a gate needs it."""

from torch import nn


def scale_outputs(norm: nn.BatchNorm2d, factors):
    """Multiplies the channels that a normalisation gives by factors (C,)."""
    norm.weight.mul_(factors)
    norm.bias.mul_(factors)


def scale_inputs(layer: nn.Conv2d | nn.Linear, factors):
    """Multiplies the channels that a convolution or linear layer takes by factors (C,)."""
    layer.weight.mul_(factors.view(1, -1, *[1] * (layer.weight.ndim - 2)))
