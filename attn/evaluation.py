"""A network on test images: its logits, and its scores wherever it has attention."""

import itertools

import torch
from torch import nn

from attn.data.inputs import Inputs
from attn.draws import FIXED_SEED, ORDER, permutation
from attn.precision import autocast, set_float32
from attn.schema import Recipe
from attn.scores import ScoreStatistics, record

BATCH = 250
POST_IMAGES = 64  # as many as the post's figure of scores


def fixed_test_order(count: int) -> torch.Tensor:
    """The order (count,) in which test images are taken where not all are: always the same."""
    return permutation(FIXED_SEED, 0, torch.arange(count), ORDER)


@torch.no_grad()
def evaluate(network: nn.Module, inputs: Inputs, samples, recipe: Recipe, score_counts=()):
    """Logits (N, classes) of test images, and the scores over the first n of them, n in counts.

    samples: positions (N,). Returns logits on the CPU and {n: {module: (mean, sd)}}, each (C,).
    """
    device = inputs.images.device
    set_float32(recipe)
    network.eval()
    cuts = {0, len(samples), *score_counts, *range(0, len(samples), BATCH)}
    cuts = sorted(cut for cut in cuts if cut <= len(samples))
    logits, statistics, scores_at = [], ScoreStatistics(), {}
    with record(network) as scores, autocast(device, recipe):
        for first, end in itertools.pairwise(cuts):
            x, _ = inputs(samples[first:end].to(device))
            logits.append(network(x).float())
            statistics.add(scores)
            if end in score_counts:
                scores_at[end] = statistics.summary()
    return torch.cat(logits).cpu(), scores_at


def score_rows(scores: dict, **where) -> list[dict]:
    """A row for each count of images, module and channel: mean and sd of its score over images."""
    return [
        {"module": module, "channel": channel, **where, "images": n, "mean": mean, "sd": sd}
        for n, modules in sorted(scores.items())
        for module, (means, sds) in modules.items()
        for channel, (mean, sd) in enumerate(zip(means.tolist(), sds.tolist(), strict=True))
    ]
