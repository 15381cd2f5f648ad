"""The figures of the input channels' scores: beside pictures, over epochs, by noise."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from attn.evidence.claims import Table, noise_of, published_scores
from attn.evidence.group import CONFIGURATION, Group
from attn.evidence.variants import with_variant
from attn.names import COLOURS, POST_IMAGES, channel_name, of_input_channels
from attn.report.figures.style import channel_colour, finish, look, looks, whole_numbers

# Scores over the post's number of images, and over the whole test set.
FEW = {"shift": -0.12, "fmt": "o", "markerfacecolor": "white"}
ALL = {"shift": 0.12, "fmt": "s"}


def of_inputs(group: Group, tables: list[Table], folder: Path) -> list[Path]:
    """Draws two figures for each configuration with attention on its input channels.

    The first figure shows the scores at the end, beside the channels' pictures. The second figure
    shows the scores over the epochs.
    """
    if group.scores.empty:
        return []
    at_input = group.scores[group.scores["module"].map(of_input_channels)]
    scored = group.runs[group.runs["run"].isin(at_input["run"])]
    paths = []
    for _, runs in scored.groupby(CONFIGURATION, sort=False):
        first = runs.iloc[0]
        key = first["configuration"]
        mine = at_input[at_input["run"].isin(runs["run"])]
        words = [first[column] for column in ("backbone", "attention", "data")]
        name = f"{'-'.join([*words, key])}.png".replace("=", "")
        what = with_variant(f"{words[1]} at first", first["variant"])
        title = f"{what}, {words[0]}, {words[2]}\n{group.title}"
        picture = group.pictures.get(f"example/{key}")
        channels = mine["channel"].nunique()  # 1 where a mechanism scores positions alone
        if picture is not None and len(picture) == channels:
            listed = ", ".join(map(str, sorted(runs["seed"])))
            seeds = f"From left to right: seeds {listed}." if len(runs) > 1 else f"Seed {listed}."
            final = mine[mine["epoch"] == mine["epoch"].max()]
            path, known = folder / f"scores-{name}", published_scores(group, first, tables)
            paths.append(of_input(picture, runs, final, title, path, known, seeds))
        paths.append(over_epochs(runs, mine, title, folder / f"scores-epochs-{name}"))
    return paths


def of_input(pictures, runs, scores, title: str, path: Path, published=(), note="") -> Path:
    """Draws one test image's channels (C, S, S) above each run's score of each channel.

    `runs` has the columns run, seed and attention. `scores` has the columns run, channel, images,
    mean and sd.
    """
    channels, everything = len(pictures), scores["images"].max()
    names = [channel_name(channel) for channel in range(channels)]
    colour = look(runs["attention"].iloc[0])["color"]
    figure = plt.figure(figsize=(max(7, 1.6 * channels + 1), 5.8))
    grid = figure.add_gridspec(2, channels, height_ratios=[1, 2.2])
    means = scores[scores["images"] == everything].groupby("channel")["mean"].mean()
    for channel, picture in enumerate(pictures):
        above = figure.add_subplot(grid[0, channel])
        above.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        above.set_axis_off()
        text = f"{names[channel]}\n{means[channel]:.3f}"
        above.set_title(text, loc="center", color=channel_colour(names[channel]))
    below = figure.add_subplot(grid[1, :])
    for images, style in ((POST_IMAGES, FEW), (everything, ALL)):
        _points(below, runs, scores[scores["images"] == images], images, color=colour, **style)
    if len(published) == channels:
        below.plot(range(channels), published, "k_", markersize=26, label="the post's")
    below.set_xticks(range(channels), names)
    below.set(xlim=(-0.5, channels - 0.5), ylim=(-0.02, 1.02), ylabel="attention score")
    below.grid(axis="y")
    below.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3)
    explained = "Above a picture: mean over runs and the whole test set. Bars: sd over images."
    heading = f"Scores of the input channels: {title}"
    return finish(figure, heading, path, f"{explained} {note}".rstrip())


def _points(axes, runs, scores, images: int, shift: float, **style):
    """Draws the runs side by side: each run's mean scores over the images, with their sd."""
    seeds = sorted(runs["seed"])
    for run, seed in zip(runs["run"], runs["seed"], strict=True):
        mine = scores[scores["run"] == run]
        spread = 0.2 * ((seeds.index(seed) + 0.5) / len(seeds) - 0.5)
        axes.errorbar(
            mine["channel"] + shift + spread,
            mine["mean"],
            yerr=mine["sd"],
            label=f"{images:,} test images, a point a run" if seed == seeds[0] else None,
            markersize=5 if len(seeds) < 6 else 3,
            elinewidth=0.8,
            capsize=2 if len(seeds) < 6 else 0,
            **style,
        )


def over_epochs(runs, scores, title: str, path: Path) -> Path:
    """Draws each input channel's score over epochs: thin for a seed, thick for the seeds' mean.

    Epoch 0 is the untrained network.
    """
    counts = scores.groupby("epoch")["images"].max()
    scores = scores[scores["images"] == scores["epoch"].map(counts)]
    figure, axis = plt.subplots(figsize=(7, 4.2))
    for channel, mine in scores.groupby("channel"):
        name = channel_name(channel)
        colour = channel_colour(name)
        wide = mine.pivot(index="epoch", columns="run", values="mean")
        line = "-" if channel < COLOURS else ["--", ":", "-."][(channel - COLOURS) % 3]
        axis.plot(wide.index + 1, wide, line, color=colour, linewidth=0.5, alpha=0.4)
        mean = wide.mean(axis=1)
        axis.plot(wide.index + 1, mean, line, color=colour, linewidth=2.2, label=name)
    axis.set(ylim=(-0.02, 1.02), xlabel="epoch", ylabel="attention score")
    whole_numbers(axis)
    axis.grid()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    note = f"Thin: a seed (n={len(runs)}). Thick: their mean. Epoch 0: untrained."
    return finish(figure, f"Scores over epochs: {title}", path, note)


def by_noise(separation: pd.DataFrame, title: str, folder: Path) -> list[Path]:
    """Draws how well scores tell colours from noise, over the number of noise channels.

    `separation` is the table of that name. There is a figure for each backbone on which several
    kinds or numbers of noise were tried, with a panel for each kind and a line for each mechanism.
    """
    if separation.empty or separation["data"].nunique() < 2:
        return []
    noise = pd.DataFrame([noise_of(data) for data in separation["data"]], index=separation.index)
    paths = []
    for backbone, rows in separation.join(noise).groupby("backbone"):
        kinds = list(rows.groupby("kind", sort=False))
        if rows["data"].nunique() < 2:
            continue
        size = (1.6 + 2.3 * len(kinds), 4.6)
        grid = {"sharex": True, "sharey": "row", "squeeze": False}
        figure, axes = plt.subplots(2, len(kinds), figsize=size, **grid)
        names = list(rows.groupby(["attention", "variant"], sort=False).groups)
        styles = dict(zip(names, looks([attention for attention, _ in names]), strict=True))
        for pair, (kind, mine) in zip(axes.T, kinds, strict=True):
            for axis, metric in zip(pair, ("noise_auc", "precision"), strict=True):
                _noise_panel(axis, mine, metric, styles)
            pair[0].set_title(kind, fontsize=9)
            pair[1].set_xlabel("noise channels")
        axes[0, 0].set_ylabel("AUC")
        axes[1, 0].set_ylabel("precision at 3")
        lines = [axis.get_legend_handles_labels() for axis in axes[0]]
        named = {label: line for panel in lines for line, label in zip(*panel, strict=True)}
        axes[0, -1].legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(1, 1))
        note = "Bars: 95% intervals over seeds. Dotted: by chance."
        heading = f"Colours from noise by their scores: {backbone}\n{title}"
        paths.append(finish(figure, heading, folder / f"noise-{backbone}.png", note))
    return paths


def _noise_panel(axis, rows: pd.DataFrame, metric: str, styles: dict):
    for (attention, variant), mine in rows.groupby(["attention", "variant"], sort=False):
        mine = mine.sort_values("count")
        ends = [mine[metric] - mine[f"{metric}_low"], mine[f"{metric}_high"] - mine[metric]]
        half = [end.fillna(0) for end in ends]
        axis.errorbar(
            mine["count"],
            mine[metric],
            yerr=half,
            label=with_variant(attention, variant),
            **styles[attention, variant],
        )
    counts = sorted(set(rows["count"]))
    chance = [0.5 if metric == "noise_auc" else COLOURS / (COLOURS + count) for count in counts]
    axis.plot(counts, chance, color="0.6", linestyle=":", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set_ylim(-0.05, 1.05)
    axis.grid()
