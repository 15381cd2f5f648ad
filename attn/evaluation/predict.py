"""A network on test images: its logits, and its scores wherever the network has attention."""

import copy
import itertools

import torch
from torch import nn

from attn.compute.graph import capture, complaint
from attn.compute.precision import MEMORY_FORMAT, autocast, computed_in, untimed
from attn.config.schema import Config, Recipe
from attn.data import Dataset
from attn.data.inputs import Inputs
from attn.draws import FIXED_SEED, ORDER, permutation
from attn.network.scores import Scores, ScoreStatistics, record

BATCH = {"cpu": 50, "cuda": 250}  # on a CPU the activations of 250 images leave its cache


def fixed_test_order(count: int) -> torch.Tensor:
    """Returns the order (count,) in which test images are taken where only some are taken.

    The order is always the same. Training images are taken in it where only some are looked at.
    """
    return permutation(FIXED_SEED, 0, torch.arange(count), ORDER)


def split_inputs(config: Config, data: Dataset, split: str, device, samples=None) -> Inputs:
    """Returns one split, or some samples (N,) of it, as the inputs of a configuration."""
    recipe, images, labels = config.recipe, data.images[split], data.labels[split]
    return Inputs(
        images if samples is None else images[samples],
        labels if samples is None else labels[samples],
        recipe.size,
        config.data.noise,
        device,
        MEMORY_FORMAT,
        recipe.augment,
    )


class Predictor:
    """A network's logits of test images: `predictor(samples)`, (B,) -> (B, classes) float32.

    scores: the scores of the last call's images, as `record` has them, until the next call.
    """

    def __init__(
        self, network: nn.Module, inputs: Inputs, recipe: Recipe, stream=None, precision=None
    ):
        """Captures whole batches, with their scores, in a CUDA graph where a stream is given.

        stream: the stream on which the graph is captured, and replayed. In a replayed graph no
        other hooks of the network fire. precision: what a trained network was computed in; None for
        what the recipe has on this machine.
        """
        self.network, self.inputs = network, inputs
        self.device = inputs.images.device
        self.precision = precision or computed_in(network, self.device, recipe.precision)[0]
        self.batch = BATCH[self.device.type]
        self.notes, self.graphs, self.scores = [], {}, {}
        if stream:
            self.samples = torch.arange(self.batch, device=self.device) % len(inputs.labels)
            self.network.eval()
            try:
                self.graphs = capture(self._whole_batch, [self.batch], [], stream)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self.notes.append(complaint("without a CUDA graph evaluation", error))

    @torch.no_grad()
    def _whole_batch(self, size: int):
        with record(self.network) as self.captured_scores:  # hooks fire while it is recorded
            self.logits = self._forward(self.samples)

    def _forward(self, samples):
        x, _ = self.inputs(samples)
        with autocast(self.device, self.precision):
            return self.network(x).float()

    def __call__(self, samples):
        samples = samples.to(self.device)
        if len(samples) not in self.graphs:
            with untimed(), record(self.network) as self.scores:
                return self._forward(samples)
        self.samples.copy_(samples)
        self.graphs[self.batch].replay()
        self.scores = self.captured_scores
        return self.logits.clone()


def has_scores(network: nn.Module) -> bool:
    return any(isinstance(module, Scores) for module in network.modules())


@torch.no_grad()
def untrained_scores(network: nn.Module, inputs: Inputs, samples) -> dict:
    """Returns {N: {module: statistics}} of a network before training, on test images (N,).

    The network computes in training mode, as its running statistics say nothing yet. The network
    itself stays as it is.
    """
    if not has_scores(network):
        return {}
    samples = samples.to(inputs.images.device)
    twin, statistics = copy.deepcopy(network).train(), ScoreStatistics()
    for module in twin.modules():
        if hasattr(module, "draws"):
            module.draws.at(0, samples)
    with record(twin) as scores, untimed():
        twin(inputs(samples)[0])
    statistics.add(scores)
    return {len(samples): statistics.summary()}


@torch.no_grad()
def evaluate(predictor: Predictor, samples, score_counts=()):
    """Returns logits (N, classes), and the scores over the first n images for n in score_counts.

    samples: positions (N,) of test images. The scores are {n: {module: (mean, sd, saturated)}},
    each (C,), on the device, which may still be computing them.
    """
    predictor.network.eval()
    scored = max(score_counts, default=0) if has_scores(predictor.network) else 0
    cuts = {0, len(samples), *score_counts, *range(0, len(samples), predictor.batch)}
    cuts = sorted(cut for cut in cuts if cut <= len(samples))
    logits, statistics, scores_at = [], ScoreStatistics(), {}
    for first, end in itertools.pairwise(cuts):
        logits.append(predictor(samples[first:end]))
        if end <= scored:
            statistics.add(predictor.scores)
        if end in score_counts:
            scores_at[end] = statistics.summary()
    return torch.cat(logits), scores_at


def score_rows(scores: dict, **where) -> list[dict]:
    """Returns a row for each count of images, module and channel.

    A row holds the mean, the sd and the saturated share of the channel's score.
    """
    rows = []
    for n, modules in sorted(scores.items()):
        for module, statistics in modules.items():
            values = zip(*(statistic.tolist() for statistic in statistics), strict=True)
            for channel, (mean, sd, saturated) in enumerate(values):
                row = {"module": module, "channel": channel, **where, "images": n}
                rows.append(row | {"mean": mean, "sd": sd, "saturated": saturated})
    return rows
