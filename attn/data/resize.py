"""Pillow's bilinear resize of uint8 images, to the bit, on any device.

Pillow filters rows, then columns, in fixed point: each weight is rounded to 22 bits after the
point, and each pass rounds to uint8. float64 holds those sums of integers exactly, so two
matrix products repeat Pillow's resize.
"""

import torch

CHUNK = 32  # images at once
_BITS = 22  # Pillow's PRECISION_BITS for 8-bit channels


def _weights(source: int, target: int) -> torch.Tensor:
    """Returns (target, source): Pillow's triangle filter as integers, in float64."""
    scale = source / target
    support = max(scale, 1.0)
    matrix = torch.zeros(target, source, dtype=torch.float64)
    for row in range(target):
        center = (row + 0.5) * scale
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), source)
        taps = [max(0.0, 1 - abs((i - center + 0.5) / support)) for i in range(first, last)]
        for i, tap in zip(range(first, last), taps, strict=True):
            matrix[row, i] = int(tap / sum(taps) * (1 << _BITS) + 0.5)
    return matrix


def _round(sums: torch.Tensor) -> torch.Tensor:
    return ((sums + (1 << (_BITS - 1))) / (1 << _BITS)).floor().clamp(0, 255)


def resize(images: torch.Tensor, size: int) -> torch.Tensor:
    """Resizes (N, C, H, H) uint8 to (N, C, size, size) uint8, equal to PIL's resize(BILINEAR)."""
    channels, source = images.shape[1:3]
    if size == source:
        return images
    weights = _weights(source, size).to(images.device)
    resized = torch.empty(
        len(images), channels, size, size, dtype=torch.uint8, device=images.device
    )
    for part, target in zip(images.split(CHUNK), resized.split(CHUNK), strict=True):
        rows = part.reshape(-1, source).double()  # (n*C*H, H)
        wide = _round(rows @ weights.T).view(-1, source, size)  # (n*C, H, size)
        tall = _round(weights.expand(len(wide), -1, -1) @ wide)  # (n*C, size, size)
        target.copy_(tall.view(target.shape))
    return resized
