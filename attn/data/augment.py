"""Augmentation on the device, a function of (seed, epoch, sample)."""

import torch

from attn.draws import AUGMENT, Draws


def crop_and_flip(images, draws: Draws):
    """Crops each image at random, padded with black, and flips it left to right half of the time.

    Takes and returns (B, C, S, S) uint8. The padding on each side is an eighth of the image's side,
    4 of 32.
    """
    size = images.shape[-1]
    padding = size // 8
    numbers = draws.uniform(AUGMENT, 3)  # (B, 3)
    shift = (numbers[:, :2] * (2 * padding + 1)).long() - padding  # (B, 2), each in [-pad, pad]
    line = torch.arange(size, device=images.device)
    rows = line + shift[:, :1]  # (B, S)
    columns = torch.where(numbers[:, 2:] < 0.5, line, line.flip(0)) + shift[:, 1:]  # (B, S)
    picked = _pick(_pick(images, rows[:, None, :, None], 2), columns[:, None, None, :], 3)
    seen = _within(rows, size)[:, None, :, None] & _within(columns, size)[:, None, None, :]
    return picked * seen


def _within(places, size: int):
    return (places >= 0) & (places < size)


def _pick(images, places, dim: int):
    return images.gather(dim, places.clamp(0, images.shape[dim] - 1).expand_as(images))
