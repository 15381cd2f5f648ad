"""Every attention score of a network, from outside forward().

A mechanism passes what it multiplies by through a `Scores` marker, which returns it unchanged;
`record(model)` listens to the markers for as long as its block lasts.
"""

from contextlib import contextmanager

from torch import nn


class Scores(nn.Module):
    """Does nothing; marks a score: a gate of its broadcast shape (B, ...), or a share (B, M, C)."""

    def forward(self, score):
        return score


@contextmanager
def record(model: nn.Module):
    """Yields {mechanism's module name: its last score}, which each forward pass fills.

    Hooks do not fire in a replayed CUDA graph: use an eager pass.
    """
    scores = {}

    def listen(name):
        def hook(module, args, score):
            scores[name] = score.detach().float()

        return hook

    markers = [(n, m) for n, m in model.named_modules() if isinstance(m, Scores)]
    handles = [m.register_forward_hook(listen(n.rpartition(".")[0])) for n, m in markers]
    try:
        yield scores
    finally:
        for handle in handles:
            handle.remove()


def of_input_channels(module: str) -> bool:
    """Whether a mechanism, by its module name, scores each of the network's input channels."""
    return module.startswith("seams.input") and not module.endswith(".spatial")


class ScoreStatistics:
    """Each channel's mean and sd over images, of every mechanism's score averaged over space."""

    def __init__(self):
        self.sums = {}  # module: [images, sum (C,), sum of squares (C,)]

    def add(self, scores: dict):
        for name, score in scores.items():
            values = score.double().mean((2, 3))  # (B, C)
            sums = self.sums.setdefault(name, [0, 0, 0])
            for i, term in enumerate((len(values), values.sum(0), values.square().sum(0))):
                sums[i] = sums[i] + term

    def summary(self) -> dict:
        """{module: (mean (C,), sd (C,))}, float64; sd is 0 for a single image."""
        result = {}
        for name, (n, total, squares) in self.sums.items():
            mean = total / n
            variance = (squares / n - mean.square()).clamp_min(0) * n / max(1, n - 1)
            result[name] = mean, variance.sqrt()
        return result
