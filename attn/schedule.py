"""The learning rate of every step."""

import math

import torch

from attn.schema import Recipe


def learning_rates(recipe: Recipe, steps: int) -> torch.Tensor:
    """The rate of every step of a run, (steps,) float32: warm-up from 0, then the schedule."""
    warm = round(recipe.warmup * steps)
    rates = []
    for step in range(steps):
        past = (step - warm) / max(1, steps - warm)  # in [0, 1) after the warm-up
        factors = {
            "constant": 1.0,
            "linear": 1 - past,
            "cosine": (1 + math.cos(math.pi * past)) / 2,
        }
        rates.append(recipe.lr * ((step + 1) / warm if step < warm else factors[recipe.schedule]))
    return torch.tensor(rates)
