"""Checks published runs by their own files, and by the same runs trained anew.

A run has its accuracy in three places: its row, its last epoch, and its class for each test image.
It has its configuration in two: in words, and as a hash that its name ends with. What does not
agree was changed, or is of another run. What agrees may still be made up: that is found only by
training the run again.
"""

import math

import numpy as np
import pandas as pd

from attn import stats
from attn.evidence.group import CONFIGURATION, Group
from attn.names import labels_in_order

SAME, NEAR, OTHER, UNKNOWN = "the same bits", "in the interval", "NOT THE SAME", "not comparable"
CLOSE = 1e-9  # accuracies, which CSV files hold to the last digit
TIES = 1e-3  # of all images: logits are kept in half precision, in which two classes may tie


def inconsistent(group: Group) -> dict[str, list[str]]:
    """Returns, by run, what of its published files does not agree; only runs with something."""
    found = {run.run: _of_one(group, run) for run in group.runs.itertuples()}
    for run, others in _alike(group.predictions).items():
        found[run].append(f"its predictions are those of {', '.join(others)}")
    for _, alike in group.runs.groupby("configuration"):
        for column in ("parameters", "multiply_adds", *CONFIGURATION[:-1]):
            usual = alike[column].mode().iloc[0]
            for run in alike[alike[column] != usual].itertuples():
                found[run.run].append(f"its {column} is not that of the other seeds, {usual}")
    return {run: notes for run, notes in found.items() if notes}


def _of_one(group: Group, run) -> list[str]:
    notes = []
    if not run.run.endswith(f"-s{run.seed}-{run.configuration}"):
        notes.append(f"its name does not end with seed {run.seed} and {run.configuration}")
    epochs = _epochs(group, run.run)
    if epochs["epoch"].tolist() != list(range(len(epochs))) or epochs.empty:
        notes.append("epochs are missing")
    elif abs(epochs["test_accuracy"].iloc[-1] - run.test_accuracy) > CLOSE:
        notes.append(f"its last epoch has {epochs['test_accuracy'].iloc[-1]:.2%}")
    taken = group.predictions.get(run.run)
    by_class = group.source == "synthetic" or not group.other_size  # as many images of each
    if taken is not None and by_class and abs(_accuracy(taken) - run.test_accuracy) > TIES:
        notes.append(f"its predictions have {_accuracy(taken):.2%}")
    return notes


def _accuracy(taken: np.ndarray) -> float:
    """Returns the accuracy of the classes (N,) that test images in their own order are given."""
    return float((taken == labels_in_order(len(taken))).mean())


def _alike(predictions: dict[str, np.ndarray]) -> dict[str, list[str]]:
    by_bytes = {}
    for run, taken in predictions.items():
        by_bytes.setdefault(taken.tobytes(), []).append(run)
    shared = [runs for runs in by_bytes.values() if len(runs) > 1]
    return {run: [other for other in runs if other != run] for runs in shared for run in runs}


def compared(group: Group, run: str, again: Group, count: int = 1) -> tuple[str, str]:
    """Compares a published run with the same run trained anew; returns (verdict, reason).

    count: how many runs are compared; the chance that any of them is wrongly found different is 5%
    for all together. In one environment every epoch's loss, the accuracy and each test image's
    class are the same. In another environment the two accuracies are two draws: their difference
    lies in the interval for the difference of two runs, by the sd that the other runs' seeds have
    in the group.
    """
    row = group.runs.set_index("run").loc[run]
    found = again.runs.set_index("run")
    if run not in found.index:
        made = ", ".join(found.index)
        return OTHER, f"its words train {made}, which is another run"
    anew = found.loc[run]
    if anew["environment"] == row["environment"]:
        differing = _differing(group, run, again)
        kept = run in group.predictions and run in again.predictions
        what = "" if kept else "of losses and accuracy; no predictions were kept"
        return (OTHER, f"other {' and '.join(differing)}") if differing else (SAME, what)
    difference = 100 * (anew["test_accuracy"] - row["test_accuracy"])
    others = group.runs[group.runs["run"] != run]  # the run itself would widen its own interval
    percent = [100 * runs["test_accuracy"] for _, runs in others.groupby("configuration")]
    sd, freedom = stats.pooled_sd(percent)
    if not freedom:
        return UNKNOWN, f"{difference:+.2f} points, computed in {anew['environment']}; one seed"
    half = stats.half_width(sd, 1, freedom, 1 - stats.ALPHA / count) * math.sqrt(2)
    text = f"{difference:+.2f} points of {half:.2f} that two runs may differ by; computed in "
    return NEAR if abs(difference) <= half else OTHER, text + anew["environment"]


def _differing(group: Group, run: str, again: Group) -> list[str]:
    differing = []
    for name in ("train_loss", "test_accuracy"):
        both = [_by_epoch(one, run, name) for one in (group, again)]
        differing += [] if both[0].equals(both[1]) else [name.replace("_", " ")]
    both = [one.predictions.get(run) for one in (group, again)]
    if both[0] is not None and both[1] is not None and not np.array_equal(*both):
        differing.append("predictions")
    both = [one.runs.set_index("run").loc[run, "test_accuracy"] for one in (group, again)]
    return differing if both[0] == both[1] else [*differing, "accuracy"]


def _by_epoch(group: Group, run: str, name: str) -> pd.Series:
    return _epochs(group, run).set_index("epoch")[name]


def _epochs(group: Group, run: str) -> pd.DataFrame:
    if group.epochs.empty:
        return pd.DataFrame(columns=["epoch", "train_loss", "test_accuracy"])
    return group.epochs[group.epochs["run"] == run].sort_values("epoch")
