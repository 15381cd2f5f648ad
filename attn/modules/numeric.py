"""Gates are computed in fp32 under autocast too: a bf16 gate near 1 has steps of 0.004.

The mechanisms' own weights are fp32 for that; layers in lower precision come from autocast.
"""

import torch


def full_precision(x):
    """Returns a context in which autocast lowers no precision on x's device."""
    return torch.autocast(x.device.type, enabled=False)


def full(x):
    """Returns x in fp32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean(x, dim):
    """Returns the mean over dimensions that are kept, in fp32 or better."""
    return x.mean(dim, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))


def maximum(x, dim):
    """Returns the maximum over dimensions that are kept, in fp32 or better."""
    return full(x.amax(dim, keepdim=True))


def gated(x, s):
    """Returns s * x, rounded once, to x's own type."""
    return (x * s).to(x.dtype)
