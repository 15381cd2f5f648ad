"""The same seeds computed in fp32 and in bf16: the verdicts of both, and what rounding moves.

python scripts/precision.py     results/quick/precision.csv -> results/quick/precision.md
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, f"{sys.path[0]}/..")

import pandas as pd

from attn import files, stats
from attn.report import formats, verdict_text
from attn.report.claims import load
from attn.report.group import Group, read_csv
from attn.report.verdicts import judge

FOLDER = Path(__file__).resolve().parents[1] / "results" / "quick"
NAMES = ["backbone", "attention", "location", "stages", "data"]
HALVES = ("fp32", "bf16")


def verdicts(group: Group, both: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim on accuracies that has several seeds in both."""
    _, claims = load()
    runs = group.runs.merge(both, on=[*NAMES, "seed"])
    asked = [claim for claim in claims if claim.metric == "test_accuracy"]
    columns = {"claim": [claim.id for claim in asked]}
    for half in HALVES:
        judged = judge(replace(group, runs=runs.assign(test_accuracy=runs[half])), claims)
        judged = [one for one in judged if one.claim in asked]
        words = verdict_text.shown(judged)
        columns["n"] = [one.found.n for one in judged]
        columns[half] = words["difference"] + " (" + words["95% interval"] + ")"
        columns[f"verdict in {half}"] = [one.text for one in judged]
    frame = pd.DataFrame(columns)
    return frame[frame["n"] > 1]


def moved(both: pd.DataFrame) -> pd.DataFrame:
    """bf16 minus fp32, in points: by seed the mean over the configurations that have all seeds."""
    points = both.assign(points=100 * (both["bf16"] - both["fp32"]))
    whole = points.groupby(NAMES).filter(lambda runs: len(runs) == both["seed"].nunique())
    rows = []
    for data, runs in whole.groupby("data"):
        found = stats.estimate(runs.groupby("seed")["points"].mean())
        row = {"data": data, "configurations": runs.groupby(NAMES).ngroups, "n": found.n}
        row["bf16 minus fp32"] = formats.number(found.mean, sign=True)
        row["95% interval"] = formats.interval(found.low, found.high, sign=True)
        rows.append(row | {"one run at most": formats.number(runs["points"].abs().max())})
    return pd.DataFrame(rows)


def text() -> str:
    group, both = Group.read(FOLDER), read_csv(FOLDER / "precision.csv")
    return (
        f"### The same seeds in fp32 and in bf16: {group.title}\n\n"
        f"{formats.markdown(verdicts(group, both))}\n{formats.markdown(moved(both))}\n"
        "Points of top-1 test accuracy, 95% t-intervals over seeds; the second table was not asked "
        "for before the runs were seen. `python scripts/precision.py` makes this from "
        "precision.csv.\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    files.write(FOLDER / "precision.md", text())
    print(text())
