"""Reads the CSV files of runs and of published data, and refuses contents that cannot be theirs."""

from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from attn.evidence.variants import NAMES
from attn.names import SOURCES
from attn.runs.whole import TYPES

KEY = ["recipe", "recipe_key", "source", "fingerprint", "numerics"]  # never mixed in a table
CONFIGURATION = [*NAMES, "configuration", "variant"]
# What a CSV would read as numbers: a hash such as 12345678, stages such as 1.
TEXTS = dict.fromkeys((*KEY[:-1], *CONFIGURATION, "settings", "commit", "reason"), str)
NUMBERS = {
    *("seed", "numerics", "parameters", "multiply_adds", "train_seconds", "train_images"),
    *("epoch", "train_loss", "test_accuracy", "test_images", "images", "mean", "sd", "saturated"),
    *("score", "lost", "accuracy", "frozen", "low", "high", "between", "usual", "swapped", "norm"),
    *("first", "last", "moved", "spread", "loss_first", "loss_last"),
}


def read_csv(path: Path) -> pd.DataFrame:
    """Reads a frame.

    Raises ValueError where a line has no values, as the marks of a conflict, or stands twice, and
    where a text stands in place of a number.
    """
    frame = pd.read_csv(path, dtype=TEXTS)
    alone = frame[frame.iloc[:, 1:].isna().all(axis=1)]
    if len(alone):
        raise ValueError(f"a line has nothing but {alone.iloc[0, 0]!r}")
    if frame.duplicated().any():
        raise ValueError(f"line {2 + frame.duplicated().to_numpy().argmax()} stands twice")
    for column in frame.columns.intersection(NUMBERS):
        if len(frame) and not is_numeric_dtype(frame[column]):
            wrong = frame[column][pd.to_numeric(frame[column], errors="coerce").isna()]
            raise ValueError(f"its column {column} has {wrong.iloc[0]!r}, which is no number")
    return frame


def check_runs(runs: pd.DataFrame):
    """Checks published runs. Raises ValueError where a value that every run has is missing."""
    if runs.empty:
        raise ValueError("it has no runs")
    needed = {*TYPES, *KEY}
    if missing := needed - {*runs.columns}:
        raise ValueError(f"it has no column {min(missing)}")
    empty = runs[[*needed]].isna().any()
    if empty.any():
        raise ValueError(f"its column {empty.idxmax()} has an empty cell")
    if not is_integer_dtype(runs["seed"]):
        raise ValueError("its column seed has a number that is not whole")
    if unknown := {*runs["source"]} - {*SOURCES}:
        raise ValueError(f"its column source has {min(unknown)!r}: choose of {', '.join(SOURCES)}")
