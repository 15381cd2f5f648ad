"""Summarises scores over seeds: of colours and noise, of a channel's worth, of a gate's health."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from attn import stats
from attn.evidence import frozen
from attn.evidence.claims import SCORES
from attn.evidence.group import CONFIGURATION, Group, by_configuration, estimate_columns
from attn.names import COLOURS, channel_name, of_input_channels

NEAREST = 1e-7  # to 0 and 1, that a score counts as: in float32 a gate may reach either
EXTREME = math.log((1 - NEAREST) / NEAREST)  # that score's logit
BOUNDS = {  # where the metrics of scores can be
    "noise_auc": (0, 1),
    "score_gap": (-1, 1),
    "lowest_colour": (-EXTREME, EXTREME),
    "highest_noise": (-EXTREME, EXTREME),
    "input_contrast": (-math.inf, math.inf),
    "frozen_change": (-100, 100),
}


def with_metrics(group: Group) -> pd.DataFrame:
    """Returns the runs with the metrics of scores and added_parameters.

    Four metrics come from each input channel's mean score over the whole test set. They are NaN
    where a run scores no noise. noise_auc says how well the score separates colours from noise
    channels (1 perfectly, 0.5 not at all). score_gap is the lowest colour's score minus the highest
    noise's. lowest_colour and highest_noise are the logits of these two scores.

    input_contrast is that of _contrast. frozen_change is the points by which freezing all gates
    changes the accuracy. added_parameters counts the parameters above
    those of the same backbone on the same data without attention. It is NaN where no such network
    was run.
    """
    scores = end_scores(group)
    means, norms = _by_run(scores, "mean"), _by_run(group.stem, "norm")
    multiplies = [not name.endswith(".shares") for name in scores["module"]]
    gates = _by_run(scores[multiplies], "mean")
    changes = frozen.change(group)
    rows = [
        _of_scores(means.get(run))
        | {"input_contrast": _contrast(at, gates.get(run), norms.get(run))}
        | {"frozen_change": changes.get(run, math.nan)}
        for run, at in zip(group.runs["run"], group.runs["location"], strict=True)
    ]
    metrics = pd.DataFrame(rows, columns=list(SCORES), index=group.runs.index, dtype=float)
    runs = group.runs.assign(**metrics)
    plain = runs["parameters"].where(runs["location"] == "none")
    without = plain.groupby([runs["backbone"], runs["data"]]).transform("first")
    return runs.assign(added_parameters=runs["parameters"] - without)


def _by_run(frame: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """Returns each run's values of a column, in the order of the channels."""
    if frame.empty:
        return {}
    rows = frame.sort_values("channel").groupby("run")[column]
    return {run: values.to_numpy() for run, values in rows}


def _of_scores(means: np.ndarray | None) -> dict[str, float]:
    """Returns the metrics of how far the scores of colours and of noise channels lie apart."""
    if means is None or len(means) <= COLOURS:
        return {}
    lowest, highest = means[:COLOURS].min(), means[COLOURS:].max()
    return {
        "noise_auc": stats.auc(means[:COLOURS], means[COLOURS:]),
        "score_gap": lowest - highest,
        "lowest_colour": _logit(lowest),
        "highest_noise": _logit(highest),
    }


def _logit(score: float) -> float:
    score = np.clip(score, NEAREST, 1 - NEAREST)
    return math.log(score / (1 - score))


def _contrast(location: str, means: np.ndarray | None, norms: np.ndarray | None) -> float:
    """Returns how much more of the weakest colour than of the strongest noise enters a network.

    The result is the logarithm of their ratio. How strongly a channel enters is the norm of the
    first convolution's filters, times the channel's mean score where attention stands at the input.
    The result is NaN without noise channels, without norms, and where attention at the input does
    not score each channel.
    """
    if norms is None or len(norms) <= COLOURS:
        return math.nan
    if location == "first":
        if means is None or len(means) != len(norms):
            return math.nan
        norms = norms * np.clip(means, NEAREST, 1 - NEAREST)
    return math.log(norms[:COLOURS].min() / norms[COLOURS:].max())


def end_scores(group: Group) -> pd.DataFrame:
    """Returns the input channels' scores after the last epoch, over the whole test set."""
    if group.scores.empty:
        return pd.DataFrame(columns=["run", "module", "channel", "mean"])
    scores = group.scores[group.scores["module"].map(of_input_channels)]
    for column in ("epoch", "images"):
        scores = scores[scores[column] == scores.groupby("run")[column].transform("max")]
    return scores


def separation(group: Group) -> pd.DataFrame:
    """Returns how well the scores of the input tell colours from noise, over seeds."""
    measured = with_metrics(group).dropna(subset=["noise_auc"])
    means = end_scores(group)
    rows = []
    for names, runs in by_configuration(measured):
        row = {name: names[name] for name in ("backbone", "data", "attention", "variant")}
        row["n"] = len(runs)
        for name in ("noise_auc", "score_gap"):
            found = stats.within(stats.estimate(runs[name]), BOUNDS[name])
            row |= estimate_columns(name, found)
        mine = means[means["run"].isin(runs["run"])]
        among = [_colours_among_highest(scores) for _, scores in mine.groupby("run")]
        row |= estimate_columns("precision", stats.within(stats.estimate(among), (0, 1)))
        noise = mine["channel"] >= COLOURS
        row |= {"colours": mine["mean"][~noise].mean(), "noise": mine["mean"][noise].mean()}
        row["runs"] = " ".join(runs["run"])
        rows.append(row)
    return pd.DataFrame(rows)


def _colours_among_highest(scores: pd.DataFrame) -> float:
    """Returns the share of colours among as many channels of the highest mean scores.

    Channels that tie for the last of these places share them.
    """
    last = scores["mean"].nlargest(COLOURS).iloc[-1]
    colour, above, tied = scores["channel"] < COLOURS, scores["mean"] > last, scores["mean"] == last
    return (colour[above].sum() + (COLOURS - above.sum()) * colour[tied].mean()) / COLOURS


def importance(group: Group) -> pd.DataFrame:
    """Returns how well scores rank channels by what is lost without them, over seeds.

    The measure is Spearman's correlation. A single run has the correlation's own interval. Several
    runs have the t-interval of their correlations.
    """
    if group.importance.empty:
        return pd.DataFrame()
    merged = group.importance.merge(group.runs, on="run")
    rows = []
    for names, mine in by_configuration(merged, "module"):
        row = {
            k: names[k] for k in ("backbone", "data", "location", "attention", "variant", "module")
        }
        row |= {"n": mine["run"].nunique(), "channels": mine["channel"].nunique()}
        scaled = mine.assign(scaled=mine["score"] * mine["sd"])
        for name, column in (("score", "score"), ("score_x_sd", "scaled"), ("sd", "sd")):
            found = _over_runs(scaled, column)
            row |= estimate_columns(name, found) | {f"{name}_n": found.n}
        rows.append(row | {"runs": " ".join(mine["run"].unique())})
    return pd.DataFrame(rows)


def _over_runs(rows: pd.DataFrame, column: str) -> stats.Estimate:
    each = [stats.rank_correlation(run[column], run["lost"]) for _, run in rows.groupby("run")]
    if len(each) == 1:
        return replace(each[0], n=int(not math.isnan(each[0].mean)))
    return stats.within(stats.estimate([e.mean for e in each if not math.isnan(e.mean)]), (-1, 1))


def gates(group: Group) -> pd.DataFrame:
    """Returns gate health: what each configuration's scores were at first and what they became."""
    if group.health.empty:
        return pd.DataFrame()
    frame = group.runs[["run", *CONFIGURATION]].merge(group.health, on="run")
    alike = frame.groupby([*CONFIGURATION, "part"], sort=False)
    numbers = alike.mean(numeric_only=True)
    numbers.insert(0, "n", alike.size())
    runs = alike["run"].agg(" ".join).rename("runs")
    return numbers.join(runs).reset_index().drop(columns="configuration")


def input_channels(group: Group) -> pd.DataFrame:
    """Returns the scores of input channels over seeds, a row for each configuration and channel."""
    means = end_scores(group).merge(group.runs[["run", *CONFIGURATION]], on="run")
    rows = []
    for names, mine in by_configuration(means, "channel"):
        found = stats.within(stats.estimate(mine["mean"]), (0, 1))
        row = {k: names[k] for k in ("backbone", "data", "attention", "variant")}
        row |= {"channel": channel_name(names["channel"]), "n": found.n, "score": found.mean}
        row |= {"sd": found.sd, "low": found.low, "high": found.high}
        rows.append(row | {"runs": " ".join(mine["run"])})
    return pd.DataFrame(rows)
