"""Judges whether a run folder's files are whole: for train.py, status.py and eval.py alike."""

import csv
import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from attn.config.catalogue import parsed
from attn.config.schema import NUMERICS, Config
from attn.errors import RunError
from attn.names import CLASSES, COLOURS, SOURCES
from attn.runs import checkpoint
from attn.runs.files import UNREADABLE, read_arrays

DELETE = "delete the folder, and train.py makes it again"
AGAIN = "the same train.py command writes it again"
# What a summary must have, and as what.
TYPES = {
    **dict.fromkeys(("run", "backbone", "attention", "location", "stages", "data", "recipe"), str),
    **dict.fromkeys(("fingerprint", "configuration", "recipe_key", "device", "precision"), str),
    **dict.fromkeys(("seed", "parameters", "multiply_adds", "numerics"), int),
    **dict.fromkeys(("test_accuracy", "train_seconds"), (int, float)),
}
METRICS = ("epoch", "train_loss", "test_accuracy")
SCORES = ("module", "channel", "epoch", "images", "mean")  # alone: of a mechanism that records none


class Damaged(RunError):
    """A run folder has a file that cannot be used; the message says what to do about it.

    reason: the message without the remedy.
    """

    def __init__(self, reason: str, remedy: str = ""):
        super().__init__("; ".join(filter(None, (reason, remedy))))
        self.reason = reason


@contextmanager
def reading(file: str, remedy: str = DELETE):
    """Raises Damaged, with the remedy, where the block cannot read the file."""
    try:
        yield
    except (*UNREADABLE, yaml.YAMLError) as error:
        raise Damaged(f"its {file} is damaged ({why(error)})", remedy) from None


def why(error: Exception) -> str:
    """Returns what an error says, in one line; an OSError's text without the path."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def config_of(folder: Path) -> tuple[Config, dict]:
    """Reads a run's config.yaml; returns its configuration, and all values of the file."""
    values = parsed((folder / "config.yaml").read_text())
    return Config.from_dict(values), values


def check_finished(folder: Path) -> dict:
    """Returns the summary of a finished run. Raises Damaged where a file of the run is not whole.

    Runs of earlier versions of this code may lack files that those versions did not write.
    """
    with reading("summary.json", AGAIN):
        summary = _summary(folder)
    if summary["run"] != folder.name:
        twin = folder.parent / summary["run"]
        if twin.exists():
            raise Damaged(f"it is {_likeness(summary, twin)} {twin.name}")
        raise Damaged(f"its name was {summary['run']}: rename it back")
    recent, epochs = summary["numerics"] == NUMERICS, None
    if recent:
        with reading("config.yaml", AGAIN):
            config, _ = config_of(folder)
            if config.key != summary["configuration"]:
                raise ValueError("it is of another configuration")
            epochs = config.recipe.epochs
    scored = summary["attention"] != "none"
    metrics = check_rows(folder, epochs, scored)
    with reading("metrics.csv"):
        last = metrics[-1]
        if abs(float(last["test_accuracy"]) - summary["test_accuracy"]) > 1e-9:
            raise ValueError("its end is not the summary's")
    check_stem(folder, recent)
    check_predictions(folder, recent)
    return summary


def check_unfinished(folder: Path, scored: bool, epochs: int | None = None):
    """Raises Damaged where a run that goes on from its checkpoint lacks rows of earlier epochs.

    Rows after the checkpoint, and a last line that is half written, are no damage: the run writes
    them again. scored: whether the run has attention, and so scores. epochs: the number of epochs
    in the checkpoint; where it is None, the list of checksums says it, but for runs of earlier
    versions of this code.
    """
    if epochs is None:
        if not any((folder / name).exists() for name in checkpoint.COPIES):
            return  # it begins anew
        with reading(checkpoint.CHECKSUMS):
            epochs = checkpoint.epochs(folder)
    with reading("metrics.csv"):
        there = [int(row["epoch"]) for row in _rows(folder / "metrics.csv", METRICS, growing=True)]
        if there != list(range(len(there))) or len(there) < (epochs or 1):
            raise ValueError(f"it has {len(there)} of {epochs or 'the'} epochs")
    if scored:
        with reading("scores.csv"):
            _check_scores(folder / "scores.csv", epochs, growing=True)


def _likeness(summary: dict, twin: Path) -> str:
    """Returns whether a run is a copy of another folder's run, or has other results.

    Folders of several machines may have trained one run each.
    """
    try:
        other = _summary(twin)
    except UNREADABLE:
        return "a copy of"
    if results(other) == results(summary):
        return "a copy of"
    return (
        f"the same run with another result ({told(summary)}; there {told(other)}): keep one of "
        "them, under the name"
    )


def results(summary: dict) -> tuple:
    """Returns what two folders of one run must agree in."""
    return summary["test_accuracy"], summary.get("environment")


def told(summary: dict) -> str:
    """Returns a run's result and where it was computed, in words."""
    environment = summary.get("environment")
    where = environment if isinstance(environment, str) else "environment not recorded"
    return f"{100 * summary['test_accuracy']:.2f}%, {where}"


def _summary(folder: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text())
    for key, kind in TYPES.items():
        if not isinstance(summary[key], kind):
            raise ValueError(f"{key} is {summary[key]!r}")
    if summary["source"] not in SOURCES:
        raise ValueError(f"source is {summary['source']!r}")
    return summary


def check_rows(folder: Path, epochs: int | None, scored: bool) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv. Raises Damaged where it or scores.csv lacks rows.

    epochs: the number of epochs that the run has done, each of which has its rows; None where that
    is not known. scored: whether the run has attention, and so scores.
    """
    with reading("metrics.csv"):
        metrics = _rows(folder / "metrics.csv", METRICS)
        there = [int(row["epoch"]) for row in metrics]
        if epochs is not None and there != list(range(epochs)):
            raise ValueError(f"it has {len(there)} of {epochs} epochs")
    with reading("scores.csv"):
        if scored:
            _check_scores(folder / "scores.csv", epochs)
    return metrics


def _check_scores(path: Path, epochs: int | None, growing: bool = False):
    """Raises ValueError where rows are missing; growing: only of the epochs that are asked for."""
    rows = _rows(path, SCORES, growing)
    if not rows and path.read_text().strip().split(",") == [*SCORES]:
        return
    if growing:
        rows = [row for row in rows if int(row["epoch"]) < (epochs or 0)]
    counts = Counter((int(row["epoch"]), row["images"]) for row in rows)
    if len(set(counts.values())) > 1:
        (epoch, _), fewest = min(counts.items(), key=lambda item: item[1])
        raise ValueError(f"{fewest} of {max(counts.values())} rows in epoch {epoch}")
    there = {epoch for epoch, _ in counts if epoch >= 0}
    if epochs is not None and there != set(range(epochs)):
        raise ValueError(f"it has {len(there)} of {epochs} epochs")


def check_stem(folder: Path, needed: bool):
    """Raises Damaged where the norms of the first filters are missing, or are no numbers above 0.

    needed: whether the file must be there, which runs of earlier versions lack.
    """
    path = folder / "stem.csv"
    with reading(path.name, "delete it and summary.json, and train.py writes both again"):
        if not needed and not path.exists():
            return
        rows = _rows(path, ("channel", "norm"))
        if [int(row["channel"]) for row in rows] != list(range(max(COLOURS, len(rows)))):
            raise ValueError("a channel is missing")
        if not all(0 < float(row["norm"]) < np.inf for row in rows):
            raise ValueError("a norm is no number above 0")


def check_predictions(folder: Path, needed: bool):
    """Raises Damaged where the logits of the test images are missing or cannot be read."""
    path = folder / "predictions.npz"
    with reading(path.name, AGAIN):
        if not needed and not path.exists():
            return
        arrays = read_arrays(path)
        if needed and arrays["logits"].shape[1:] != (len(CLASSES),):
            raise ValueError("its logits are of another shape")


def _rows(path: Path, columns, growing: bool = False) -> list[dict[str, str]]:
    """Returns a CSV file's rows; growing: but for a last line that is half written.

    Raises ValueError where a column is missing, or where a row has not as many values as the head.
    """
    if not path.exists():
        raise ValueError("there is none")
    lines = path.read_text().splitlines(keepends=True)
    reader = csv.DictReader(line for line in lines if line.endswith("\n") or not growing)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    if lacking := set(columns) - set(reader.fieldnames):
        raise ValueError(f"it has no column {', '.join(sorted(lacking))}")
    rows = list(reader)
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row has more or fewer values than the head has names")
    return rows
