"""Small networks in training, for tests of the engine."""

import torch

from attn.compute.precision import set_backends
from attn.data import subset
from attn.draws import Draws
from attn.network.build import build
from attn.training.shared import split_inputs
from attn.training.trainer import Trainer, run_epoch

SMALL = ("recipe=quick", "backbone=resnet20", "recipe.images=80", "recipe.size=16")
SMALL += ("recipe.precision=fp32",)


def trainer(data, config, device="cpu", seed=0, compiled=False):
    device, draws = torch.device(device), Draws(seed)
    set_backends(config.recipe.precision, config.strict)
    samples = subset(data.labels["train"], config.recipe.images)
    inputs = split_inputs(config, data, "train", device)
    network = build(config, seed, draws)
    return Trainer(network, inputs, samples, config.recipe, draws, compiled)


def first_loss(ours, epoch):
    """Of an epoch's first step, summed over its images; later ones lose what rounding leaves."""
    ours.begin(epoch)
    ours.advance(0)
    if ours.stream:
        ours.stream.synchronize()
    return ours.loss.item()


def train_epoch(ours, epoch):
    ours.begin(epoch)
    run_epoch([ours])
    return ours.end()
