"""Draws the scores and the health of gates inside a network, and of its final feature map."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attn.evidence.group import CONFIGURATION, Group
from attn.evidence.variants import called_with_data, with_variant
from attn.report.figures.style import NOISE, finish, look, looks

WIDE = 512  # pixels of a heat map's row
MOST_PANELS = 9  # of heat maps in a figure


def by_rank(group: Group, folder: Path) -> list[Path]:
    """Draws the scores of the final feature map, highest first, a line for each run.

    There is a figure for each backbone, with a panel for each data.
    """
    runs = group.runs[group.runs["run"].isin(list(group.ranked))]
    paths = []
    for backbone, mine in runs.groupby("backbone"):
        panels = list(mine.groupby("data"))
        size = (1.5 + 5.5 * len(panels), 4.4)
        figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=True)
        for axis, (data, rows) in zip(axes[0], panels, strict=True):
            every = [alike for _, alike in rows.groupby(CONFIGURATION, sort=False)]
            styles = looks([alike["attention"].iloc[0] for alike in every])
            for alike, style in zip(every, styles, strict=True):
                _ranks(axis, alike, group.ranked, style)
            axis.set_title(data)
            axis.set_xlabel("channel, by its score")
            axis.grid()
            axis.legend()
        axes[0, 0].set_ylabel("mean score over the test set")
        heading = f"Scores of the final feature map: {backbone}, attention at last\n{group.title}"
        path = folder / f"scores-ranked-{backbone}.png"
        note = "A line for each run whose scores were kept, its highest score first."
        paths.append(finish(figure, heading, path, note))
    return paths


def _ranks(axis, runs: pd.DataFrame, ranked: dict, style: dict):
    first = runs.iloc[0]
    name = f"{with_variant(first['attention'], first['variant'])} (n={len(runs)})"
    line = {key: style[key] for key in ("color", "linestyle")}  # of so many points no markers
    for run in runs["run"]:
        scores = ranked[run].astype(float)
        axis.plot(np.arange(1, len(scores) + 1), scores, linewidth=1, label=name, **line)
        name = None  # in the legend once


def by_layer(group: Group, folder: Path) -> list[Path]:
    """Draws heat maps for per_block and per_stage, by backbone and location, MOST_PANELS a figure.

    A panel is a configuration. A row is a place, with its channels in the order of their scores.
    """
    scores = group.scores
    if scores.empty:
        return []
    inner = group.runs[group.runs["location"].isin(["per_block", "per_stage"])]
    shown = inner[inner["run"].isin(scores["run"])]
    paths = []
    for (backbone, location), runs in shown.groupby(["backbone", "location"]):
        panels = [
            (f"{called_with_data(run)}, seed {run['seed']}", scores[scores["run"] == run["run"]])
            for run in runs.to_dict("records")
        ]
        title = f"Scores by place and channel: {backbone}, {location}\n{group.title}"
        for page in range(0, len(panels), MOST_PANELS):
            number = f"-{page // MOST_PANELS + 1}" if len(panels) > MOST_PANELS else ""
            path = folder / f"scores-layers-{backbone}-{location}{number}.png"
            paths.append(heat_maps(panels[page : page + MOST_PANELS], title, path))
    return paths


def _rows_of(scores: pd.DataFrame) -> dict:
    return {
        module: np.sort(rows["mean"].to_numpy())[::-1]
        for module, rows in scores.groupby("module", sort=False)
    }


def heat_maps(panels: list[tuple], title: str, path: Path) -> Path:
    """Draws a panel for each (name, frame of scores): a row a place, its highest score to the left.

    All rows have the same width, however many channels they have.
    """
    panels = [(name, _rows_of(scores)) for name, scores in panels]
    columns = min(3, len(panels))
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [0.6 + 0.16 * max(len(rows) for _, rows in line) for line in lines]
    size = (1.2 + 3.6 * columns, max(3.6, 1.4 + sum(heights)))
    figure, axes = plt.subplots(
        len(lines), columns, figsize=size, squeeze=False, height_ratios=heights
    )
    for axis, (name, rows) in zip(axes.flat, panels, strict=False):
        image = [m[np.arange(WIDE) * len(m) // WIDE] for m in rows.values()]
        drawn = axis.imshow(
            image, aspect="auto", vmin=0, vmax=1, cmap="cividis", interpolation="nearest"
        )
        places = [f"{_short(place)}  {len(means)}" for place, means in rows.items()]
        axis.set_yticks(range(len(places)), places, fontsize=5.5)
        axis.set_xticks([])
        axis.set_title(name, fontsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, shrink=min(1, 3 / max(2.2, sum(heights))), pad=0.01)
    bar.set_label("mean score over the whole test set")
    note = "A row is a place with so many channels, the highest score to the left."
    return finish(figure, title, path, note)


def _short(place: str) -> str:
    return place.replace(".seams", "").replace("features.", "f").replace("layer", "l")


def health(gates: pd.DataFrame, title: str, folder: Path) -> list[Path]:
    """Draws gate health (`scores.gates`), a figure for each location."""
    return [
        _health(mine, f"Gate health: attention at {location}\n{title}", folder, location)
        for location, mine in (gates.groupby("location") if len(gates) else ())
    ]


def _health(gates: pd.DataFrame, heading: str, folder: Path, location: str) -> Path:
    several = gates["backbone"].nunique() > 1
    names = [_health_name(row, several) for row in gates.to_dict("records")]
    at = np.arange(len(names))
    size = (11, 0.24 * len(names) + 1.8)
    figure, axes = plt.subplots(1, 4, figsize=size, sharey=True, width_ratios=[2, 1, 1, 1])
    for y, row in zip(at, gates.itertuples(), strict=True):
        style = look(row.attention)
        axes[0].plot([row.first, row.last], [y, y], color=style["color"], linewidth=1.5)
        axes[0].plot(row.first, y, ms=5, **style, mfc="white")
        axes[0].plot(row.last, y, ms=5, **style)
        for axis, number in zip(axes[1:], (row.moved, row.spread, row.saturated), strict=True):
            axis.barh(y, number, color=style["color"])
    axes[0].axvline(0.5, color=NOISE, linewidth=0.8, linestyle=":")
    axes[0].set_yticks(at, names, fontsize=7)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[0].set_xlabel("mean score: hollow untrained, filled trained")
    axes[0].set_xlim(0, max(1, gates[["first", "last"]].max(axis=None)))
    axes[1].set_xlabel("moved, either way")
    axes[2].set_xlabel("sd over images")
    axes[3].set_xlabel("saturated share")
    axes[3].set_xlim(0, 1)
    for axis in axes:
        axis.grid(axis="x")
    note = "Means over channels, places and seeds. Moved: how far a channel's mean score is from "
    note += "that of the untrained network. Saturated: below 0.05 or above 0.95."
    return finish(figure, heading, folder / f"health-{location}.png", note)


def _health_name(row, several: bool) -> str:
    words = [row["backbone"]] if several else []
    words += [called_with_data(row)]
    words += [row["part"]] if row["part"] != "gate" else []
    return f"{', '.join(words)} (n={row['n']})"


def by_place(scores, title: str, path: Path) -> Path:
    """Draws a box for each place of attention, of the mean scores of its channels.

    `scores` has the columns module and mean.
    """
    modules = list(dict.fromkeys(scores["module"]))
    means = [scores.loc[scores["module"] == module, "mean"] for module in modules]
    figure, axes = plt.subplots(figsize=(8, max(3, 0.32 * len(modules) + 1.8)))
    axes.boxplot(means, orientation="horizontal", tick_labels=modules, sym=".")
    axes.invert_yaxis()
    axes.set_xlim(0, max(1, scores["mean"].max()))
    axes.set_xlabel("mean score of a channel over the whole test set")
    axes.grid(axis="x")
    return finish(figure, f"Scores by place\n{title}", path)
