"""The learning rate of every step."""

import math

import torch

from attn.config.schema import Recipe

SCHEDULES = {  # of the share of the steps that are past, in [0, 1): never quite 0
    "constant": lambda past: 1.0,
    "linear": lambda past: 1 - past,
    "cosine": lambda past: (1 + math.cos(math.pi * past)) / 2,
}


def learning_rates(recipe: Recipe, steps: int) -> torch.Tensor:
    """Returns the learning rate of every step of a run, (steps,) float32.

    The rate rises to lr, then follows the schedule. Of `warm` steps of warm-up the first has the
    rate lr / warm, and the last has the rate lr.
    """
    warm = round(recipe.warmup * steps)
    schedule = SCHEDULES[recipe.schedule]
    rates = [(step + 1) / warm for step in range(warm)]
    rates += [schedule(step / (steps - warm)) for step in range(steps - warm)]
    return torch.tensor([recipe.lr * rate for rate in rates])
