"""Summarises accuracies over seeds: of a table's rows, of every configuration, by environment."""

import math

import pandas as pd

from attn import stats
from attn.evidence.claims import Row, Table
from attn.evidence.group import (
    Group,
    by_configuration,
    by_pair,
    estimate_columns,
    one_configuration,
)
from attn.evidence.variants import with_variant
from attn.evidence.verdicts import missing


def accuracy(group: Group, table: Table) -> pd.DataFrame:
    """Returns the accuracies of a table in percent, with a row for each backbone and model.

    A model that was not run has n = 0. A backbone with fewer than two models that were run is left
    out. The published column is there for the published experiment alone (see Table.elsewhere).
    """
    rows = []
    for backbone, runs in with_best_epoch(group).groupby("backbone", sort=True):
        found = [(row, *one) for row in table.rows for one in configurations_of(row, runs)]
        if sum(len(chosen) > 0 for _, _, chosen in found) < 2:
            continue
        baseline = one_configuration(table.row(table.baseline).of(runs))
        mine, seeds = [], set().union(*(chosen["seed"] for _, _, chosen in found))
        for row, label, chosen in found:
            entry = {"backbone": backbone, "model": label, **_summary(chosen, baseline)}
            if not table.elsewhere(group, backbone):
                entry["published"] = row.published
            entry["missing"] = "; ".join(missing(group, backbone, row, seeds))
            entry["runs"] = " ".join(chosen["run"])
            mine.append(entry)
        rows += _mark_best(mine, [chosen for _, _, chosen in found])
    return pd.DataFrame(rows)


def configurations(group: Group) -> pd.DataFrame:
    """Returns every configuration that was run, with its difference to the baseline of its data."""
    rows = []
    for _, alike in with_best_epoch(group).groupby(["backbone", "data"], sort=True):
        baseline = one_configuration(alike[alike["location"] == "none"])
        every = list(by_configuration(alike))
        mine = [
            {**names, **_summary(runs, baseline), "runs": " ".join(runs["run"])}
            for names, runs in every
        ]
        rows += _mark_best(mine, [runs for _, runs in every])
    return pd.DataFrame(rows)


def environments(group: Group) -> pd.DataFrame:
    """Returns the accuracy without attention in each environment, if there are several.

    A difference is taken within an environment alone.
    """
    if group.runs["environment"].nunique() < 2:
        return pd.DataFrame()
    rows = []
    names = ["environment", "backbone", "data"]
    for key, alike in group.runs.groupby(names):
        plain = one_configuration(alike[alike["location"] == "none"])
        found = stats.estimate(100 * plain["test_accuracy"])
        row = dict(zip(names, key, strict=True)) | {"count": len(alike), "n": found.n}
        row |= {"mean": found.mean, "low": found.low, "high": found.high}
        rows.append(row | {"runs": " ".join(alike["run"])})
    return pd.DataFrame(rows)


def configurations_of(row: Row, runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Returns (label, runs) for each configuration that a row has on one backbone.

    A row's runs may be of several configurations, such as strict runs and others.
    """
    mine = row.of(runs)
    if mine.empty:
        return [(row.model, mine)]
    return [(with_variant(row.model, variant), one) for variant, one in mine.groupby("variant")]


def with_best_epoch(group: Group) -> pd.DataFrame:
    """Returns the runs with `best_epoch`, the highest accuracy that any of a run's epochs had.

    The best epoch is chosen on the test set. Where an epoch tested fewer images, its accuracy is
    that over these images.
    """
    if group.epochs.empty:
        return group.runs.assign(best_epoch=math.nan)
    best = group.epochs.groupby("run")["test_accuracy"].max()
    return group.runs.assign(best_epoch=group.runs["run"].map(best))


def _summary(runs: pd.DataFrame, baseline: pd.DataFrame) -> dict:
    """Returns n, mean, interval, difference to the baseline by seed, cost and each seed's value."""
    percent = (100 * by_pair(runs, "test_accuracy")).sort_index()
    found = stats.estimate(percent)
    entry = {"n": found.n, "mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high}
    entry |= dict(zip(("one_run_low", "one_run_high"), stats.prediction(percent), strict=True))
    entry["best_epoch"] = (100 * runs["best_epoch"]).mean()
    pairs = stats.paired(percent, 100 * by_pair(baseline, "test_accuracy"))
    is_baseline = set(runs["run"]) == set(baseline["run"])
    to_baseline = stats.estimate([] if is_baseline else pairs.differences)
    entry |= estimate_columns("difference", to_baseline)
    entry |= {"pairs": to_baseline.n, "baseline_n": len(baseline)}
    for name in ("parameters", "multiply_adds"):
        entry[name] = int(runs.iloc[0][name]) if len(runs) else None
    entry["train_seconds"] = runs["train_seconds"].mean()
    entry["device"] = "+".join(sorted(set(runs["device"])))
    values = percent.droplevel("environment").sort_index()
    entry["seeds"] = "  ".join(f"{s}: {v:.2f}" for s, v in values.items()) or "not run"
    return entry


def _mark_best(entries: list[dict], frames: list[pd.DataFrame]) -> list[dict]:
    """Marks the best of some rows, and the rows that are not told apart from the best.

    frames: the runs of each row.
    """
    accuracies = {i: by_pair(runs, "test_accuracy") for i, runs in enumerate(frames) if len(runs)}
    equals = stats.equals_of_best(pd.DataFrame(accuracies))
    return [entry | {"best": i in equals} for i, entry in enumerate(entries)]
