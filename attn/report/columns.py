"""The columns of a table in words, and the entry that makes a table.

A column is a function of a table's frame. It returns {label: texts}, or {} where the frame does not
have the column.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from attn.evidence.group import Group
from attn.formats import BEST, counted, interval, number

Column = Callable[[pd.DataFrame], dict[str, list]]
# The columns of a frame that say of what a row is.
WORDS = ("environment", "backbone", "model", "data", "location", "stages", "attention", "variant")


def as_it_is(label: str, name: str = "") -> Column:
    return lambda frame: {label: frame[name or label].tolist()}


def numbers(label: str, name: str, digits: int = 2, sign: bool = False) -> Column:
    return lambda frame: {label: [number(value, digits, sign) for value in frame[name]]}


def intervals(label: str, name: str, digits: int = 2, sign: bool = False) -> Column:
    """Returns a column of intervals.

    The ends are in the frame's columns `<name>_low` and `<name>_high`. Where `name` is empty, they
    are in `low` and `high`.
    """
    ends = [f"{name}_{end}".lstrip("_") for end in ("low", "high")]
    return lambda frame: {
        label: [interval(low, high, digits, sign) for low, high in frame[ends].to_numpy()]
    }


def to_baseline(row) -> str:
    """Returns a difference by seed as text.

    The text also counts the pairs where a seed of the row or of the baseline has no partner.
    """
    text = number(row.difference, sign=True)
    unpaired = row.pairs and row.pairs < max(row.n, row.baseline_n)
    return f"{text} ({counted(row.pairs, 'pair')})" if unpaired else text


def undefined(label: str, name: str) -> Column:
    """Returns a column that counts the runs in which a number is not defined, if there are any."""

    def column(frame):
        runs = frame["n"] - frame[f"{name}_n"]
        return {label: runs.tolist()} if runs.any() else {}

    return column


def where(name: str, column: Column) -> Column:
    """Returns a column that is there only where the frame has the column `name`."""
    return lambda frame: column(frame) if name in frame else {}


@dataclass(frozen=True)
class Entry:
    """A table and how it is made.

    `rows` makes the frame of numbers that a group has for the table, with a column `runs`.
    `caption` says what the numbers are. `words` shapes the table where the columns alone do not.
    `origin` says which commands train the rows, where the usual words do not.
    """

    id: str
    title: str
    rows: Callable[[Group], pd.DataFrame]
    columns: list[Column]
    caption: str
    words: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    origin: Callable[[Group, pd.DataFrame], str] | None = None

    def in_words(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Returns the table as people read it; a column `best` still marks the best rows."""
        if self.words:
            return self.words(frame)
        shown = frame[[name for name in WORDS if name in frame]]
        for column in self.columns:
            shown = shown.assign(**column(frame))
        return shown.assign(**{BEST: frame[BEST]}) if BEST in frame else shown
