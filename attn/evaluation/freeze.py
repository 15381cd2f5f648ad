"""Freezes the gates of a trained network: does it matter that they follow the image?

A frozen gate is its own mean over training images: channel by channel, and position by position
where the gate has positions. ASR (arXiv:2304.06345) claims of channel gates that they converge to
constants.
"""

import math

import torch

from attn.evaluation.predict import Predictor, fixed_test_order
from attn.names import EVERY_GATE
from attn.network.scores import is_logits, is_share, markers, replaced

TRAINING_IMAGES = 5000  # of which the means are
PLACE_IMAGES = 2000  # of the test set, on which each gate is frozen alone
Z = 1.959964  # of a 95% interval over images


def gates(network) -> list[str]:
    """Returns the names of the scores that multiply features."""
    return [name for name in markers(network) if not is_logits(name) and not is_share(name)]


@torch.no_grad()
def means(predictor: Predictor) -> dict[str, tuple[torch.Tensor, float]]:
    """Returns {gate: (its mean (1, ...), its share of variance between images)}.

    predictor: the network on training images, which captures nothing. The share is that of all
    variance of the gate, over images, channels and positions. It is 0 for a gate that no image
    changes.
    """
    network, count = predictor.network.eval(), len(predictor.inputs.labels)
    names, sums = gates(network), {}
    for samples in torch.arange(count).split(predictor.batch):
        predictor(samples)
        for name in names:
            score = predictor.scores[name].double()
            total, squares = sums.get(name, (0, 0))
            sums[name] = total + score.sum(0), squares + score.square().sum(0)
    found = {}
    for name, (total, squares) in sums.items():
        mean = total / count
        within = (squares / count - mean.square()).clamp_min(0).mean()
        every = within + mean.var(correction=0)
        share = float(within / every) if every > 1e-12 else 0.0  # of a constant: its rounding
        found[name] = mean.float()[None], share
    return found


@torch.no_grad()
def freeze(predictor: Predictor, found: dict) -> list[dict]:
    """Freezes all gates of a network at once, and each alone where there are several.

    predictor: the network on test images. found: what `means` returns of it on training images.
    Returns rows module (`all`, or a gate's name), images, accuracy and frozen (percent, of the
    network and of the frozen network on the same images), lost, low and high (points lost, and the
    95% interval of their mean over images), between (the gate's share of variance between images;
    of `all` the mean).
    """
    if not found:
        return []
    order = fixed_test_order(len(predictor.inputs.labels)).to(predictor.device)
    right = _right(predictor, order, {})
    shares = [share for _, share in found.values()]
    frozen = {name: mean for name, (mean, _) in found.items()}
    rows = [_row(EVERY_GATE, right, _right(predictor, order, frozen), sum(shares) / len(shares))]
    if len(found) > 1:
        some = order[:PLACE_IMAGES]
        for name, (mean, share) in found.items():
            mine = _right(predictor, some, {name: mean})
            rows.append(_row(name, right[: len(some)], mine, share))
    return rows


def _right(predictor: Predictor, order, frozen: dict):
    """Returns (N,) whether each image is classified right with the frozen gates."""
    batches = order.split(predictor.batch)
    with replaced(predictor.network, frozen):
        taken = torch.cat([predictor(samples).argmax(1) for samples in batches])
    return taken == predictor.inputs.labels[order]


def _row(module: str, right, kept, share: float) -> dict:
    lost = 100 * (right.double() - kept.double())
    half = Z * lost.std().item() / math.sqrt(len(lost))
    mean = lost.mean().item()
    return {
        "module": module,
        "images": len(lost),
        "accuracy": 100 * right.double().mean().item(),
        "frozen": 100 * kept.double().mean().item(),
        "lost": mean,
        "low": mean - half,
        "high": mean + half,
        "between": share,
    }
