"""The post's tables, and one of every configuration: n, mean, sd and each seed's value."""

from pathlib import Path

import pandas as pd
import yaml

from attn.report.collect import Group
from attn.stats import summarise

TABLES = Path(__file__).resolve().parents[2] / "configs" / "tables.yaml"
PUBLISHED_ON = {"recipe": "post", "backbone": "mobilenet_v2"}
MATCH = ("data", "attention", "location")
CONFIGURATION = ["backbone", "data", "location", "stages", "attention", "configuration"]


def definitions() -> dict:
    return yaml.safe_load(TABLES.read_text())


def table(group: Group, definition: dict) -> pd.DataFrame:
    """One of the post's tables, a row for each backbone and model; accuracies in percent.

    A model that was not run has n = 0. The published column is there for the post's own recipe and
    network alone, and never for synthetic data.
    """
    rows = []
    for backbone, runs in group.runs.groupby("backbone", sort=True):
        published = {"recipe": group.recipe, "backbone": backbone} == PUBLISHED_ON
        for row in definition["rows"]:
            for model, chosen in _configurations_of(row, select(runs, row)):
                entry = {"backbone": backbone, "model": model, **summarise(chosen)}
                if published and group.source != "synthetic":
                    entry["published"] = row.get("published")
                rows.append(entry)
    return pd.DataFrame(rows)


def _configurations_of(row: dict, runs: pd.DataFrame):
    """(model, its runs); several where a YAML was edited between runs of the same name."""
    keys = sorted(runs["configuration"].unique())
    if len(keys) < 2:
        return [(row["model"], runs)]
    return [(f"{row['model']} [{key}]", runs[runs["configuration"] == key]) for key in keys]


def select(runs: pd.DataFrame, row: dict) -> pd.DataFrame:
    """The runs of one row of a table."""
    for key in MATCH:
        if key in row:
            runs = runs[runs[key] == row[key]]
    return runs


def configurations(group: Group) -> pd.DataFrame:
    """Every configuration that was run, with its cost."""
    rows = []
    for key, runs in group.runs.groupby(CONFIGURATION, sort=False):
        first = runs.iloc[0]
        cost = {name: int(first[name]) for name in ("parameters", "multiply_adds")}
        seconds = round(runs["train_seconds"].mean(), 1)
        names = dict(zip(CONFIGURATION, key, strict=True))
        rows.append({**names, **summarise(runs), **cost, "train_seconds": seconds})
    return pd.DataFrame(rows)


GATES = (
    "first, last: the mean score, untrained (250 test images, batch statistics) and after the last "
    "epoch (all test images); moved: how far a channel's mean score moved, either way; spread: its "
    "sd over images; saturated: the share of scores below 0.05 or above 0.95. Means over channels, "
    "places and seeds.\n"
)
PARTS = ("channel", "spatial", "height", "width", "first")


def gates(group: Group) -> pd.DataFrame:
    """Gate health: what each configuration's scores were at first and became, as GATES says."""
    if group.scores.empty:
        return pd.DataFrame()
    scores = group.scores.copy()
    own = scores["module"].str.rpartition(".")[2]
    scores["score"] = own.where(own.isin(PARTS), "gate")
    last = scores["epoch"] == scores.groupby("run")["epoch"].transform("max")
    last &= scores["images"] == scores.groupby("run")["images"].transform("max")
    keys = ["run", "module", "channel"]
    before = scores[scores["epoch"] < 0].set_index(keys)["mean"].rename("first")
    now = scores[last].join(before, on=keys)
    now["moved"] = (now["mean"] - now["first"]).abs()
    columns = ["first", "mean", "moved", "sd", "saturated"]
    frame = now.groupby(["run", "score"], sort=False)[columns].mean()
    losses = group.epochs.groupby("run")["train_loss"].agg(["first", "last"])
    frame = frame.rename(columns={"mean": "last", "sd": "spread"}).reset_index()
    frame["loss at first"] = frame["run"].map(losses["first"])
    frame["loss at last"] = frame["run"].map(losses["last"])
    frame = group.runs[["run", *CONFIGURATION]].merge(frame, on="run")
    keys = [*CONFIGURATION, "score"]
    numbers = frame.drop(columns="run").groupby(keys, sort=False)
    return numbers.mean().reset_index().drop(columns="configuration").round(3)


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; numbers to two digits after the point, nothing where there is none."""
    lines = [list(frame.columns), ["---"] * len(frame.columns)]
    lines += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def caption(group: Group, command: str) -> str:
    """What the numbers are, and the command that makes them."""
    lines = ["Top-1 test accuracy in percent after the last epoch; sd over seeds."]
    if group.recipe == "post" and group.source != "synthetic":
        lines.append(f"`{command}` makes the published network's rows.")
    else:
        lines.append(
            f"These are numbers of recipe `{group.recipe}`, not of the post's: they say nothing "
            f"about the published ones. `{command}` makes the real ones."
        )
    return " ".join(lines) + "\n"
