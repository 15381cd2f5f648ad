"""From a configuration and a seed to a network.

The network is built first, then its stem for the input channels, then attention, each from a
stream of its own. So with one seed all variants share every weight that they can.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attn.backbones import BACKBONES
from attn.config.schema import Config, arguments
from attn.draws import Draws, derive, replace_dropout
from attn.names import CLASSES
from attn.network.place import attach

NETWORK, STEM, ATTENTION = range(3)


@contextmanager
def stream(seed: int, *part: int):
    """Seeds torch's generator for one part of a network, and restores the generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, *part))  # the caller's GPU keeps its own
        yield


def replace_stem(network: nn.Module, in_channels: int, seed: int, keep_rgb: bool = False):
    """Replaces the stem by a stem for `in_channels`, drawn channel by channel.

    So the number of channels behind RGB does not change RGB's filters. Filters are Kaiming normal,
    fan out, as torchvision draws its own. Kernel, stride and padding stay; with keep_rgb
    (pretrained weights) the first three channels' filters stay too.
    """
    old = network.get_submodule(network.stem_name)
    shape = (in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    with stream(seed, STEM):
        new = nn.Conv2d(*shape, bias=False)
    for channel in range(in_channels):
        with stream(seed, STEM, channel):
            filters = new.weight[:, channel : channel + 1]  # (out, 1, k, k)
            nn.init.kaiming_normal_(filters, mode="fan_out", nonlinearity="relu")
    if keep_rgb:
        with torch.no_grad():
            new.weight[:, :3] = old.weight
    network.set_submodule(network.stem_name, new)
    network.seams.widths["input"] = in_channels


def stem_norms(network: nn.Module) -> list[float]:
    """Returns the L2 norm of the first convolution's filters of each input channel."""
    weight = network.get_submodule(network.stem_name).weight.detach()  # (out, in, k, k)
    return torch.linalg.vector_norm(weight.double(), dim=(0, 2, 3)).tolist()


def load_matching(network: nn.Module, weights: dict) -> list[str]:
    """Loads the tensors that fit by name and shape; returns the names of all other tensors."""
    own = network.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    network.load_state_dict(own | fitting)
    return sorted(own.keys() - fitting.keys())


def build(
    config: Config, seed: int, draws: Draws | None = None, weights: dict | None = None
) -> nn.Module:
    """Builds the network of one run, on the CPU.

    draws: gives dropout its masks; without draws dropout stays torch's own. weights: a state_dict
    of torchvision's network to start from. Raises ValueError where the attention cannot stand where
    it is asked to.
    """
    with stream(seed, NETWORK):
        backbone = BACKBONES[config.backbone["name"]]
        network = backbone(num_classes=len(CLASSES), **arguments(config.backbone))
    drawn = load_matching(network, weights) if weights else [f"{network.stem_name}.weight"]
    replace_stem(network, config.in_channels, seed, f"{network.stem_name}.weight" not in drawn)
    if config.location != "none":

        def make(form, index, what):
            with stream(seed, ATTENTION, index):
                return form(what, **arguments(config.attention))

        name = config.attention["name"]
        attach(network, config.location, name, config.stages, make, config.blocks)
    if draws is not None:
        replace_dropout(network, draws)
    return network


def outline(config: Config) -> nn.Module:
    """Builds the network of a configuration without memory: its layers and shapes, no numbers.

    Raises ValueError where the attention cannot stand where it is asked to.
    """
    with torch.device("meta"):
        return build(config, seed=0)


def multiply_adds(network: nn.Module, in_channels: int, size: int) -> int:
    """Returns the multiply-adds of convolutions and linear layers for one image.

    The number is from torch's own counter.
    """
    image = torch.zeros(1, in_channels, size, size)
    was_training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    network.train(was_training)
    return counter.get_total_flops() // 2


def count(network: nn.Module, config: Config) -> dict:
    """Returns a network's `parameters`, and its `multiply_adds` for one image."""
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": multiply_adds(network, config.in_channels, config.recipe.size),
    }
