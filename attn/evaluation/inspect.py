"""Looks into a trained network for what its scores mean, class by class and over images.

Does a channel's score say how much is lost without the channel? Does the score follow the
contents of the channel?
"""

from dataclasses import dataclass

import torch

from attn.compute.precision import autocast
from attn.draws import FIXED_SEED, ORDER, permutation
from attn.evaluation.freeze import gates
from attn.evaluation.predict import Predictor, fixed_test_order
from attn.names import CLASSES, COLOURS, of_channels
from attn.network.scores import by_channel, is_logits, record

PLACES = 4  # of the network, evenly, that are shown class by class, and as maps
PICTURES = 6
# An input channel that is permuted takes the whole network anew, one of the final feature map its
# end alone.
INPUT_IMAGES, INPUT_REPEATS = 2000, 3
CHANNELS = 64  # of the final feature map, evenly
SWAP_IMAGES = 1000


@dataclass
class Inspection:
    """The results of `inspect`.

    classes: rows module, channel, class, score. importance: rows module, channel, score, sd,
    lost, images. maps: images (N, 3, S, S) uint8, and by module (N, h, w) float16.
    """

    classes: list[dict]
    importance: list[dict]
    maps: dict


@torch.no_grad()
def inspect(predictor: Predictor) -> Inspection:
    """Looks at a network with attention on the whole test set."""
    network, labels = predictor.network.eval(), predictor.inputs.labels
    order = fixed_test_order(len(labels)).to(labels.device)
    sums, features = _pass(predictor, order)
    means = {name: total.sum(0) / len(order) for name, total in sums.items()}
    at_input, at_features = (_gate_of(network, means, seam) for seam in ("input", "features"))
    counts = torch.bincount(labels, minlength=len(CLASSES))[:, None]
    # A score of positions alone has one channel, and in its mean nothing to tell classes apart by.
    places = [name for name in sums if sums[name].shape[1] > 1] or list(sums)
    classes = [
        {"module": name, "channel": channel, "class": label, "score": score}
        for name in evenly(places, PLACES)
        for label, row in enumerate((sums[name] / counts).tolist())
        for channel, score in enumerate(row)
    ]
    importance = []
    if at_input:
        importance += _rows(at_input, means, *_lost_at_input(predictor, order[:INPUT_IMAGES]))
    if at_features:
        importance += _rows(at_features, means, *_lost_at_features(predictor, order, features))
    return Inspection(classes, importance, _maps(predictor, order[:PICTURES]))


@torch.no_grad()
def files_of(network, size: int) -> set[str]:
    """Returns the names of the files that a look into a network leaves; none without scores.

    size: the size of the network's input.
    """
    network, device = network.eval(), next(network.parameters()).device
    with record(network) as scores:
        network(torch.zeros(1, network.seams.widths["input"], size, size, device=device))
    channels = {n: by_channel(score)[0] for n, score in scores.items() if not is_logits(n)}
    if not channels:
        return set()
    ends = [_gate_of(network, channels, seam) for seam in ("input", "features")]
    found = {
        "classes.csv": True,
        "importance.csv": any(ends),
        "maps.npz": bool(_over_positions(scores)),
        "swap.csv": _scores_noise(network, channels),
        "frozen.csv": bool(gates(network)),
    }
    return {name for name, there in found.items() if there}


@torch.no_grad()
def swap(predictor: Predictor) -> list[dict]:
    """Exchanges the contents of a colour and a noise channel of the input: does the score follow?

    Returns rows colour, noise (the two channels), slot, usual, swapped: the mean score of each
    channel without and with the exchange. Returns no rows for networks that do not score noise
    channels.
    """
    network = predictor.network.eval()
    channels = network.seams.widths["input"]
    order = fixed_test_order(len(predictor.inputs.labels))[:SWAP_IMAGES]
    pairs = [(c, n) for c in range(COLOURS) for n in range(COLOURS, channels)]
    means = dict.fromkeys((None, *pairs), 0)
    for samples in order.to(predictor.device).split(predictor.batch):
        x, _ = predictor.inputs(samples)
        for pair in means:
            scores = _input_scores(predictor, _exchanged(x, pair))
            if not _scores_noise(network, scores):
                return []
            means[pair] += scores[_gate_of(network, scores, "input")] / len(order)
    usual = means.pop(None).tolist()
    return [
        {"colour": pair[0], "noise": pair[1], "slot": slot, "usual": usual[slot], "swapped": score}
        for pair, swapped in means.items()
        for slot, score in enumerate(swapped.tolist())
    ]


def _exchanged(x, pair: tuple | None):
    if pair is None:
        return x
    mixed = x.clone()
    mixed[:, list(pair)] = x[:, list(pair)[::-1]]
    return mixed


def _input_scores(predictor: Predictor, x) -> dict:
    """Returns {module: its scores summed over the images (C,)} of attention at the input."""
    with record(predictor.network) as scores, autocast(x.device, predictor.precision):
        predictor.network.seams.input(x)
    return {n: by_channel(s.double()).sum(0) for n, s in scores.items() if not is_logits(n)}


def _scores_noise(network, scores: dict) -> bool:
    """Returns whether each input channel has a score, and some input channels are noise."""
    return network.seams.widths["input"] > COLOURS and bool(_gate_of(network, scores, "input"))


def evenly(things: list, count: int) -> list:
    """Returns at most `count` of the things, spread evenly from the first to the last."""
    if len(things) <= count:
        return things
    return [things[round(i * (len(things) - 1) / (count - 1))] for i in range(count)]


def _gate_of(network, means: dict, seam: str) -> str | None:
    """Returns the name of the score of each channel at one of the network's ends, or None."""
    for name in of_channels(seam):
        if name in means and len(means[name]) == network.seams.widths[seam]:
            return name
    return None


def _pass(predictor: Predictor, order):
    """Returns {module: its scores summed class by class (classes, C)} and the final feature map.

    The feature map (N, C, h, w) is taken before the attention that stands there; None without any.
    """
    labels, kept, sums = predictor.inputs.labels, [], {}
    features = predictor.network.seams.features
    alone = isinstance(features, torch.nn.Identity)  # its maps would take gigabytes for nothing
    handle = features.register_forward_pre_hook(
        lambda module, args: None if alone else kept.append(args[0])
    )
    try:
        for samples in order.split(predictor.batch):
            predictor(samples)
            one_hot = torch.nn.functional.one_hot(labels[samples], len(CLASSES)).double()
            for name, score in predictor.scores.items():
                if not is_logits(name):
                    total = one_hot.T @ by_channel(score.double())
                    sums[name] = sums.get(name, 0) + total
    finally:
        handle.remove()
    return sums, torch.cat(kept) if kept else None


def _rows(module: str, means: dict, images: int, lost: dict, sd) -> list[dict]:
    return [
        {
            "module": module,
            "channel": channel,
            "score": float(means[module][channel]),
            "sd": float(sd[channel]),
            "lost": points,
            "images": images,
        }
        for channel, points in lost.items()
    ]


def _partners(samples, repeat: int):
    """Returns every image's partner, whose channel the image gets.

    The partners are the same for every network and channel.
    """
    order = permutation(FIXED_SEED, 1 + repeat, torch.arange(len(samples)), ORDER)
    return samples[order.to(samples.device)]


def _lost_at_input(predictor: Predictor, samples):
    """Returns (number of images, {channel: points of accuracy lost}, sd (C,)) for the input.

    Accuracy is lost as a channel is permuted among the images.
    """
    inputs, channels = predictor.inputs, predictor.network.seams.widths["input"]
    right, kept, means, squares = 0, torch.zeros(channels), [], []
    partners = [_partners(samples, repeat) for repeat in range(INPUT_REPEATS)]
    for start in range(0, len(samples), predictor.batch):
        batch = slice(start, start + predictor.batch)
        x, labels = inputs(samples[batch])
        means.append(x.double().mean((2, 3)))
        squares.append(x.double().square().mean((2, 3)))
        right += _right(predictor, predictor.network, x, labels)
        for partner in partners:
            others, _ = inputs(partner[batch])
            for channel in range(channels):
                mixed = x.clone()
                mixed[:, channel] = others[:, channel]
                kept[channel] += _right(predictor, predictor.network, mixed, labels)
    mean, square = (torch.cat(moments).mean(0) for moments in (means, squares))
    lost = 100 * (right - kept / INPUT_REPEATS) / len(samples)
    return len(samples), dict(enumerate(lost.tolist())), (square - mean.square()).sqrt()


def _lost_at_features(predictor: Predictor, order, features):
    """Returns what `_lost_at_input` returns, for channels of the final feature map.

    The channels are permuted before the attention that stands there.
    """
    network, labels = predictor.network, predictor.inputs.labels[order]

    def end(features):
        return network.classify(network.seams.features(features))

    def right_of_all() -> int:  # in batches: attention may take several times its input's memory
        batches = (part.split(predictor.batch) for part in (features, labels))
        return sum(_right(predictor, end, *batch) for batch in zip(*batches, strict=True))

    right, lost = right_of_all(), {}
    partner = _partners(torch.arange(len(order), device=features.device), 0)
    for channel in evenly(list(range(features.shape[1])), CHANNELS):
        own = features[:, channel].clone()
        features[:, channel] = own[partner]
        lost[channel] = 100 * (right - right_of_all()) / len(order)
        features[:, channel] = own
    return len(order), lost, features.float().std((0, 2, 3))


def _right(predictor: Predictor, forward, x, labels) -> int:
    with autocast(x.device, predictor.precision):
        return int((forward(x).argmax(1) == labels).sum())


def _maps(predictor: Predictor, samples) -> dict:
    """Returns a few images and, at a few places, their gates over positions."""
    predictor(samples)
    gates = _over_positions(predictor.scores)
    if not gates:
        return {}
    chosen = {
        name: gates[name].mean(1).half().cpu().numpy() for name in evenly(list(gates), PLACES)
    }
    return {"images": predictor.inputs.images[samples].cpu().numpy(), **chosen}


def _over_positions(scores: dict) -> dict:
    """Returns the scores that differ from position to position."""
    return {
        name: score
        for name, score in scores.items()
        if score.ndim == 4 and min(score.shape[2:]) > 1 and not is_logits(name)
    }
