"""Every attention score of a network, from outside forward().

A mechanism passes each score through a `Scores` marker, which returns the score unchanged;
`record(model)` listens to the markers for as long as its block lasts.
"""

from contextlib import contextmanager

import torch
from torch import nn


class Scores(nn.Module):
    """Does nothing; marks a score: a gate of its broadcast shape (B, ...), or a share (B, M, C).

    The marker's own name says what it marks. `..._logits` marks the logits of a gate. `shares` and
    `..._shares` mark numbers that add up to 1 and multiply no features. Any other name marks a
    gate, or a factor of a gate.
    """

    def forward(self, score):
        return score


def markers(model: nn.Module) -> dict[str, Scores]:
    """Returns the network's markers by the names of their scores.

    A mechanism's main score has the mechanism's name, another score the mechanism's name and the
    marker's.
    """
    named = {name: m for name, m in model.named_modules() if isinstance(m, Scores)}
    return {name.removesuffix("scores").removesuffix("."): m for name, m in named.items()}


@contextmanager
def _hooked(model: nn.Module, hook_of):
    """Hooks each marker for which `hook_of(name)` returns a hook, as long as the block lasts."""
    hooks = {marker: hook_of(name) for name, marker in markers(model).items()}
    handles = [m.register_forward_hook(hook) for m, hook in hooks.items() if hook]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record(model: nn.Module):
    """Yields {mechanism's module name: its last score}, which each forward pass fills.

    Hooks do not fire in a replayed CUDA graph. Scores that were recorded while it was captured are
    filled again by each replay.
    """
    scores = {}

    def listen(name):
        def hook(module, args, score):
            scores[name] = score.detach().float()

        return hook

    with _hooked(model, listen):
        yield scores


def replaced(model: nn.Module, scores: dict):
    """Returns a context in which the given scores stand in the place of the computed scores.

    scores: by name, each (1, ...), the same for every image. They need an eager pass.
    """

    def put(name):
        if name not in scores:
            return None
        return lambda module, args, score: scores[name].to(score).expand_as(score)

    return _hooked(model, put)


def is_logits(name: str) -> bool:
    """Returns whether a recorded score is the logits of a gate, and not a gate itself."""
    return name.endswith("_logits")


def is_share(name: str) -> bool:
    """Returns whether a recorded score is a share of 1, which multiplies no features."""
    return name.rpartition(".")[2].endswith("shares")


def by_channel(score):
    """Returns (B, C): a gate's mean over space; of shares (B, M, C) the last share."""
    return score[:, -1] if score.ndim == 3 else score.mean((2, 3))


SATURATED = 0.05  # a score this near to 0 or 1 hardly passes a gradient on


class ScoreStatistics:
    """Each channel's mean and sd over images, and its saturated share, of every score.

    Logits that are recorded beside a gate are left out.
    """

    def __init__(self):
        self.sums = {}  # module: [images, sum (C,), sum of squares (C,), saturated (C,)]

    def add(self, scores: dict):
        for name, score in scores.items():
            if is_logits(name):
                continue
            values = by_channel(score.double())  # (B, C)
            flat = by_channel(((score - 0.5).abs() > 0.5 - SATURATED).double())
            if is_share(name):  # a small share is no closed gate
                flat = torch.full_like(flat, torch.nan)
            sums = self.sums.setdefault(name, [0, 0, 0, 0])
            terms = len(values), values.sum(0), values.square().sum(0), flat.sum(0)
            for i, term in enumerate(terms):
                sums[i] = sums[i] + term

    def summary(self) -> dict:
        """Returns {module: (mean, sd, saturated)}, each (C,) float64; sd of a single image is 0."""
        result = {}
        for name, (n, total, squares, saturated) in self.sums.items():
            mean = total / n
            variance = (squares / n - mean.square()).clamp_min(0) * n / max(1, n - 1)
            result[name] = mean, variance.sqrt(), saturated / n
        return result
