"""The figures of accuracy: over epochs, against its cost, and by class."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attn import stats
from attn.evidence.accuracies import configurations_of
from attn.evidence.claims import Table
from attn.evidence.classes import confusion_of
from attn.evidence.group import Group
from attn.evidence.variants import called
from attn.names import CLASSES
from attn.report.figures.style import finish, look, looks, whole_numbers

LINEAR = 30  # parameters, up to which the scale of what is added is linear: it begins at 0
OWN = "Means are over each row's own seeds; the tables have differences by seed."
FEW_EPOCHS = 2  # have no curve: what is told apart at their ends would run together between


def over_epochs(group: Group, tables: list[Table], folder: Path) -> list[Path]:
    """Draws a figure for each table with runs: every seed, the mean and its 95% interval."""
    paths = []
    if group.epochs.empty:
        return paths
    draw, explained = _curves, "Thin: a seed. Thick: their mean. Shaded: its 95% interval"
    if group.epochs["epoch"].nunique() <= FEW_EPOCHS:
        draw, explained = _points, "Dots: seeds. Large: their mean. Bar: its 95% interval"
    for table in tables:
        every = [(b, _rows(table, runs)) for b, runs in group.runs.groupby("backbone")]
        every = [(backbone, rows) for backbone, rows in every if len(rows) > 1]
        if not every:
            continue
        size = (2 + 5.5 * len(every), 4.8)
        figure, panels = plt.subplots(1, len(every), figsize=size, squeeze=False)
        for panel, (backbone, rows) in zip(panels[0], every, strict=True):
            draw(panel, group.epochs, rows)
            panel.set_title(backbone)
            panel.set_xlabel("epoch")
            whole_numbers(panel)
            panel.grid()
        panels[0][0].set_ylabel("test accuracy, %")
        heading = f"Accuracy over epochs: {table.title}\n{group.title}"
        note = f"{explained}, from three seeds on. {OWN}{_tested(group)}"
        paths.append(finish(figure, heading, folder / f"{table.id}-epochs.png", note))
    return paths


def _rows(table: Table, runs: pd.DataFrame) -> list:
    found = [pair for row in table.rows for pair in configurations_of(row, runs)]
    return [(label, chosen) for label, chosen in found if len(chosen)]


def _looks(rows) -> list[dict]:
    return looks([runs["attention"].iloc[0] for _, runs in rows])


def _tested(group) -> str:
    """Returns a line on how many images were tested; empty where the number is always the same."""
    tested = group.epochs.get("test_images", pd.Series(dtype=int))
    if tested.nunique() < 2:
        return ""
    fewest, most = tested.min(), tested.max()
    return f" Last epoch: all {most:,} test images; before it: always the same {fewest:,}."


def _by_epoch(epochs, runs) -> pd.DataFrame:
    """Returns test accuracies in percent: a row for each epoch (from 1), a column for each run."""
    mine = epochs[epochs["run"].isin(runs["run"])]
    wide = 100 * mine.pivot(index="epoch", columns="run", values="test_accuracy")
    return wide.set_index(wide.index + 1)


def _points(panel, epochs, rows):
    """Draws the accuracies of runs with few epochs.

    In each epoch the rows stand side by side. A row's seeds stand to the left of their mean.
    """
    for i, (style, (label, runs)) in enumerate(zip(_looks(rows), rows, strict=True)):
        wide = _by_epoch(epochs, runs)
        at = wide.index + 0.8 * (i - (len(rows) - 1) / 2) / len(rows)
        panel.plot(at - 0.1 / len(rows), wide, ".", color=style["color"], alpha=0.4)
        found = [stats.estimate(row.dropna()) for _, row in wide.iterrows()]
        bars = [(e.mean - e.low, e.high - e.mean) for e in found]
        style |= {"linestyle": "", "label": f"{label} (n={len(runs)})"}
        means, bars = [e.mean for e in found], np.transpose(bars) if len(runs) > 2 else None
        panel.errorbar(at, means, yerr=bars, capsize=3, **style)
    panel.set_xlim(0.4, epochs["epoch"].max() + 1.6)
    panel.legend(loc="upper left", bbox_to_anchor=(0, -0.12))


def _curves(panel, epochs, rows):
    for style, (label, runs) in zip(_looks(rows), rows, strict=True):
        wide, (line, colour) = _by_epoch(epochs, runs), (style["linestyle"], style["color"])
        panel.plot(wide.index, wide, line, color=colour, linewidth=0.5, alpha=0.25)
        band = [stats.estimate(row.dropna()) for _, row in wide.iterrows()]
        if wide.shape[1] > 2:  # two seeds' interval is wider than any accuracy
            low, high = [e.low for e in band], [e.high for e in band]
            panel.fill_between(wide.index, low, high, color=colour, alpha=0.12, linewidth=0)
        label, means = f"{label} (n={len(runs)})", [e.mean for e in band]
        panel.plot(wide.index, means, **style, label=label, linewidth=2)
    panel.legend(loc="lower right")


def against_parameters(table: pd.DataFrame, title: str, folder: Path) -> list[Path]:
    """Draws each configuration's accuracy, with its interval, over the parameters that it adds.

    `table` comes from `accuracies.configurations`. There is a figure for each backbone, data and
    location, with the network without attention in each. Each point carries the number of its line
    in the legend.
    """
    paths = []
    for (backbone, data), rows in table.groupby(["backbone", "data"]) if len(table) else ():
        plain = rows["location"] == "none"
        for location, attended in rows[~plain].groupby("location"):
            shown = pd.concat([rows[plain], attended])
            if len(shown) > 1:
                heading = f"Accuracy against parameters: {backbone}, {data}, attention at "
                path = folder / f"parameters-{backbone}-{data}-{location}.png"
                paths.append(_costs(shown, f"{heading}{location}\n{title}", path))
    return paths


def _costs(rows: pd.DataFrame, heading: str, path: Path) -> Path:
    fewest, ranked = rows["parameters"].min(), rows.sort_values("mean", ascending=False)
    figure, axis = plt.subplots(figsize=(9.5, max(4.2, 0.17 * len(rows) + 2)))
    for rank, row in enumerate(ranked.itertuples(), 1):
        _cost_point(axis, rank, row, row.parameters - fewest)
    axis.set_xlabel(f"parameters above the fewest, {fewest:,}")
    axis.set_ylabel("test accuracy, %")
    axis.set_xscale("symlog", linthresh=LINEAR)
    axis.set_xlim(left=-LINEAR / 3)
    axis.grid()
    axis.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5))
    note = f"Hollow: fewer than {stats.SMOKE} seeds. Bars: 95% intervals, from three seeds on."
    return finish(figure, heading, path, f"{note} {OWN}")


def _cost_point(axis, rank: int, row, added: int):
    style = look(row.attention)
    axis.annotate(rank, (added, row.mean), xytext=(5, 3), textcoords="offset points", fontsize=6)
    axis.errorbar(
        added,
        row.mean,
        yerr=[[row.mean - row.low], [row.high - row.mean]] if row.n > 2 else None,
        fmt=style["marker"],
        color=style["color"],
        mfc="white" if row.n < stats.SMOKE else style["color"],
        elinewidth=1,
        capsize=2,
        ms=6,
        label=f"{rank}  {row.mean:.1f}  {called(row._asdict())} (n={row.n})",
    )


def confusions(group: Group, tables: list[Table], folder: Path) -> list[Path]:
    """Draws what each class is taken for, from the runs' classes of the test images.

    There is a figure for each table with a published number and each backbone, with a panel for
    each row of the table.
    """
    paths = []
    published = [table for table in tables if any(row.published for row in table.rows)]
    for table in published:
        for backbone, runs in group.runs.groupby("backbone"):
            panels = []
            for label, mine in _rows(table, runs):
                taken = [group.predictions[run] for run in mine["run"] if run in group.predictions]
                if taken:
                    counts = np.mean([confusion_of(classes) for classes in taken], 0)
                    panels.append((f"{label} (n={len(taken)})", counts))
            if len(panels) > 1:  # as a table has several rows
                path = folder / f"confusion-{table.id}-{backbone}.png"
                heading = f"{table.title}: what classes are taken for, {backbone}\n{group.title}"
                paths.append(confusion(panels, heading, path, ", means over runs"))
    return paths


def confusion(panels: list[tuple], heading: str, path: Path, note: str = "") -> Path:
    """Draws how many images of each class are taken for each, a panel for each (name, (10, 10))."""
    size = (1 + 5.2 * len(panels), 5.8)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=True)
    for axis, (name, counts) in zip(axes[0], panels, strict=True):
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            style = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
            axis.text(column, row, f"{count:,.0f}", **style)
        axis.set_xticks(range(len(CLASSES)), CLASSES, rotation=45, ha="right")
        axis.set_yticks(range(len(CLASSES)), CLASSES)
        axis.set_xlabel("taken for")
        axis.set_title(name)
    axes[0, 0].set_ylabel("class")
    return finish(figure, heading, path, f"Numbers of test images{note}.")
