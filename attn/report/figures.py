"""The figures: accuracy over epochs, and the scores of the input channels beside their pictures."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from attn.report.collect import Group
from attn.report.tables import select

# Okabe and Ito's colours, told apart by colour-blind readers and in print.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
INPUT = "seams.input"
POST_IMAGES = 64
PUBLISHED_SCORES = [0.9846477, 0.96408206, 0.91101015, 0.00664441, 0.0050977, 0.00696521]
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}


def save(figure, path: Path):
    figure.savefig(path)
    plt.close(figure)


def accuracy_over_epochs(group: Group, definitions: dict, path: Path) -> list[Path]:
    """A panel for each table that has runs: a seed is a thin line, the seeds' mean a thick one."""
    shown = [d for d in definitions.values() if _any_runs(group, d)]
    if not shown:
        return []
    with plt.rc_context(STYLE):
        size = (5 * len(shown), 4)
        figure, panels = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False)
        panels = panels[0]
        for panel, definition in zip(panels, shown, strict=True):
            for colour, row in zip(COLOURS, definition["rows"], strict=False):
                _curves(panel, group, select(group.runs, row), row["model"], colour)
            panel.set_title(definition["title"], loc="left")
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.3)
            panel.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("test accuracy, %")
        title = f"Accuracy over epochs\n{group.title}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        save(figure, path)
    return [path]


def _any_runs(group, definition) -> bool:
    return any(len(select(group.runs, row)) for row in definition["rows"])


def _curves(panel, group, runs, model, colour):
    """One model's curves; backbones are told apart by the line's style."""
    styles = ["-", "--", ":"]
    several = group.runs["backbone"].nunique() > 1
    for style, (backbone, seeds) in zip(styles, runs.groupby("backbone"), strict=False):
        curves = group.epochs[group.epochs["run"].isin(seeds["run"])]
        wide = 100 * curves.pivot(index="epoch", columns="run", values="test_accuracy")
        epochs = wide.index + 1
        panel.plot(epochs, wide, style, color=colour, linewidth=0.7, alpha=0.5)
        name = f"{model}, {backbone}" if several else model
        mean = wide.mean(axis=1)
        panel.plot(epochs, mean, style, color=colour, label=f"{name} (n={len(seeds)})", linewidth=2)


def input_scores(group: Group, folder: Path) -> list[Path]:
    """A figure for each configuration with attention on its input channels; their paths."""
    if group.scores.empty:
        return []
    at_input = group.scores[group.scores["module"] == INPUT]
    scored = group.runs[group.runs["run"].isin(at_input["run"])]
    paths = []
    for key, runs in scored.groupby("configuration", sort=False):
        first = runs.iloc[0]
        name = f"scores-{first['backbone']}-{first['attention']}-{first['data']}-{key}.png"
        _score_figure(group, runs, at_input, folder / name)
        paths.append(folder / name)
    return paths


def _score_figure(group, runs, scores, path):
    """Above, one test image's channels; below, each seed's score of each channel."""
    pictures = group.example(runs["run"].iloc[0])
    channels = len(pictures)
    final = scores[scores["run"].isin(runs["run"]) & (scores["epoch"] == scores["epoch"].max())]
    everything = final["images"].max()
    published = group.recipe == "post" and channels == len(PUBLISHED_SCORES)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(1.6 * channels + 1, 5.6))
        grid = figure.add_gridspec(2, channels, height_ratios=[1, 2.2])
        below = figure.add_subplot(grid[1, :])
        for colour, images, marker in (
            (COLOURS[1], POST_IMAGES, "o"),
            (COLOURS[0], everything, "s"),
        ):
            _score_points(below, runs, final[final["images"] == images], images, colour, marker)
        if published:
            below.plot(range(channels), PUBLISHED_SCORES, "k_", markersize=26, label="the post's")
        means = final[final["images"] == everything].groupby("channel")["mean"]
        for channel, picture in enumerate(pictures):
            above = figure.add_subplot(grid[0, channel])
            above.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            above.set_axis_off()
            above.set_title(f"{_channel_name(channel)}\n{means.mean()[channel]:.3f}", fontsize=10)
        below.set_xticks(range(channels), [_channel_name(c) for c in range(channels)])
        below.set_xlim(-0.5, channels - 0.5)
        below.set_ylim(-0.02, 1.02)
        below.set_ylabel("attention score")
        below.grid(axis="y", alpha=0.3)
        below.legend(
            frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3
        )
        figure.suptitle(_score_title(group, runs), x=0.01, ha="left", fontsize=10)
        save(figure, path)


def _score_title(group, runs):
    first = runs.iloc[0]
    return (
        f"Scores of the input channels: {first['attention']} at first, {first['backbone']}\n"
        f"{group.title}\n"
        "Above each picture: mean over seeds and the whole test set. Bars: sd over images.\n"
        f"From left to right: seeds {', '.join(map(str, sorted(runs['seed'])))}."
    )


def _score_points(axes, runs, scores, images, colour, marker):
    """Each seed side by side: its mean score over the images, with their sd."""
    seeds = sorted(runs["seed"])
    shift = 0.12 if images == POST_IMAGES else -0.12
    for run, seed in zip(runs["run"], runs["seed"], strict=True):
        mine = scores[scores["run"] == run]
        spread = 0.2 * ((seeds.index(seed) + 0.5) / len(seeds) - 0.5)
        label = f"{images:,} test images, a point a seed" if seed == seeds[0] else None
        axes.errorbar(
            mine["channel"] + shift + spread,
            mine["mean"],
            yerr=mine["sd"],
            fmt=marker,
            color=colour,
            markersize=5,
            markerfacecolor="white" if images == POST_IMAGES else colour,
            elinewidth=0.8,
            capsize=2,
            label=label,
        )


def _channel_name(channel: int) -> str:
    return "RGB"[channel] if channel < 3 else f"noise {channel - 2}"
