"""The figures of attention scores: of input channels, of every place, and of gate health."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attn.names import COLOURS, POST_IMAGES, channel_name, of_input_channels, restriction
from attn.report.claims import Table, values_of
from attn.report.figures.style import NOISE, STYLE, channel_colour, finish, look, whole_numbers
from attn.report.group import CONFIGURATION, Group, with_variant

# Scores over the post's number of images, and over the whole test set.
FEW = {"shift": -0.12, "fmt": "o", "markerfacecolor": "white"}
ALL = {"shift": 0.12, "fmt": "s"}
WIDE = 512  # pixels of a heat map's row
MOST_PANELS = 9  # of heat maps in a figure


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
        if picture is not None:
            listed = ", ".join(map(str, sorted(runs["seed"])))
            seeds = f"From left to right: seeds {listed}." if len(runs) > 1 else f"Seed {listed}."
            final = mine[mine["epoch"] == mine["epoch"].max()]
            path, known = folder / f"scores-{name}", _published(group, first, tables)
            paths.append(of_input(picture, runs, final, title, path, known, seeds))
        paths.append(over_epochs(runs, mine, title, folder / f"scores-epochs-{name}"))
    return paths


def _published(group: Group, run, tables: list[Table]) -> list[float]:
    """Returns the published scores for runs of their own experiment; empty for other runs."""
    for table in tables:
        if not table.scores or not group.comparable:
            continue
        row = table.row(table.scores["row"])
        own = (run["recipe"], run["backbone"]) == (table.recipe, table.backbone)
        if own and all(run[key] == value for key, value in row.columns.items()):
            return table.scores["values"]
    return []


def of_input(pictures, runs, scores, title: str, path: Path, published=(), note="") -> Path:
    """Draws one test image's channels (C, S, S) above each run's score of each channel.

    `runs` has the columns run, seed and attention. `scores` has the columns run, channel, images,
    mean and sd.
    """
    channels, everything = len(pictures), scores["images"].max()
    names = [channel_name(channel) for channel in range(channels)]
    colour = look(runs["attention"].iloc[0])["color"]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(max(7, 1.6 * channels + 1), 5.8))
        grid = figure.add_gridspec(2, channels, height_ratios=[1, 2.2])
        means = scores[scores["images"] == everything].groupby("channel")["mean"].mean()
        for channel, picture in enumerate(pictures):
            above = figure.add_subplot(grid[0, channel])
            above.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            above.set_axis_off()
            title_colour = channel_colour(names[channel])
            above.set_title(
                f"{names[channel]}\n{means[channel]:.3f}", fontsize=10, color=title_colour
            )
        below = figure.add_subplot(grid[1, :])
        for images, style in ((POST_IMAGES, FEW), (everything, ALL)):
            _points(below, runs, scores[scores["images"] == images], images, color=colour, **style)
        if len(published) == channels:
            below.plot(range(channels), published, "k_", markersize=26, label="the post's")
        below.set_xticks(range(channels), names)
        below.set(xlim=(-0.5, channels - 0.5), ylim=(-0.02, 1.02), ylabel="attention score")
        below.grid(axis="y", alpha=0.3)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.09), "ncols": 3}
        below.legend(frameon=False, fontsize=8, **place)
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
    with plt.rc_context(STYLE):
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
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        note = f"Thin: a seed (n={len(runs)}). Thick: their mean. Epoch 0: untrained."
        return finish(figure, f"Scores over epochs: {title}", path, note)


def by_rank(group: Group, folder: Path) -> list[Path]:
    """Draws the scores of the final features, highest first, a line for each run.

    There is a figure for each backbone, with a panel for each data.
    """
    runs = group.runs[group.runs["run"].isin(list(group.ranked))]
    paths = []
    for backbone, mine in runs.groupby("backbone"):
        panels = list(mine.groupby("data"))
        with plt.rc_context(STYLE):
            size = (1.5 + 5.5 * len(panels), 4.4)
            figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=True)
            for axis, (data, rows) in zip(axes[0], panels, strict=True):
                for _, alike in rows.groupby(CONFIGURATION, sort=False):
                    _ranks(axis, alike, group.ranked)
                axis.set_title(data, loc="left", fontsize=10)
                axis.set_xlabel("channel, by its score")
                axis.grid(alpha=0.3)
                axis.legend(frameon=False, fontsize=8)
            axes[0, 0].set_ylabel("mean score over the test set")
            heading = f"Scores of the final features: {backbone}, attention at last\n{group.title}"
            path = folder / f"scores-ranked-{backbone}.png"
            paths.append(finish(figure, heading, path, "A line a run, its highest score first."))
    return paths


def _ranks(axis, runs: pd.DataFrame, ranked: dict):
    first = runs.iloc[0]
    name = f"{with_variant(first['attention'], first['variant'])} (n={len(runs)})"
    for run in runs["run"]:
        scores, colour = ranked[run].astype(float), look(first["attention"])["color"]
        axis.plot(np.arange(1, len(scores) + 1), scores, color=colour, linewidth=1, label=name)
        name = None  # in the legend once


def by_layer(group: Group, folder: Path) -> list[Path]:
    """Draws heat maps for per_block and per_stage, by backbone and location, MOST_PANELS a figure.

    A panel is a configuration. A row is a place, with its channels in the order of their scores.
    """
    if group.scores.empty:
        return []
    inner = group.runs[group.runs["location"].isin(["per_block", "per_stage"])]
    shown = inner[inner["run"].isin(group.scores["run"])]
    paths = []
    for (backbone, location), runs in shown.groupby(["backbone", "location"]):
        panels = [
            (_panel_title(runs.loc[i]), _rows_of(group.scores[group.scores["run"] == run]))
            for i, run in runs["run"].items()
        ]
        title = f"Scores by place and channel: {backbone}, {location}\n{group.title}"
        for page in range(0, len(panels), MOST_PANELS):
            number = f"-{page // MOST_PANELS + 1}" if len(panels) > MOST_PANELS else ""
            path = folder / f"scores-layers-{backbone}-{location}{number}.png"
            paths.append(heat_maps(panels[page : page + MOST_PANELS], title, path))
    return paths


def _panel_title(run) -> str:
    data = "" if run["data"] == "rgb" else f", {run['data']}"
    name = with_variant(run["attention"] + restriction(run["stages"]), run["variant"])
    return f"{name}{data}, seed {run['seed']}"


def _rows_of(scores: pd.DataFrame) -> dict:
    return {
        module: np.sort(rows["mean"].to_numpy())[::-1]
        for module, rows in scores.groupby("module", sort=False)
    }


def heat_maps(panels: list[tuple], title: str, path: Path) -> Path:
    """Draws a panel for each (name, {place: its channels' mean scores, highest first}).

    All rows have the same width, however many channels they have.
    """
    columns = min(3, len(panels))
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [0.6 + 0.16 * max(len(rows) for _, rows in line) for line in lines]
    with plt.rc_context(STYLE):
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
            axis.set_title(name, loc="left", fontsize=8)
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
    """Draws first and last mean score, spread and saturation of the gates at a location."""
    several = gates["backbone"].nunique() > 1
    names = [_health_name(row, several) for row in gates.itertuples()]
    at = np.arange(len(names))
    with plt.rc_context(STYLE):
        size = (10, 0.24 * len(names) + 1.8)
        figure, axes = plt.subplots(1, 3, figsize=size, sharey=True, width_ratios=[2, 1, 1])
        for y, row in zip(at, gates.itertuples(), strict=True):
            style = look(row.attention)
            axes[0].plot([row.first, row.last], [y, y], color=style["color"], linewidth=1.5)
            axes[0].plot(row.first, y, ms=5, **style, mfc="white")
            axes[0].plot(row.last, y, ms=5, **style)
            axes[1].barh(y, row.spread, color=style["color"])
            axes[2].barh(y, row.saturated, color=style["color"])
        axes[0].axvline(0.5, color=NOISE, linewidth=0.8, linestyle=":")
        axes[0].set_yticks(at, names, fontsize=7)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        axes[0].set_xlabel("mean score: hollow untrained, filled trained")
        axes[1].set_xlabel("sd over images")
        axes[2].set_xlabel("saturated share")
        axes[2].set_xlim(0, 1)
        for axis in axes:
            axis.grid(axis="x", alpha=0.3)
        note = "Means over channels, places and seeds. Saturated: below 0.05 or above 0.95."
        return finish(figure, heading, folder / f"health-{location}.png", note)


def _health_name(row, several: bool) -> str:
    words = [row.backbone] if several else []
    words += [with_variant(row.attention + restriction(row.stages), row.variant)]
    words += [row.data] if row.data != "rgb" else []
    words += [row.part] if row.part != "gate" else []
    return f"{', '.join(words)} (n={row.n})"


def by_place(scores, title: str, path: Path) -> Path:
    """Draws a box for each place of attention, of the mean scores of its channels.

    `scores` has the columns module and mean.
    """
    modules = list(dict.fromkeys(scores["module"]))
    means = [scores.loc[scores["module"] == module, "mean"] for module in modules]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, max(3, 0.32 * len(modules) + 1.8)))
        axes.boxplot(means, orientation="horizontal", tick_labels=modules, sym=".")
        axes.invert_yaxis()
        axes.set_xlim(0, max(1, scores["mean"].max()))
        axes.set_xlabel("mean score of a channel over the whole test set")
        axes.grid(axis="x", alpha=0.3)
        return finish(figure, f"Scores by place\n{title}", path)


def by_noise(separation: pd.DataFrame, title: str, folder: Path) -> list[Path]:
    """Draws how well scores tell colours from noise, over the number of noise channels.

    `separation` is the table of that name. There is a figure for each backbone on which several
    kinds or numbers of noise were tried, with a panel for each kind and a line for each mechanism.
    """
    if separation.empty:
        return []
    noise = pd.DataFrame([_noise_of(data) for data in separation["data"]], index=separation.index)
    paths = []
    for backbone, rows in separation.join(noise).groupby("backbone"):
        kinds = list(rows.groupby("kind", sort=False))
        if rows["data"].nunique() < 2:
            continue
        with plt.rc_context(STYLE):
            size = (1.6 + 2.3 * len(kinds), 4.6)
            grid = {"sharex": True, "sharey": "row", "squeeze": False}
            figure, axes = plt.subplots(2, len(kinds), figsize=size, **grid)
            for pair, (kind, mine) in zip(axes.T, kinds, strict=True):
                for axis, metric in zip(pair, ("noise_auc", "precision"), strict=True):
                    _noise_panel(axis, mine, metric)
                pair[0].set_title(kind, loc="left", fontsize=9)
                pair[1].set_xlabel("noise channels")
            axes[0, 0].set_ylabel("AUC")
            axes[1, 0].set_ylabel("precision at 3")
            place = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
            axes[0, -1].legend(frameon=False, fontsize=8, **place)
            note = "Bars: 95% intervals over seeds. Dotted: by chance."
            heading = f"Colours from noise by their scores: {backbone}\n{title}"
            paths.append(finish(figure, heading, folder / f"noise-{backbone}.png", note))
    return paths


def _noise_of(data: str) -> dict:
    """Returns the number and the kind of the noise channels that a label of data names."""
    values = values_of("data", data)
    size = values["noise.size"]
    kind = values["noise.kind"] if size is None else f"{values['noise.kind']}, size {size}"
    return {"count": values["noise.channels"], "kind": kind}


def _noise_panel(axis, rows: pd.DataFrame, metric: str):
    for (attention, variant), mine in rows.groupby(["attention", "variant"], sort=False):
        mine = mine.sort_values("count")
        ends = [mine[metric] - mine[f"{metric}_low"], mine[f"{metric}_high"] - mine[metric]]
        half = [end.fillna(0) for end in ends]
        axis.errorbar(
            mine["count"],
            mine[metric],
            yerr=half,
            label=with_variant(attention, variant),
            **look(attention),
        )
    counts = sorted(set(rows["count"]))
    chance = [0.5 if metric == "noise_auc" else COLOURS / (COLOURS + count) for count in counts]
    axis.plot(counts, chance, color="0.6", linestyle=":", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set_ylim(-0.05, 1.05)
    axis.grid(alpha=0.3)


def as_png(channel: np.ndarray) -> bytes:
    """Returns one input channel (S, S) uint8 as a grey PNG file."""
    buffer = io.BytesIO()
    options = {"cmap": "gray", "format": "png", "metadata": {"Software": None}}
    plt.imsave(buffer, channel, vmin=0, vmax=255, **options)
    return buffer.getvalue()
