"""The figures of what was seen inside trained networks: gates over images, scores by class, and
whether a channel's score says how much is lost without the channel.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from attn.evidence import frozen
from attn.evidence.group import CONFIGURATION, Group
from attn.evidence.variants import called_with_data, with_variant
from attn.names import CLASSES, COLOURS, channel_name, of_input_channels
from attn.report.figures.style import channel_colour, finish, look

MOST_CHANNELS = 64
FEW = 4  # images, where there are many places


def of_group(group: Group, folder: Path) -> list[Path]:
    """Draws the figures of the group's inspected networks, by backbone and location.

    Maps and classes are those of one network of each configuration.
    """
    paths = []
    for (backbone, location), runs in group.runs.groupby(["backbone", "location"]):
        name, title = f"{backbone}-{location}.png", f"{backbone}, {location}\n{group.title}"
        images, maps = _maps_of(group, runs)
        if maps:
            few = {place: gates[:FEW] for place, gates in maps.items()}
            paths.append(gates_over_images(images[:FEW], few, title, folder / f"gates-{name}"))
        classes = _classes_of(group, runs)
        if classes:
            paths.append(by_class(classes, title, folder / f"classes-{name}"))
    return [*paths, *lost_against_score(group, folder), *lost_frozen(group, folder)]


def _maps_of(group: Group, runs: pd.DataFrame):
    """Returns images (N, 3, S, S), and by name each configuration's first and last map (N, h, w).

    A configuration's name and the map's place make the name.
    """
    images, maps = None, {}
    for key, mine in runs.groupby("configuration", sort=False):
        start = f"maps/{key}/"
        own = {name: gates for name, gates in group.pictures.items() if name.startswith(start)}
        images = own.pop(f"{start}images", images)
        for name in dict.fromkeys(list(own)[:1] + list(own)[-1:]):
            place = _short(name.removeprefix(start)).replace(".refine.", ".refine\n.")
            place = f"{called_with_data(mine.iloc[0])}\n{place}"
            maps[place] = own[name]
    return images, maps


def _classes_of(group: Group, runs: pd.DataFrame) -> dict:
    """Returns by name each configuration's scores by class at its last place."""
    if group.classes.empty:
        return {}
    scored = runs.merge(group.classes, on="run").groupby("configuration", sort=False)
    return {
        f"{called_with_data(rows.iloc[0])}: {_short(rows['module'].iloc[0])}": rows
        for _, rows in scored
    }


def gates_over_images(images, maps: dict, title: str, path: Path) -> Path:
    """Draws images (N, 3, S, S), and below them for each place a line of its gates (N, h, w).

    The gates lie over the images. Every place has its own scale, as many gates stay near 0.5.
    """
    rows, columns = len(maps) + 1, len(images)
    size = (1.35 * columns + 1.8, 1.35 * rows + 1.1)
    figure, axes = plt.subplots(
        rows, columns + 1, figsize=size, squeeze=False, width_ratios=[1] * columns + [0.08]
    )
    for axis in axes[:, :-1].flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[0, -1].set_axis_off()
    for axis, image in zip(axes[0, :-1], images, strict=True):
        axis.imshow(image.transpose(1, 2, 0), interpolation="nearest")
    for (*line, bar), (place, gates) in zip(axes[1:], maps.items(), strict=True):
        drawn = _gates_at(line, images, gates.astype(float), place)
        figure.colorbar(drawn, cax=bar, label="gate")
        bar.tick_params(labelsize=7)
    note = "Every row has its own scale; one network of each configuration."
    return finish(figure, f"Gates over test images: {title}", path, note)


def _gates_at(axes, images, gates, place: str):
    """Draws one place's gates (N, h, w) over the images, and returns the last gate's drawing."""
    scale = {"vmin": gates.min(), "vmax": gates.max(), "cmap": "viridis", "alpha": 0.7}
    for axis, image, gate in zip(axes, images, gates, strict=True):
        extent = (0, *image.shape[1:], 0)
        axis.imshow(image.mean(0), cmap="gray", extent=extent)
        drawn = axis.imshow(gate, extent=extent, interpolation="nearest", **scale)
    axes[0].set_ylabel(f"{place}\n{gates.shape[1]}x{gates.shape[2]}", fontsize=7)
    return drawn


def _short(place: str) -> str:
    return place.replace(".seams", "")


def by_class(panels: dict, title: str, path: Path) -> Path:
    """Draws each class's mean score minus the mean of all classes, a panel for each name.

    `panels` holds by name a frame with the columns module, channel, class and score. Where there
    are more channels than MOST_CHANNELS, a panel shows the channels that differ most between
    classes.
    """
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    size = (1 + 5 * columns, 2.3 * lines + 1.2)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, sharey=True)
    for axis, (name, rows) in zip(axes.flat, panels.items(), strict=False):
        _classes_panel(figure, axis, name, rows)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    note = "A class's mean score minus the mean of the classes, by channel, whole test set; "
    note += "one network of each configuration."
    return finish(figure, f"Scores by class: {title}", path, note)


def _classes_panel(figure, axis, name: str, rows: pd.DataFrame):
    wide = rows.pivot(index="class", columns="channel", values="score")
    away = wide - wide.mean()
    chosen = away.std().nlargest(MOST_CHANNELS).index.sort_values()
    away = away[chosen]
    most = max(away.abs().to_numpy().max(), 1e-3)
    drawn = axis.imshow(away, aspect="auto", cmap="PuOr", vmin=-most, vmax=most)
    axis.set_yticks(range(len(CLASSES)), CLASSES, fontsize=6)
    at_input = of_input_channels(rows["module"].iloc[0])
    names = [channel_name(c) if at_input else str(c) for c in chosen]
    step = max(1, len(names) // 12)
    axis.set_xticks(range(0, len(names), step), names[::step], fontsize=6)
    of = f" of {wide.shape[1]}" if wide.shape[1] > len(chosen) else ""
    which = "channels that differ most" if of else "channels"
    axis.set_xlabel("channel", fontsize=7)
    counts = f"{len(chosen)}{of} {which}" if wide.shape[1] > 1 else "one channel"
    axis.set_title(f"{name}, {counts}", fontsize=8)
    bar = figure.colorbar(drawn, ax=axis, pad=0.01)
    bar.set_label("score minus mean", fontsize=7)
    bar.ax.tick_params(labelsize=6)


def lost_against_score(group: Group, folder: Path) -> list[Path]:
    """Draws the accuracy lost without a channel over the channel's score and over its score x sd.

    There is a figure for each backbone and location, with a row for each configuration.
    """
    if group.importance.empty:
        return []
    merged = group.importance.merge(group.runs, on="run")
    paths = []
    for (backbone, location), rows in merged.groupby(["backbone", "location"]):
        every = list(rows.groupby(CONFIGURATION, sort=False))
        size = (8, 2.7 * len(every) + 1)
        figure, axes = plt.subplots(len(every), 2, figsize=size, squeeze=False, sharey="row")
        for pair, (_, mine) in zip(axes, every, strict=True):
            _lost_panels(pair, mine, location)
        heading = f"What is lost without a channel, against its score: {backbone}, {location}\n"
        path = folder / f"importance-{backbone}-{location}.png"
        note = "A point is a channel of a run, permuted among test images."
        paths.append(finish(figure, heading + group.title, path, note))
    return paths


def _lost_panels(axes, mine: pd.DataFrame, location: str):
    scaled = mine.assign(scaled=mine["score"] * mine["sd"])
    for axis, x, name in zip(axes, ("score", "scaled"), ("score", "score x sd"), strict=True):
        axis.axhline(0, color="0.6", linewidth=0.8)
        for label, style, points in _kinds(scaled, location):
            axis.plot(
                points[x], points["lost"], ms=3.5, alpha=0.6, rasterized=True, label=label, **style
            )
        axis.set_xlabel(f"{name} of the channel")
        axis.grid()
    axes[0].set_ylabel("points lost")
    first, runs = mine.iloc[0], mine["run"].nunique()
    name = with_variant(first["attention"], first["variant"])
    axes[0].set_title(f"{name}, {first['data']} (n={runs})", fontsize=9)
    if location == "first":
        axes[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _kinds(rows: pd.DataFrame, location: str):
    """Returns (label, style, rows) for each colour of the figure.

    At `first` each colour channel has its colour, and all noise channels share a colour. Elsewhere
    the mechanism has its colour.
    """
    style = look(rows["attention"].iloc[0])
    style = {"marker": style["marker"], "color": style["color"], "linestyle": ""}
    if location != "first":
        return [(None, style, rows)]
    names = rows["channel"].map(lambda c: channel_name(c) if c < COLOURS else "noise")
    return [
        (name, style | {"color": channel_colour(name)}, mine)
        for name, mine in rows.groupby(names, sort=False)
    ]


def lost_frozen(group: Group, folder: Path) -> list[Path]:
    """Draws what is lost with frozen gates, a figure for each backbone.

    A row is a configuration: its points lost with all gates frozen and their interval, each gate
    frozen alone, and each gate's share of variance between images.
    """
    whole, each = frozen.table(group), frozen.by_place(group)
    paths = []
    for backbone, rows in whole.groupby("backbone", sort=True) if len(whole) else ():
        size = (8.5, 0.42 * len(rows) + 1.9)
        figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[1.4, 1])
        for line, row in enumerate(rows.itertuples()):
            _frozen_line(axes, line, row, each[each["configuration"] == row.configuration])
        names = [f"{called_with_data(row)}, {row['location']}" for _, row in rows.iterrows()]
        names = [f"{name} (n={n})" for name, n in zip(names, rows["n"], strict=True)]
        axes[0].set_yticks(range(len(names)), names, fontsize=8)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        axes[0].axvline(0, color="0.6", linewidth=0.8)
        axes[0].set_xlabel("points lost")
        axes[1].set_xlabel("variance between images, %")
        axes[1].set_xlim(0, 100)
        for axis in axes:
            axis.grid(axis="x")
        heading = f"What is lost with frozen gates: {backbone}\n{group.title}"
        note = "Full: all gates frozen at their means over training images, with 95% interval. "
        note += "Hollow: each gate frozen alone, where there are several."
        paths.append(finish(figure, heading, folder / f"frozen-{backbone}.png", note))
    return paths


def _frozen_line(axes, line: int, row, each: pd.DataFrame):
    style = look(row.attention)
    if row.gates > 1:
        hollow = {"linestyle": "", "marker": style["marker"], "mfc": "none", "ms": 4, "alpha": 0.6}
        axes[0].plot(each["lost"], [line] * len(each), color=style["color"], **hollow)
    error = [[row.lost - row.low], [row.high - row.lost]]
    axes[0].errorbar(row.lost, line, xerr=error, capsize=3, **style)
    shares = {"linestyle": "", "ms": 4, "alpha": 0.7, **style}
    axes[1].plot(100 * each["between"], [line] * len(each), **shares)
