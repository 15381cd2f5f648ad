"""The figures of attention scores: input channels beside their pictures, and place by place."""

from pathlib import Path

import matplotlib.pyplot as plt

from attn.evaluation import POST_IMAGES
from attn.report.collect import Group
from attn.report.style import COLOURS, STYLE, finish
from attn.report.tables import definitions
from attn.scores import of_input_channels

POSTS = ("post", "mobilenet_v2", "cbam_channel", "rgb_noise")
# Scores over the post's number of images, and over the whole test set.
FEW = {"shift": -0.12, "fmt": "o", "color": COLOURS[1], "markerfacecolor": "white"}
ALL = {"shift": 0.12, "fmt": "s", "color": COLOURS[0]}


def of_group(group: Group, folder: Path) -> list[Path]:
    """A figure for each configuration with attention on its input channels; their paths."""
    if group.scores.empty:
        return []
    at_input = group.scores[group.scores["module"].map(of_input_channels)]
    scored = group.runs[group.runs["run"].isin(at_input["run"])]
    paths = []
    for key, runs in scored.groupby("configuration", sort=False):
        first = runs.iloc[0]
        mine = at_input[at_input["run"].isin(runs["run"])]
        final = mine[mine["epoch"] == mine["epoch"].max()]
        title = (
            f"{first['attention']} at first, {first['backbone']}, {first['data']}\n{group.title}\n"
            f"From left to right: seeds {', '.join(map(str, sorted(runs['seed'])))}."
        )
        path = folder / f"scores-{first['backbone']}-{first['attention']}-{first['data']}-{key}.png"
        of_input(group.example(first["run"]), runs, final, title, path, _published(group, first))
        paths.append(path)
    return paths


def _published(group: Group, run) -> list[float]:
    """The post's scores, for its own experiment alone."""
    own = (run["recipe"], run["backbone"], run["attention"], run["data"]) == POSTS
    return definitions()["noise"]["scores"] if own and group.source != "synthetic" else []


def of_input(pictures, runs, scores, title: str, path: Path, published=()):
    """Above, one test image's channels (C, S, S); below, each run's score of each channel.

    runs: run and seed; scores: run, channel, images, mean, sd.
    """
    channels, everything = len(pictures), scores["images"].max()
    names = [_name(channel) for channel in range(channels)]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(max(7, 1.6 * channels + 1), 5.8))
        grid = figure.add_gridspec(2, channels, height_ratios=[1, 2.2])
        means = scores[scores["images"] == everything].groupby("channel")["mean"].mean()
        for channel, picture in enumerate(pictures):
            above = figure.add_subplot(grid[0, channel])
            above.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            above.set_axis_off()
            above.set_title(f"{names[channel]}\n{means[channel]:.3f}", fontsize=10)
        below = figure.add_subplot(grid[1, :])
        for images, style in ((POST_IMAGES, FEW), (everything, ALL)):
            _points(below, runs, scores[scores["images"] == images], images, **style)
        if len(published) == channels:
            below.plot(range(channels), published, "k_", markersize=26, label="the post's")
        below.set_xticks(range(channels), names)
        below.set(xlim=(-0.5, channels - 0.5), ylim=(-0.02, 1.02), ylabel="attention score")
        below.grid(axis="y", alpha=0.3)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.09), "ncols": 3}
        below.legend(frameon=False, fontsize=8, **place)
        explained = (
            "Above each picture: mean over runs and the whole test set. Bars: sd over images."
        )
        finish(figure, f"Scores of the input channels: {title}\n{explained}", path)


def _points(axes, runs, scores, images: int, shift: float, **style):
    """The runs side by side: each one's mean score over the images, with their sd."""
    seeds = sorted(runs["seed"])
    for run, seed in zip(runs["run"], runs["seed"], strict=True):
        mine = scores[scores["run"] == run]
        spread = 0.2 * ((seeds.index(seed) + 0.5) / len(seeds) - 0.5)
        axes.errorbar(
            mine["channel"] + shift + spread,
            mine["mean"],
            yerr=mine["sd"],
            label=f"{images:,} test images, a point a run" if seed == seeds[0] else None,
            markersize=5,
            elinewidth=0.8,
            capsize=2,
            **style,
        )


def _name(channel: int) -> str:
    return "RGB"[channel] if channel < 3 else f"noise {channel - 2}"


def by_place(scores, title: str, path: Path):
    """A box for each place of attention: its channels' mean scores (columns module, mean)."""
    modules = list(dict.fromkeys(scores["module"]))
    means = [scores.loc[scores["module"] == module, "mean"] for module in modules]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, max(3, 0.32 * len(modules) + 1.8)))
        axes.boxplot(means, orientation="horizontal", tick_labels=modules, sym=".")
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("mean score of a channel over the whole test set")
        axes.grid(axis="x", alpha=0.3)
        finish(figure, f"Scores by place\n{title}", path)
