"""The tables: an entry holds a table's title, rows, columns in words, and the text below it."""

import pandas as pd

from attn import stats
from attn.evidence import accuracies, blocks, content, frozen, placement, scores
from attn.evidence.claims import Table
from attn.evidence.group import Group
from attn.formats import number
from attn.report.columns import (
    Entry,
    as_it_is,
    intervals,
    numbers,
    to_baseline,
    undefined,
    where,
)


def of_claims(table: Table) -> Entry:
    """Returns the entry of a table in configs/claims.yaml."""
    return Entry(
        table.id,
        table.title,
        rows=lambda group: accuracies.accuracy(group, table),
        columns=ACCURACY,
        caption=ACCURACIES.format(baseline=f"`{table.baseline}`"),
        origin=lambda group, frame: _commands(group, table, list(frame["backbone"].unique())),
    )


def _commands(group: Group, table: Table, backbones: list[str]) -> str:
    """Returns the commands that train a table's rows, and where published numbers count."""
    lines = []
    for backbone in backbones:
        if not table.elsewhere(group, backbone):
            lines.append(
                "One run of ours: the 95% prediction interval for one more run, against which a "
                "published run is held."
            )
        command = table.command_on(group, backbone)
        lines.append(f"`{command}` trains the rows of {backbone}.")
    if any(table.elsewhere(group, backbone) for backbone in backbones):
        lines.append(
            f"Numbers of recipe `{table.recipe}` with {table.backbone} on CIFAR-10 alone can be "
            f"held against published ones; `{table.command()}` trains them."
        )
    return " ".join(lines)


def _training(frame: pd.DataFrame) -> list[str]:
    seconds = frame["train_seconds"].map(lambda s: number(s, 0))
    pairs = zip(seconds, frame["device"], strict=True)
    return [f"{text} ({device})" if text else "" for text, device in pairs]


ACCURACY = [
    as_it_is("n"),
    numbers("accuracy, %", "mean"),
    numbers("sd", "sd"),
    intervals("95% interval", ""),
    numbers("of the best epoch, %", "best_epoch"),
    where("published", numbers("published", "published")),
    where("published", intervals("one run of ours", "one_run")),
    lambda frame: {"to baseline": [to_baseline(row) for row in frame.itertuples()]},
    intervals("its 95% interval", "difference", sign=True),
    numbers("parameters", "parameters", 0),
    lambda frame: {"multiply-adds, M": [number(v) for v in frame["multiply_adds"] / 1e6]},
    lambda frame: {"training, s": _training(frame)},
    lambda frame: {"missing": [*frame["missing"]]} if any(frame.get("missing", ())) else {},
]
ACCURACIES = (
    "Top-1 test accuracy in percent after the last epoch; sd and Student's t-intervals over seeds. "
    "To baseline: differences to {baseline}, over the seeds that both have in one environment, "
    "whose number stands beside it where either row has more; means of rows with other seeds do "
    "not compare. Multiply-adds: of one image. Of the best epoch: the mean of each run's "
    "highest test accuracy, chosen on the test set, in which epochs that tested fewer images "
    "count too. Bold, where all rows that "
    f"were run share at least {stats.SMOKE} seeds, each in one environment: the best, and what is "
    "not told apart from it. "
    "Training: mean seconds of a run; of runs that train together on a GPU, their shares."
)


def by_place(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the table as people read it: a row for each mechanism, a column for each place."""
    rows = []
    for _, alike in frame.groupby(["backbone", "data"]):
        for key, mine in alike.groupby([*placement.MECHANISM, "n"]):
            rows.append((key, mine.set_index("location")["difference"]))
        if len(median := placement.medians(alike)):
            rows.append(((*key[:2], "", median.name, ""), median))
    names = pd.DataFrame([key for key, _ in rows], columns=[*placement.MECHANISM, "n"])
    cells = pd.DataFrame([cells.to_dict() for _, cells in rows])
    places = [place for place in placement.PLACES if place in cells]
    return names.join(cells[places].map(lambda value: number(value, sign=True)))


IMPORTANCE = {"score": "score", "score_x_sd": "score x sd", "sd": "sd"}
ENTRIES = [
    Entry(
        "configurations",
        "Every configuration",
        accuracies.configurations,
        columns=ACCURACY,
        caption=ACCURACIES.format(baseline="the configuration without attention on the same data")
        + " A row of one seed is held against that seed of it alone, which may be far from its "
        "mean.",
    ),
    Entry(
        "environments",
        "Where it was computed",
        accuracies.environments,
        columns=[
            as_it_is("runs", "count"),
            as_it_is("n without attention", "n"),
            numbers("accuracy, %", "mean"),
            intervals("95% interval", ""),
        ],
        caption=(
            "The level of the network without attention in each environment: torch, processor, "
            "vectors of its instruction set, precision and mode (fused: with this project's "
            "kernels for a CPU). One seed gives other last bits in another environment, and so "
            "another run: a difference is taken between runs of one environment only, seed by "
            "seed. Runs: all that were computed there; the accuracy is of the n without attention."
        ),
    ),
    Entry(
        "placement",
        "What attention gains, by its place",
        placement.table,
        columns=[],
        caption=(
            "Points of top-1 test accuracy above the same network without attention on the same "
            "data, of mechanisms that stand at several places: mean over the n seeds that its "
            "places and the network without attention share, so places of a row compare, rows of "
            "different n do not. The median is over mechanisms, variants and controls left out, "
            "that stand at every place. All seeds, intervals and costs are in the table of every "
            "configuration."
        ),
        words=by_place,
    ),
    Entry(
        "blocks",
        "What attention gains in one block",
        blocks.table,
        columns=[
            as_it_is("block"),
            *(
                column
                for name, label in blocks.QUANTITIES.items()
                for column in (
                    as_it_is(f"n, {label}", f"{name}_n"),
                    numbers(label, name, sign=True),
                    intervals(f"95% interval, {label}", name, sign=True),
                )
            ),
        ],
        caption=(
            "Points of top-1 test accuracy, by seed; t-intervals over seeds. Alone: with attention "
            "in this block only, above none. Lost without: all blocks above all but this one. "
            "Shapley value: the block's share of the gain of all blocks, its mean gain over orders "
            "in which blocks get attention, by weighted regression on the sets that were trained "
            "(arXiv:1705.07874), over the seeds that all sets share."
        ),
    ),
    Entry(
        "separation",
        "Colours from noise by their scores",
        scores.separation,
        columns=[
            as_it_is("n"),
            numbers("AUC", "noise_auc", 3),
            intervals("95% interval", "noise_auc", 3),
            numbers("precision at 3", "precision"),
            intervals("interval of the precision", "precision"),
            numbers("lowest colour minus highest noise", "score_gap", 3, sign=True),
            intervals("its 95% interval", "score_gap", 3, sign=True),
            numbers("mean score, colours", "colours", 3),
            numbers("mean score, noise", "noise", 3),
        ],
        caption=(
            "AUC: the share of pairs of a colour and a noise channel whose mean scores over the "
            "whole test set are in the right order, a number a run (1 perfect, 0.5 none); its mean "
            "and t-interval over seeds. Precision at 3: the share of colours among the three "
            "channels of the highest scores. The last columns: means of runs' scores, over the "
            "whole test set. All equal: every run has this value, and an interval would be of no "
            "width."
        ),
    ),
    Entry(
        "inputs",
        "Scores of the input channels",
        scores.input_channels,
        columns=[
            as_it_is("channel"),
            as_it_is("n"),
            numbers("score", "score", 3),
            numbers("sd", "sd", 3),
            intervals("95% interval", "", 3),
        ],
        caption=(
            "Mean score over the whole test set after the last epoch; sd and t-interval over seeds."
        ),
    ),
    Entry(
        "content",
        "Does the score follow the content or the place?",
        content.table,
        columns=[
            as_it_is("n"),
            *(numbers(f"score, {n}", f"score_{part}", 3) for part, n in content.PARTS.items()),
            numbers(content.FOLLOWS, "follows_content"),
            intervals("95% interval", ""),
            undefined("undefined", "follows_content"),
        ],
        caption=(
            "A colour and a noise channel exchange their contents, in each of the first 1,000 "
            "images of the fixed test order, and the network scores its input channels again. Mean "
            "scores over pairs of a colour and a noise channel, then over runs. Follows content: "
            "how far the two scores move towards each other's usual ones, as a share of the way: 1 "
            "if a score goes with what a channel holds, 0 if it stays with the channel's place; of "
            "a run's means over pairs, t-interval over runs. Undefined: runs in which the colours' "
            "mean usual score is not above the noise channels' by 0.01. It takes trained networks, "
            "as `python eval.py checkpoint=all` looks into them."
        ),
    ),
    Entry(
        "meaning",
        "Does the score mean anything?",
        scores.importance,
        columns=[
            as_it_is("n"),
            as_it_is("channels"),
            *(
                column
                for name, label in IMPORTANCE.items()
                for column in (
                    numbers(f"rank correlation, {label}", name, sign=True),
                    intervals(f"95% interval, {label}", name, sign=True),
                    undefined(f"undefined, {label}", name),
                )
            ),
        ],
        caption=(
            "Spearman's correlation of a channel's score with the accuracy lost when the channel "
            "is permuted among test images (2,000 at `first`, else all); also of score x the "
            "channel's sd, and of the sd alone, since a gate depends on its input's scale. Over "
            "several runs the mean and t-interval of theirs, of one run its own interval. n: runs. "
            "Channels: as many were permuted, evenly spaced among all. At `first` the channels are "
            "standardised: their sds are nearly equal, and a gate that ranks every colour above "
            "every noise channel has about 0.77 already, in whatever order the colours are."
        ),
    ),
    Entry(
        "frozen_gates",
        "What is lost with frozen gates",
        frozen.table,
        columns=[
            as_it_is("n"),
            as_it_is("gates"),
            numbers("accuracy, %", "accuracy"),
            numbers("frozen, %", "frozen"),
            numbers("points lost", "lost", sign=True),
            intervals("95% interval", "", sign=True),
            numbers("variance between images, %", "between", 1),
            as_it_is("most is lost at", "worst"),
            numbers("points lost there", "worst_lost", sign=True),
        ],
        caption=(
            "Every gate is replaced by its own mean over 5,000 training images: channel by "
            "channel, and position by position where the gate has positions. Accuracy on the whole "
            "test set; t-interval over runs, of a single run over its test images. Variance "
            "between images: the share of a gate's variance over images, channels and positions "
            "that is between images, mean over gates. The last columns: the gate that is missed "
            "most where each is frozen alone, on 2,000 test images. Gates that are constants "
            "(`static`, `constant`) are the control: they lose nothing. `python eval.py "
            "checkpoint=all` freezes trained networks."
        ),
    ),
    Entry(
        "gates",
        "Gate health",
        scores.gates,
        columns=[
            as_it_is("part"),
            as_it_is("n"),
            numbers("untrained", "first", 3),
            numbers("trained", "last", 3),
            *(numbers(name, name, 3) for name in ("moved", "spread", "saturated")),
            numbers("loss, first epoch", "loss_first"),
            numbers("loss, last epoch", "loss_last"),
        ],
        caption=(
            "Part: what the scores are of. Untrained, trained: the mean score, before training "
            "(250 test images, batch statistics) and after the last epoch (all test images); "
            "moved: how far a channel's mean score moved, either way; spread: its sd over images; "
            "saturated: the share of scores below 0.05 or above 0.95. Loss: the mean training loss "
            "of an epoch. Means over channels, places and seeds."
        ),
    ),
]
