"""Folds frozen gates into the weights beside them: the network has the baseline's cost again.

What multiplies each channel by a constant can be folded. At `input` the constant goes into the
first convolution, at `features` into the classifier, and at `refine` into the normalisation before
it or, in MobileNetV2's expansion, into the convolution behind it.
"""

import copy

import torch
from torch import nn

from attn.network.scores import markers, replaced
from attn.network.seams import Add, CannotStand

SEAMS = ("input", "refine", "features")  # where owners have `fold(place, factors)`


@torch.no_grad()
def fold(network: nn.Module, frozen: dict) -> nn.Module:
    """Returns a copy of a network without attention that computes what the frozen network does.

    frozen: {gate: its mean (1, ...)}, as of `attn.evaluation.freeze.means`. Raises CannotStand,
    with the place, where a mechanism does more than multiply each channel by a constant.
    """
    twin = copy.deepcopy(network).eval()
    owners = [(name, m) for name, m in twin.named_modules() if hasattr(m, "seams")]
    device = next(twin.parameters()).device
    with replaced(twin, frozen):
        for name, owner in owners:
            for place, width in owner.seams.widths.items():
                module = getattr(owner.seams, place, None)
                if module is None or isinstance(module, nn.Identity | Add):
                    continue
                where = f"{name}.{place}".removeprefix(".")
                if place not in SEAMS:
                    raise CannotStand(f"{where}: what stands there is no gate of channels")
                inside = f"{name}.seams.{place}".removeprefix(".")
                mine = [gate for key, gate in frozen.items() if f"{key}.".startswith(f"{inside}.")]
                owner.fold(place, _factors(module, mine, width, device, where))
                owner.seams.fill(place, nn.Identity())
    left = list(markers(twin))
    if left:
        raise CannotStand(f"{left[0]}: what replaces a convolution has no constant in its place")
    return twin


def _factors(module: nn.Module, gates: list, width: int, device, where: str):
    """Returns the factors (C,) by which a mechanism multiplies the channels, its gates frozen."""
    by_channel = all(gate.shape == (1, width, 1, 1) for gate in gates)
    x = torch.randn(2, width, 5, 3, generator=torch.Generator().manual_seed(0)).to(device)
    factors = module(torch.ones_like(x))[:1, :, :1, :1] if by_channel else None
    if factors is None or not torch.allclose(module(x), factors * x, rtol=1e-5, atol=1e-6):
        raise CannotStand(f"{where}: frozen, it is no constant for each channel")
    return factors.flatten()
