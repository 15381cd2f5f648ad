"""Draws what attention gains, by its place: a panel a place, a line a mechanism."""

from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attn import stats
from attn.evidence import blocks
from attn.evidence.group import Group
from attn.evidence.placement import PLACES, differences, medians
from attn.evidence.variants import with_variant
from attn.formats import counted, number
from attn.names import restriction
from attn.report.figures.style import finish, look, whole_numbers


def figures(group: Group, folder: Path) -> list[Path]:
    """Draws a figure for each backbone and data, with a panel for each place.

    A panel has a line for each mechanism, with the mechanism's seeds and their mean.
    """
    frame = differences(group)
    if frame.empty:
        return []
    return [
        _figure(mine, group.title, folder / f"placement-{backbone}-{data}.png")
        for (backbone, data), mine in frame.groupby(["backbone", "data"])
    ]


def _figure(frame: pd.DataFrame, title: str, path: Path) -> Path:
    lines, labels = pd.factorize(frame["attention"] + frame["stages"].map(restriction))
    frame = frame.assign(line=lines)
    places = [place for place in PLACES if place in set(frame["location"])]
    median, (note, half) = medians(frame), _chance(frame)
    means = frame.groupby(["line", "location"])["difference"].mean().abs()
    most = 1.3 * max(half, means.quantile(0.9)) or 1  # not the furthest: others would be a line
    size = (2 + 2.4 * len(places), 1.3 + 0.25 * len(labels))
    grid = {"sharex": True, "sharey": True, "squeeze": False}
    figure, panels = plt.subplots(1, len(places), figsize=size, **grid)
    for panel, place in zip(panels[0], places, strict=True):
        _panel(panel, frame[frame["location"] == place], half, most)
        panel.set_title(place)
        if place in median:
            panel.axvline(median[place], color="black", linewidth=1, linestyle=":")
    panels[0][0].set_yticks(range(len(labels)), labels)
    panels[0][0].set_ylim(len(labels) - 0.5, -0.5)
    middle = panels[0][(len(places) - 1) // 2]
    middle.set_xlabel("test accuracy, points above no attention")
    if len(median):
        note += f" Dotted: {median.name} mechanisms that stand at every place."
    heading = f"What attention gains, by its place: {frame['backbone'].iloc[0]}, "
    return finish(figure, f"{heading}{frame['data'].iloc[0]}\n{title}", path, note)


def _panel(panel, frame: pd.DataFrame, half: float, most: float):
    panel.set_xlim(-most, most)
    for line, mine in frame.groupby("line"):
        style, found = look(mine["attention"].iloc[0]), stats.estimate(mine["difference"])
        colour = style["color"]
        panel.plot(mine["difference"], np.full(len(mine), line), "|", color=colour, ms=7)
        if found.n > 2:
            panel.plot([found.low, found.high], [line, line], color=colour, linewidth=1.5)
        fill = "white" if found.n < stats.SMOKE else colour
        panel.plot(found.mean, line, style["marker"], color=colour, mfc=fill, ms=6)
        if abs(found.mean) > most:
            edge, arrow, side = (most, ">", "right") if found.mean > 0 else (-most, "<", "left")
            panel.plot(edge, line, arrow, color=colour, mfc=fill, ms=6, clip_on=False)
            text = f"  {number(found.mean, 1, sign=True)}  "
            panel.annotate(text, (edge, line), ha=side, va="center", fontsize=7)
    panel.axvspan(-half, half, color="0.92", zorder=0, linewidth=0)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.grid(axis="y", alpha=0.25)


def _chance(frame: pd.DataFrame) -> tuple[str, float]:
    """Returns what the figure shows, in words, and how far the mean of a cell goes by chance.

    This distance is the half width of a t-interval with the cells' common sd. The mean of each cell
    of two seeds stays within the distance in 92% of sweeps (simulated in test_stats.py). As cells
    share the baseline, their means exceed the distance together.
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
        f"chance, as seeds of a cell have an sd of {sd:.2f} points over all {len(cells)} cells; "
        "cells share the baseline, so many outside on one side are one finding."
    )
    bars = "Bars: 95% intervals, from three seeds on. Arrows: means beyond the edge."
    return f"{marks} {bars} {chance}", half


def by_block(group: Group, folder: Path) -> list[Path]:
    """Draws what attention gains in each block, a figure for each backbone and data.

    A panel is a mechanism. Each block has its gain alone, what is lost without it, and its Shapley
    value.
    """
    frame, paths = blocks.table(group), []
    for (backbone, data), rows in frame.groupby(["backbone", "data"]) if len(frame) else ():
        panels = list(rows.groupby(["attention", "variant"], sort=False))
        size = (8, 0.8 + 2.6 * len(panels))
        figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, sharex=True)
        for axis, ((attention, variant), mine) in zip(axes[:, 0], panels, strict=True):
            _block_panel(axis, mine, look(attention)["color"])
            axis.set_title(f"{with_variant(attention, variant)}: {_seeds(mine)}", fontsize=9)
        axes[-1, 0].set_xlabel("block, from the input to the end")
        axes[0, 0].legend(loc="upper left", bbox_to_anchor=(1, 1))
        heading = f"What attention gains in one block: {backbone}, {data}\n{group.title}"
        note = "Bars: 95% intervals over seeds."
        path = folder / f"blocks-{backbone}-{data}.png"
        paths.append(finish(figure, heading, path, note))
    return paths


def _block_panel(axis, rows, colour: str):
    shapes = {"alone": "o", "without": "s", "shapley": "D"}
    axis.axhline(0, color="0.6", linewidth=0.8)
    for offset, (name, label) in zip((-0.22, 0, 0.22), blocks.QUANTITIES.items(), strict=True):
        half = (rows[f"{name}_high"] - rows[name]).fillna(0)
        fill = colour if name == "shapley" else "white"
        points = {"fmt": shapes[name], "color": colour, "mfc": fill, "ms": 5, "capsize": 2}
        axis.errorbar(rows["block"] + offset, rows[name], yerr=half, label=label, **points)
    whole_numbers(axis)
    axis.grid(axis="y")
    axis.set_ylabel("points")


def _seeds(rows) -> str:
    counts = {label: rows[f"{name}_n"].max() for name, label in blocks.QUANTITIES.items()}
    return ", ".join(f"{label} n={count}" for label, count in counts.items())
