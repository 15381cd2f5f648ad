"""The gain from each mechanism at each place."""

import pandas as pd

from attn import stats
from attn.config.catalogue import choices
from attn.evidence.group import PAIR, Group, by_pair, one_configuration
from attn.evidence.variants import attention_apart
from attn.names import CONTROLS, LOCATIONS

PLACES = [place for place in LOCATIONS if place != "none"]
MECHANISM = ["backbone", "data", "stages", "attention"]
PLAIN = set(choices("attention")) - {*CONTROLS}  # as published


def differences(group: Group) -> pd.DataFrame:
    """Returns the accuracy above that without attention, in points, by mechanism, place and seed.

    Only mechanisms that stand at several places have rows. Their seeds are those that all their
    places and the baseline share in one environment. Otherwise the baseline of one place would be
    other networks than the baseline of the next. The columns are MECHANISM, location, environment,
    seed, difference and run.
    """
    found = []
    for _, alike in group.runs.groupby(["backbone", "data"]):
        baseline = one_configuration(alike[alike["location"] == "none"])
        attended = alike[alike["location"] != "none"]
        attended = attended.assign(attention=attention_apart(attended))
        for _, runs in attended.groupby(MECHANISM):
            places = [one_configuration(one) for _, one in runs.groupby("location")]
            shared = set.intersection(*(set(by_pair(p, "run").index) for p in (baseline, *places)))
            if len(places) > 1:
                found += [_above(place, baseline, sorted(shared)) for place in places]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _above(runs: pd.DataFrame, baseline: pd.DataFrame, pairs: list) -> pd.DataFrame:
    mine, other = (part.set_index(PAIR).loc[pairs] for part in (runs, baseline))
    points = 100 * (mine["test_accuracy"] - other["test_accuracy"])
    return mine[[*MECHANISM, "location", "run"]].assign(difference=points).reset_index()


def table(group: Group) -> pd.DataFrame:
    """Returns the mean difference over n seeds and its interval, for each mechanism and place."""
    frame = differences(group)
    rows = []
    for key, mine in frame.groupby([*MECHANISM, "location"]) if len(frame) else ():
        found = stats.estimate(mine["difference"])
        row = dict(zip([*MECHANISM, "location"], key, strict=True))
        row |= {"n": found.n, "difference": found.mean, "low": found.low, "high": found.high}
        rows.append(row | {"runs": " ".join(mine["run"])})
    return pd.DataFrame(rows)


def medians(frame: pd.DataFrame) -> pd.Series:
    """Returns each place's median over the mechanisms that stand at every place.

    The series is empty where there are fewer than three such mechanisms. `frame` holds the
    differences of one backbone and data. Controls, variants of a mechanism and mechanisms at some
    stages only do not count.
    """
    mine = frame[frame["attention"].isin(PLAIN) & (frame["stages"] == "all")]
    wide = mine.pivot_table(index="attention", columns="location", values="difference").dropna()
    return wide.median().rename(f"median of {len(wide)}") if len(wide) > 2 else pd.Series()
