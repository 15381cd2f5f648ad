"""The columns of a table in words, and the entry that makes a table."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from attn.evidence.group import Group
from attn.report.formats import BEST, interval, number


@dataclass(frozen=True)
class Column:
    """A column in words.

    `cells` makes the column's texts from the frame. `there` says whether the frame has the column.
    """

    label: str
    cells: Callable[[pd.DataFrame], list]
    there: Callable[[pd.DataFrame], bool] = lambda frame: True


def numbers(label: str, name: str, digits: int = 2, sign: bool = False) -> Column:
    return Column(label, lambda frame: [number(v, digits, sign) for v in frame[name]])


def intervals(label: str, name: str, digits: int = 2, sign: bool = False) -> Column:
    """Returns a column of intervals.

    The ends are in the frame's columns `<name>_low` and `<name>_high`. Where `name` is empty, they
    are in `low` and `high`.
    """
    low, high = (f"{name}_{end}".lstrip("_") for end in ("low", "high"))

    def cells(frame):
        return [interval(*ends, digits, sign) for ends in zip(frame[low], frame[high], strict=True)]

    return Column(label, cells, lambda frame: low in frame)


def as_it_is(label: str, name: str = "") -> Column:
    return Column(label, lambda frame: frame[name or label].tolist())


def undefined(label: str, name: str) -> Column:
    """Returns a column that counts the runs in which a number is not defined.

    The column is there only where such runs exist.
    """

    def runs(frame):
        return frame["n"] - frame[f"{name}_n"]

    return Column(label, lambda frame: runs(frame).tolist(), lambda frame: bool(runs(frame).any()))


@dataclass(frozen=True)
class Entry:
    """A table and how it is made.

    `rows` makes the frame of numbers that a group has for the table, with a column `runs`. `names`
    are the columns of the frame that say of what a row is. `caption` says what the numbers are, and
    `below` makes of it the text below the table. `words` shapes the table where the columns alone
    do not. `origin` says which commands train the rows, where the usual words do not.
    """

    id: str
    title: str
    rows: Callable[[Group], pd.DataFrame]
    names: tuple[str, ...]
    columns: list[Column]
    caption: str
    words: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    origin: Callable[[Group, pd.DataFrame], str] | None = None

    def in_words(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Returns the table as people read it; a column `best` still marks the best rows."""
        if self.words:
            return self.words(frame)
        shown = frame[[name for name in (*self.names, "variant") if name in frame]].copy()
        for column in self.columns:
            if column.there(frame):
                shown[column.label] = column.cells(frame)
        return shown.assign(**{BEST: frame[BEST]}) if BEST in frame else shown

    def below(self, group: Group, frame: pd.DataFrame, remake: str) -> str:
        """Returns what the numbers are, and the command that makes them.

        `remake` is the command that makes all tables again.
        """
        if self.origin:
            return f"{self.caption} {self.origin(group, frame)}"
        made = f"`{remake}` makes this table; the page has the command of every row's runs."
        return f"{self.caption} {made}"
