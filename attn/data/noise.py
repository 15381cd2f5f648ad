"""The contents of the channels beside RGB, standardised like every channel.

uniform    in [0, 1)           gaussian   normal with mean 0 and sd 1
image      the colour channels of other images of the same split: structure that says nothing
copy       the image's own colour channels under as much gaussian noise: what they say is known
smooth     uniform, drawn at an eighth of the input's size and enlarged in blocks; a run records it
           as uniform with that size
"""

import math

import torch
import torch.nn.functional as F

from attn.draws import NOISE, Draws


def draw(kind: str, channels: int, size: int, draws: Draws):
    """Returns (B, channels, size, size) float32 of kind uniform or gaussian.

    Gaussian numbers are made from pairs of uniform numbers, as Box and Muller do.
    """
    count = channels * size * size
    if kind == "uniform":
        numbers = (draws.uniform(NOISE, count) - 0.5) * 12**0.5
    else:
        first, second = draws.uniform(NOISE, 2 * count).chunk(2, dim=1)
        # first is in [0, 1): the logarithm of 1 - first is finite
        numbers = (-2 * torch.log1p(-first)).sqrt() * torch.cos(2 * math.pi * second)
    return numbers.view(-1, channels, size, size)


def corrupted(x, channels: int, draws: Draws):
    """Returns the colours of x (B, 3, S, S) in turn under gaussian noise, (B, channels, S, S).

    Half of the variance is the noise's.
    """
    turns = torch.arange(channels, device=x.device) % x.shape[1]
    return (x.index_select(1, turns) + draw("gaussian", channels, x.shape[-1], draws)) / 2**0.5


def other_images(channels: int, samples, draws: Draws, total: int):
    """Returns positions (B, images) of other images, enough for `channels` colour channels."""
    numbers = draws.uniform(NOISE, -(-channels // 3))  # (B, images)
    return (samples[:, None] + 1 + (numbers * (total - 1)).long()) % total  # never the sample


def enlarge(noise, size: int):
    """Enlarges (B, C, s, s) to (B, C, size, size).

    Each value becomes a block, so the distribution of the values stays.
    """
    return noise if noise.shape[-1] == size else F.interpolate(noise, (size, size), mode="nearest")
