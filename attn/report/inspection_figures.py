"""The figures of what was seen inside trained networks: gates over images, scores by class, and
whether a channel's score says how much is lost without it."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from attn.data import CLASSES
from attn.report.group import CONFIGURATION, Group
from attn.report.style import STYLE, finish, look
from attn.report.tables import channel_name
from attn.scores import of_input_channels

MOST_CHANNELS = 64


def of_group(group: Group, folder: Path) -> list[Path]:
    """Every figure that the group's inspected networks give; of several seeds the lowest's."""
    paths = []
    for key, runs in group.runs.groupby("configuration", sort=False):
        first = runs.iloc[0]
        name = f"{first['backbone']}-{first['attention']}-{first['location']}-{first['data']}-{key}"
        name = name.replace("=", "") + ".png"
        title = f"{first['attention']} at {first['location']}, {first['backbone']}, {first['data']}"
        maps = {
            place.removeprefix(f"maps/{key}/"): image
            for place, image in group.pictures.items()
            if place.startswith(f"maps/{key}/")
        }
        if maps:
            paths.append(
                gates_over_images(maps, f"{title}\n{group.title}", folder / f"gates-{name}")
            )
        if len(group.classes):
            classes = group.classes[group.classes["run"].isin(runs["run"])]
            if len(classes):
                seed = runs.set_index("run").loc[classes["run"].iloc[0], "seed"]
                one = classes[classes["run"] == classes["run"].iloc[0]]
                heading = f"{title}, seed {seed}\n{group.title}"
                paths.append(by_class(one, heading, folder / f"classes-{name}"))
    return paths + lost_against_score(group, folder)


def gates_over_images(maps: dict, title: str, path: Path) -> Path:
    """maps: images (N, 3, S, S) and by module (N, h, w): below each image the gates over it.

    Every place has its own scale, as many gates stay near 0.5.
    """
    images = maps["images"]
    places = [name for name in maps if name != "images"]
    with plt.rc_context(STYLE):
        rows, columns = len(places) + 1, len(images)
        size = (1.35 * columns + 1.8, 1.35 * rows + 0.9)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, image in zip(axes[0], images, strict=True):
            axis.imshow(image.transpose(1, 2, 0), interpolation="nearest")
        for line, place in zip(axes[1:], places, strict=True):
            _gates_at(figure, line, images, maps[place].astype(float), _short(place))
        return finish(figure, f"Gates over test images: {title}", path)


def _gates_at(figure, axes, images, gates, place: str):
    """One place's gates (N, h, w) over the images."""
    for axis, image, gate in zip(axes, images, gates, strict=True):
        extent = (0, *image.shape[1:], 0)
        axis.imshow(image.mean(0), cmap="gray", extent=extent)
        drawn = axis.imshow(
            gate,
            cmap="viridis",
            vmin=gates.min(),
            vmax=gates.max(),
            alpha=0.7,
            extent=extent,
            interpolation="nearest",
        )
    axes[0].set_ylabel(f"{place}\n{gates.shape[1]}x{gates.shape[2]}", fontsize=7)
    bar = figure.colorbar(drawn, ax=list(axes), pad=0.01, aspect=12)
    bar.ax.tick_params(labelsize=7)


def _short(place: str) -> str:
    return place.replace(".seams", "")


def by_class(classes: pd.DataFrame, title: str, path: Path) -> Path:
    """Each class's mean score less the mean of all; columns module, channel, class, score.

    Of more channels than MOST_CHANNELS those that differ most between classes.
    """
    places = list(dict.fromkeys(classes["module"]))
    with plt.rc_context(STYLE):
        size = (9, 2.2 * len(places) + 1)
        figure, axes = plt.subplots(len(places), 1, figsize=size, squeeze=False)
        for axis, place in zip(axes[:, 0], places, strict=True):
            mine = classes[classes["module"] == place]
            wide = mine.pivot(index="class", columns="channel", values="score")
            away = wide - wide.mean()
            chosen = away.std().nlargest(MOST_CHANNELS).index.sort_values()
            away = away[chosen]
            most = max(away.abs().to_numpy().max(), 1e-3)
            drawn = axis.imshow(away, aspect="auto", cmap="PuOr", vmin=-most, vmax=most)
            axis.set_yticks(range(len(CLASSES)), CLASSES, fontsize=7)
            names = [channel_name(c) if of_input_channels(place) else str(c) for c in chosen]
            step = max(1, len(names) // 16)
            axis.set_xticks(range(0, len(names), step), names[::step], fontsize=7)
            of = f" of {wide.shape[1]}" if wide.shape[1] > len(chosen) else ""
            axis.set_title(f"{_short(place)}: {len(chosen)}{of} channels", loc="left", fontsize=8)
            figure.colorbar(drawn, ax=axis, pad=0.01)
        note = "A class's mean score less the mean of the classes, by channel, whole test set."
        return finish(figure, f"Scores by class: {title}\n{note}", path)


def lost_against_score(group: Group, folder: Path) -> list[Path]:
    """The accuracy lost without a channel over its score and score x sd, a row a configuration."""
    if group.importance.empty:
        return []
    merged = group.importance.merge(group.runs, on="run")
    paths = []
    for (backbone, location), rows in merged.groupby(["backbone", "location"]):
        every = list(rows.groupby(CONFIGURATION, sort=False))
        with plt.rc_context(STYLE):
            size = (8, 2.7 * len(every) + 1)
            figure, axes = plt.subplots(len(every), 2, figsize=size, squeeze=False, sharey="row")
            for pair, (_, mine) in zip(axes, every, strict=True):
                _lost_panels(pair, mine, location)
            heading = (
                f"What is lost without a channel, against its score: {backbone}, {location}\n"
                f"{group.title}\nA point is a channel of a run, permuted among the test images."
            )
            path = folder / f"importance-{backbone}-{location}.png"
            paths.append(finish(figure, heading, path))
    return paths


def _lost_panels(axes, mine: pd.DataFrame, location: str):
    style = look(mine["attention"].iloc[0])
    scaled = mine["score"] * mine["sd"]
    for axis, x, name in zip(axes, (mine["score"], scaled), ("score", "score x sd"), strict=True):
        axis.axhline(0, color="0.6", linewidth=0.8)
        axis.plot(x, mine["lost"], style["marker"], color=style["color"], ms=3.5, alpha=0.6)
        axis.set_xlabel(f"{name} of the channel")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("points lost")
    runs = mine["run"].nunique()
    axes[0].set_title(
        f"{mine['attention'].iloc[0]}, {mine['data'].iloc[0]} (n={runs})", loc="left", fontsize=9
    )
    if location == "first":
        for channel, one in mine.groupby("channel"):
            at = (one["score"].mean(), one["lost"].mean())
            axes[0].annotate(
                channel_name(channel), at, fontsize=7, xytext=(4, 3), textcoords="offset points"
            )
