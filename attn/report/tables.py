"""The tables: accuracies with their intervals and costs, scores of noise, gate health."""

import math
from dataclasses import replace

import pandas as pd

from attn import stats
from attn.names import COLOURS
from attn.report.claims import Row, Table
from attn.report.group import CONFIGURATION, PAIR, Group, by_pair, with_variant
from attn.report.verdicts import (
    BOUNDS,
    end_scores,
    missing,
    one_configuration,
    with_metrics,
)


def accuracy(group: Group, table: Table) -> pd.DataFrame:
    """One of the tables, a row for each backbone and model; accuracies in percent.

    A model that was not run has n = 0; a backbone with fewer than two models is left out. The
    published column is there for the table's own recipe and backbone alone, and never for synthetic
    data.
    """
    rows = []
    for backbone, runs in with_best_epoch(group).groupby("backbone", sort=True):
        published = (group.recipe, backbone) == (table.recipe, table.backbone)
        baseline = one_configuration(table.row(table.baseline).of(runs))
        mine = []
        for row in table.rows:
            for label, chosen in configurations_of(row, runs):
                entry = {"backbone": backbone, "model": label, **_summary(chosen, baseline)}
                if published and group.source != "synthetic":
                    entry["published"] = row.published
                entry["missing"] = "; ".join(missing(group, backbone, row, _seeds(table, runs)))
                entry["runs"] = " ".join(chosen["run"])
                mine.append(entry)
        if sum(entry["n"] > 0 for entry in mine) > 1:
            rows += _mark_best(mine, group.runs)
    return pd.DataFrame(rows)


def with_best_epoch(group: Group) -> pd.DataFrame:
    """Returns the runs with `best_epoch`, the highest accuracy that any of their epochs had.

    It is chosen on the test set, and of epochs that tested fewer images of those.
    """
    if group.epochs.empty:
        return group.runs.assign(best_epoch=math.nan)
    best = group.epochs.groupby("run")["test_accuracy"].max()
    return group.runs.assign(best_epoch=group.runs["run"].map(best))


def environments(group: Group) -> pd.DataFrame:
    """Returns the level of networks without attention in each environment, if there are several.

    A difference is taken within an environment alone.
    """
    if group.runs["environment"].nunique() < 2:
        return pd.DataFrame()
    rows = []
    for (environment, backbone), runs in group.runs.groupby(["environment", "backbone"]):
        for data, alike in runs.groupby("data"):
            plain = one_configuration(alike[alike["location"] == "none"])
            found = stats.estimate(100 * plain["test_accuracy"])
            row = {"environment": environment, "backbone": backbone, "data": data}
            row |= {"count": len(alike), "n": found.n, "mean": found.mean}
            row |= {"low": found.low, "high": found.high, "runs": " ".join(alike["run"])}
            rows.append(row)
    return pd.DataFrame(rows)


def _seeds(table: Table, runs: pd.DataFrame) -> set:
    """The seeds that any row of the table has."""
    return set().union(*(row.of(runs)["seed"] for row in table.rows))


def configurations_of(row: Row, runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(label, runs) of a row on one backbone.

    Several where its runs are of several configurations, as strict ones and others.
    """
    mine = row.of(runs)
    if mine.empty:
        return [(row.model, mine)]
    return [(with_variant(row.model, variant), one) for variant, one in mine.groupby("variant")]


def configurations(group: Group) -> pd.DataFrame:
    """Every configuration that was run, with its difference to the baseline of its data."""
    rows = []
    for _, alike in with_best_epoch(group).groupby(["backbone", "data"], sort=True):
        baseline = one_configuration(alike[alike["location"] == "none"])
        mine = []
        for key, runs in alike.groupby(CONFIGURATION, sort=False):
            names = dict(zip(CONFIGURATION, key, strict=True))
            mine.append({**names, **_summary(runs, baseline), "runs": " ".join(runs["run"])})
        rows += _mark_best(mine, group.runs)
    return pd.DataFrame(rows)


def _summary(runs: pd.DataFrame, baseline: pd.DataFrame) -> dict:
    """n, mean, interval, difference to the baseline by seed, cost, every seed's value."""
    percent = (100 * by_pair(runs, "test_accuracy")).sort_index()
    found = stats.estimate(percent)
    entry = {"n": found.n, "mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high}
    entry |= dict(zip(("one_run_low", "one_run_high"), stats.prediction(percent), strict=True))
    entry["best_epoch"] = 100 * runs["best_epoch"].mean()
    pairs = stats.paired(percent, 100 * by_pair(baseline, "test_accuracy"))
    is_baseline = set(runs["run"]) == set(baseline["run"])
    to_baseline = stats.estimate([] if is_baseline else pairs.differences)
    entry |= _columns("difference", to_baseline)
    entry |= {"pairs": to_baseline.n, "baseline_n": len(baseline)}
    for name in ("parameters", "multiply_adds"):
        entry[name] = int(runs.iloc[0][name]) if len(runs) else None
    entry["train_seconds"] = runs["train_seconds"].mean()
    entry["device"] = "+".join(sorted(set(runs["device"])))
    values = percent.droplevel("environment").sort_index()
    entry["seeds"] = "  ".join(f"{s}: {v:.2f}" for s, v in values.items()) or "not run"
    return entry


def _columns(name: str, found: stats.Estimate) -> dict:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _mark_best(entries: list[dict], runs: pd.DataFrame) -> list[dict]:
    """Marks the best of some rows, and those that are not told apart from it."""
    accuracies = runs.set_index("run")[[*PAIR, "test_accuracy"]]
    columns = {
        i: by_pair(accuracies.loc[entry["runs"].split()], "test_accuracy")
        for i, entry in enumerate(entries)
        if entry["n"]
    }
    equals = stats.equals_of_best(pd.DataFrame(columns))
    return [entry | {"best": i in equals} for i, entry in enumerate(entries)]


def separation(group: Group) -> pd.DataFrame:
    """How well the scores of the input tell colours from noise, over seeds."""
    measured = with_metrics(group).dropna(subset=["noise_auc"])
    means = end_scores(group)
    rows = []
    for key, runs in measured.groupby(CONFIGURATION, sort=False):
        names = dict(zip(CONFIGURATION, key, strict=True))
        row = {name: names[name] for name in ("backbone", "data", "attention", "variant")}
        row["n"] = len(runs)
        for name in ("noise_auc", "score_gap"):
            found = stats.within(stats.estimate(runs[name]), BOUNDS[name])
            row |= _columns(name, found)
        mine = means[means["run"].isin(runs["run"])]
        noise = mine["channel"] >= COLOURS
        row |= {"colours": mine["mean"][~noise].mean(), "noise": mine["mean"][noise].mean()}
        row["runs"] = " ".join(runs["run"])
        rows.append(row)
    return pd.DataFrame(rows)


def importance(group: Group) -> pd.DataFrame:
    """Whether scores rank channels by what is lost without them: Spearman's, over seeds.

    Of one run alone its own interval; of several the t-interval of theirs.
    """
    if group.importance.empty:
        return pd.DataFrame()
    merged = group.importance.merge(group.runs, on="run")
    rows = []
    for key, mine in merged.groupby([*CONFIGURATION, "module"], sort=False):
        names = dict(zip([*CONFIGURATION, "module"], key, strict=True))
        row = {
            k: names[k] for k in ("backbone", "data", "location", "attention", "variant", "module")
        }
        row |= {"n": mine["run"].nunique(), "channels": mine["channel"].nunique()}
        scaled = mine.assign(scaled=mine["score"] * mine["sd"])
        for name, column in (("score", "score"), ("score_x_sd", "scaled"), ("sd", "sd")):
            found = _over_runs(scaled, column)
            row |= _columns(name, found) | {f"{name}_n": found.n}
        found = stats.estimate([_of_the_best(run) for _, run in mine.groupby("run")])
        row |= _columns("best_tenth", found)
        rows.append(row | {"runs": " ".join(mine["run"].unique())})
    return pd.DataFrame(rows)


def _of_the_best(channels: pd.DataFrame) -> float:
    """Of all that is lost, in per cent, what is lost with the tenth that has the highest scores."""
    best = channels.nlargest(math.ceil(len(channels) / 10), "score")
    return 100 * best["lost"].sum() / channels["lost"].sum()


def _over_runs(rows: pd.DataFrame, column: str) -> stats.Estimate:
    each = [stats.rank_correlation(run[column], run["lost"]) for _, run in rows.groupby("run")]
    if len(each) == 1:
        return replace(each[0], n=1)
    return stats.within(stats.estimate([e.mean for e in each if not math.isnan(e.mean)]), (-1, 1))


def gates(group: Group) -> pd.DataFrame:
    """Gate health: what each configuration's scores were at first and became."""
    if group.health.empty:
        return pd.DataFrame()
    frame = group.runs[["run", *CONFIGURATION]].merge(group.health, on="run")
    keys = [*CONFIGURATION, "part"]
    runs = frame.groupby(keys, sort=False)["run"].agg(" ".join).rename("runs")
    numbers = frame.drop(columns="run").groupby(keys, sort=False).mean()
    numbers.insert(0, "n", frame.groupby(keys, sort=False).size())
    return numbers.join(runs).reset_index().drop(columns="configuration")


def input_channels(group: Group) -> pd.DataFrame:
    """The scores of input channels, a row for each configuration and channel, over seeds."""
    means = end_scores(group).merge(group.runs[["run", *CONFIGURATION]], on="run")
    rows = []
    for key, mine in means.groupby([*CONFIGURATION, "channel"], sort=False):
        names = dict(zip([*CONFIGURATION, "channel"], key, strict=True))
        found = stats.within(stats.estimate(mine["mean"]), (0, 1))
        row = {k: names[k] for k in ("backbone", "data", "attention", "variant")}
        row |= {"channel": channel_name(names["channel"]), "n": found.n, "score": found.mean}
        row |= {"sd": found.sd, "low": found.low, "high": found.high}
        rows.append(row | {"runs": " ".join(mine["run"])})
    return pd.DataFrame(rows)


def channel_name(channel: int) -> str:
    return "RGB"[channel] if channel < COLOURS else f"noise {channel - COLOURS + 1}"
