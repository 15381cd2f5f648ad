"""Mechanisms by places: what each gains where, as a table and a figure."""

from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attn import stats
from attn.modules import MECHANISMS
from attn.place import LOCATIONS
from attn.report.formats import counted, number
from attn.report.group import Group, with_variant
from attn.report.style import STYLE, finish, look
from attn.report.verdicts import one_configuration

PLACES = [place for place in LOCATIONS if place != "none"]
PLAIN = set(MECHANISMS) - {"static", "random"}  # as published, and no control
MECHANISM = ["backbone", "data", "stages", "attention", "variant"]  # what stands at places


def differences(group: Group) -> pd.DataFrame:
    """Accuracy less that of no attention, in points: a row for each mechanism, place and seed.

    Of mechanisms that stand at several places; columns MECHANISM, location, seed, difference, run.
    """
    rows = []
    for _, alike in group.runs.groupby(["backbone", "data"]):
        baseline = _by_seed(one_configuration(alike[alike["location"] == "none"]))
        attended = alike[alike["location"] != "none"]
        for _, runs in attended.groupby([*MECHANISM, "location", "configuration"]):
            pairs = stats.paired(_by_seed(runs), baseline)
            found = runs.set_index("seed").loc[pairs.seeds, [*MECHANISM, "location", "run"]]
            rows.append(found.assign(difference=pairs.differences).reset_index())
    if not rows:
        return pd.DataFrame()
    frame = pd.concat(rows, ignore_index=True)
    several = frame.groupby(MECHANISM)["location"].transform("nunique") > 1
    return frame[several]


def _by_seed(runs: pd.DataFrame) -> pd.Series:
    return 100 * runs.set_index("seed")["test_accuracy"]


def table(group: Group) -> pd.DataFrame:
    """A row for each mechanism and place: the mean difference, its interval, of how many pairs."""
    frame = differences(group)
    return _means(frame) if len(frame) else frame


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, mine in frame.groupby([*MECHANISM, "location"]):
        found = stats.estimate(mine["difference"])
        row = dict(zip([*MECHANISM, "location"], key, strict=True))
        row |= {"n": found.n, "difference": found.mean, "low": found.low, "high": found.high}
        rows.append(row | {"runs": " ".join(mine["run"])})
    return pd.DataFrame(rows)


def medians(frame: pd.DataFrame) -> tuple[pd.Series, int]:
    """Each place's median over the mechanisms that stand at all of the places, and how many do.

    frame: the table's rows of one backbone and data; variants of a mechanism and controls among
    them do not count.
    """
    mine = frame[frame["attention"].isin(PLAIN) & (frame["stages"] == "all")]
    wide = mine.pivot_table(index="attention", columns="location", values="difference").dropna()
    return wide.median(), len(wide)


def words(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row for each mechanism, a column for each place."""
    names = [name for name in MECHANISM if name in frame]
    cells = [f"{number(row.difference, sign=True)} (n={row.n})" for row in frame.itertuples()]
    wide = frame.assign(cell=cells).pivot(index=names, columns="location", values="cell")
    shown = wide.reset_index()
    for (backbone, data), mine in frame.groupby(["backbone", "data"]):
        median, count = medians(mine)
        if count > 2:
            row = {"backbone": backbone, "data": data, "attention": f"median of {count}"}
            row |= {place: number(value, sign=True) for place, value in median.items()}
            shown.loc[len(shown)] = row
    return shown[[*names, *(place for place in PLACES if place in shown)]].fillna("")


def figures(group: Group, folder: Path) -> list[Path]:
    """For each backbone and data: a panel a place, in it a line a mechanism, its seeds and mean."""
    frame = differences(group)
    if frame.empty:
        return []
    return [
        _figure(mine, group.title, folder / f"placement-{backbone}-{data}.png")
        for (backbone, data), mine in frame.groupby(["backbone", "data"])
    ]


def _figure(frame: pd.DataFrame, title: str, path: Path) -> Path:
    names = np.array([_name(row) for row in frame.itertuples()])
    lines, labels = pd.factorize(names)
    frame = frame.assign(line=lines)
    places = [place for place in PLACES if place in set(frame["location"])]
    note, half = _chance(frame)
    median, count = medians(_means(frame))
    with plt.rc_context(STYLE):
        size = (2 + 2.4 * len(places), 1.3 + 0.25 * len(labels))
        grid = {"sharex": True, "sharey": True, "squeeze": False}
        figure, panels = plt.subplots(1, len(places), figsize=size, **grid)
        for panel, place in zip(panels[0], places, strict=True):
            _panel(panel, frame[frame["location"] == place])
            panel.set_title(place, loc="left", fontsize=10)
            panel.axvspan(-half, half, color="0.92", zorder=0, linewidth=0)
            if count > 2:
                panel.axvline(median[place], color="black", linewidth=1, linestyle=":")
        panels[0][0].set_yticks(range(len(labels)), labels)
        panels[0][0].invert_yaxis()
        figure.supxlabel("test accuracy, points above no attention", fontsize=10)
        if count > 2:
            note += f" Dotted: median of the {count} mechanisms that stand at every place."
        heading = f"What attention gains, by its place: {frame['backbone'].iloc[0]}, "
        return finish(figure, f"{heading}{frame['data'].iloc[0]}\n{title}\n{note}", path)


def _name(row) -> str:
    stages = "" if row.stages == "all" else f" {row.stages}"
    return with_variant(f"{row.attention}{stages}", row.variant)


def _panel(panel, frame: pd.DataFrame):
    for line, mine in frame.groupby("line"):
        style, found = look(mine["attention"].iloc[0]), stats.estimate(mine["difference"])
        colour = style["color"]
        panel.plot(mine["difference"], np.full(len(mine), line), "|", color=colour, ms=7)
        if found.n > 2:
            panel.plot([found.low, found.high], [line, line], color=colour, linewidth=1.5)
        fill = "white" if found.n < stats.SMOKE else colour
        panel.plot(found.mean, line, style["marker"], color=colour, mfc=fill, ms=6)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.grid(axis="y", alpha=0.25)


def _chance(frame: pd.DataFrame) -> tuple[str, float]:
    """What the figure shows, in words, and how far the mean of a cell goes by chance.

    That is the half width of a t-interval with the cells' common sd. As they share the baseline's
    seeds it holds 92% of means of two seeds, 93% of five (3,000 simulations of 50 cells).
    """
    cells = [cell["difference"] for _, cell in frame.groupby(["line", "location"])]
    marks = f"Ticks: seeds. Marks: means, hollow of fewer than {stats.SMOKE} seeds."
    sd, freedom = stats.pooled_sd(cells)
    if not freedom:
        return f"{marks} One seed alone does not tell what is chance.", 0.0
    ((usual, _),) = Counter(len(cell) for cell in cells).most_common(1)
    half = stats.half_width(sd, usual, freedom)
    chance = (
        f"Grey: ±{half:.1f} points, where over 90% of means of {counted(usual, 'seed')} lie by "
        f"chance: seeds of a cell have an sd of {sd:.2f} points, over all {len(cells)} cells."
    )
    return f"{marks} Bars: 95% intervals, from three seeds on. {chance}", half
