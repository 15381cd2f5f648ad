"""Measures what is lost with frozen gates: does a gate matter by following the image?

See attn.evaluation.freeze. The controls `static` and `constant` are constants already, so their
rows must say that nothing is lost.
"""

import pandas as pd

from attn import stats
from attn.evidence.group import CONFIGURATION, Group, by_configuration
from attn.names import EVERY_GATE


def table(group: Group) -> pd.DataFrame:
    """Returns a row for each configuration: points lost with all its gates frozen, over runs.

    Of a single run the interval is that over its test images.
    """
    if group.frozen.empty:
        return pd.DataFrame()
    at_once = group.frozen["module"] == EVERY_GATE
    every, each = group.frozen[at_once], group.frozen[~at_once]
    merged, rows = every.merge(group.runs, on="run"), []
    for row, runs in by_configuration(merged):
        alone = each[each["run"].isin(runs["run"])]
        row |= {"n": len(runs), "gates": max(1, alone["module"].nunique())}
        row |= {"accuracy": runs["accuracy"].mean(), "frozen": runs["frozen"].mean()}
        found = stats.estimate(runs["lost"])
        ends = (found.low, found.high) if len(runs) > 1 else tuple(runs.iloc[0][["low", "high"]])
        row |= {"lost": found.mean, "low": ends[0], "high": ends[1]}
        row |= {"between": 100 * runs["between"].mean()}
        worst = alone.groupby("module")["lost"].mean()
        row |= {"worst": worst.idxmax() if len(worst) else "", "worst_lost": worst.max()}
        rows.append(row | {"runs": " ".join(runs["run"])})
    return pd.DataFrame(rows)


def by_place(group: Group) -> pd.DataFrame:
    """Returns each gate's points lost where it is frozen alone, and its share, over runs.

    A network with a single gate has the row of all gates as that gate's.
    """
    if group.frozen.empty:
        return pd.DataFrame()
    each = group.frozen["module"] != EVERY_GATE
    alone = ~group.frozen["run"].isin(group.frozen["run"][each])
    merged = group.frozen[each | alone].merge(group.runs, on="run")
    keys = [*CONFIGURATION, "module"]
    return merged.groupby(keys, sort=False)[["lost", "between"]].mean().reset_index()


def change(group: Group) -> dict[str, float]:
    """Returns by run the points by which freezing all gates changes the accuracy."""
    if group.frozen.empty:
        return {}
    every = group.frozen[group.frozen["module"] == EVERY_GATE]
    return (-every.set_index("run")["lost"]).to_dict()
