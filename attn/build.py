"""From a configuration and a seed to a network.

The network is built first, then its stem for the input channels, then attention, each from a
stream of its own. So with one seed all variants share every weight that they can.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attn.backbones import BACKBONES
from attn.draws import Draws, derive, replace_dropout
from attn.modules import MECHANISMS
from attn.place import attach
from attn.schema import Config, arguments

CLASSES = 10
NETWORK, STEM, ATTENTION = range(3)


@contextmanager
def stream(seed: int, *part: int):
    """torch's generator, seeded for one part of a network, and put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *part))
        yield


def replace_stem(network: nn.Module, in_channels: int, seed: int):
    """A stem for `in_channels`, drawn channel by channel: how many follow does not change RGB's.

    Kaiming normal, fan out, as torchvision draws its own; kernel, stride and padding stay.
    """
    old = network.get_submodule(network.stem)
    new = nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False
    )
    for channel in range(in_channels):
        with stream(seed, STEM, channel):
            filters = new.weight[:, channel : channel + 1]  # (out, 1, k, k)
            nn.init.kaiming_normal_(filters, mode="fan_out", nonlinearity="relu")
    network.set_submodule(network.stem, new)
    network.seams.channels["input"] = in_channels


def build(config: Config, seed: int, draws: Draws | None = None) -> nn.Module:
    """The network of one run, on the CPU; `draws` gives dropout its masks."""
    with stream(seed, NETWORK):
        backbone = BACKBONES[config.backbone["name"]]
        network = backbone(num_classes=CLASSES, **arguments(config.backbone))
    replace_stem(network, config.in_channels, seed)

    def mechanism(channels):
        with stream(seed, ATTENTION):
            return MECHANISMS[config.attention["name"]](channels, **arguments(config.attention))

    attach(network, config.location, mechanism)
    replace_dropout(network, draws or Draws(seed))
    return network


def count(network: nn.Module, config: Config) -> dict:
    """Parameters, and multiply-adds for one image, by torch's own counter."""
    image = torch.zeros(1, config.in_channels, config.recipe.size, config.recipe.size)
    was_training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    network.train(was_training)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
    }
