"""Ten classes of drawn 32x32 colour images: a stand-in where there is no CIFAR-10.

Each image is one shape in a random colour, place and size on a textured background of another
colour: the colour says nothing, the form everything. The drawing takes only additions,
multiplications and comparisons, which every machine rounds alike, so the pixels and their
fingerprint are the same everywhere.
"""

import numpy as np
import torch

from attn.data.dataset import SPLITS
from attn.draws import FIXED_SEED, SYNTHETIC, uniform

VERSION = 1
COUNTS = {"train": 10_000, "test": 2_000}
SHAPES = [
    "disk",
    "ring",
    "square",
    "frame",
    "cross",
    "saltire",
    "triangle",
    "rows",
    "columns",
    "checks",
]


def draw():
    """Returns {split: (images (N, 3, 32, 32) uint8, labels (N,) int64)}, classes in equal parts."""
    decoded, first = {}, 0
    for split in SPLITS:
        samples = torch.arange(first, first + COUNTS[split])
        first += COUNTS[split]
        labels = (samples % len(SHAPES)).numpy()
        parts = [
            _images(s, label)
            for s, label in zip(
                samples.split(500), np.split(labels, len(labels) // 500), strict=True
            )
        ]
        decoded[split] = np.concatenate(parts), labels
    return decoded


def _images(samples, labels):
    numbers = (
        uniform(FIXED_SEED, 0, samples, SYNTHETIC, 16 + 3 * 32 * 32).numpy().astype(np.float64)
    )
    n = numbers.T[:16, :, None, None]  # 16 of (B, 1, 1), in [0, 1)
    grain = numbers[:, 16:].reshape(-1, 3, 32, 32)
    rows, columns = np.mgrid[0:32, 0:32]
    x = columns - (10 + 12 * n[0])  # (B, 32, 32): the shape's centre is at 0
    y = rows - (10 + 12 * n[1])
    size = 6 + 5 * n[2]
    inside = _inside(x, y, size, labels)[:, None]  # (B, 1, 32, 32)
    front = np.stack([n[3], n[4], n[5]], 1)  # (B, 3, 1, 1)
    back = np.stack([n[6], n[7], n[8]], 1)
    slope = ((n[9] - 0.5) * x + (n[10] - 0.5) * y)[:, None] / 32
    # A shape that has its background's colour would be invisible: push one channel apart.
    front[:, 0] = np.where(abs(front - back).max(1) < 0.35, (back[:, 0] + 0.5) % 1, front[:, 0])
    images = np.where(inside, front, back + slope) + 0.25 * (grain - 0.5)
    return (np.clip(images, 0, 1) * 255).astype(np.uint8)


def _inside(x, y, size, labels):
    """Returns (B, 32, 32) bool: the form of each image's class."""
    near = np.maximum(abs(x), abs(y))
    square, disk = near < size, x * x + y * y < size * size
    bar = size * 0.3
    band = np.maximum(2, size // 3)
    rows, columns = (y // band) % 2 == 0, (x // band) % 2 == 0
    forms = [
        disk,
        disk & (x * x + y * y > size * size * 0.4),
        square,
        square & (near > size * 0.6),
        square & ((abs(x) < bar) | (abs(y) < bar)),
        square & ((abs(x - y) < bar * 1.4) | (abs(x + y) < bar * 1.4)),
        (y < size) & (y > 2 * abs(x) - size),
        square & rows,
        square & columns,
        square & (rows ^ columns),
    ]
    return np.stack(forms)[labels, np.arange(len(labels))]
