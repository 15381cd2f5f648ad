"""Run folders -> groups that may be compared."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from attn.report.group import KEY, ORDER, Group, read_csv
from attn.runs import Run
from attn.schema import Config
from attn.scores import of_input_channels

PARTS = ("channel", "spatial", "height", "width", "first")  # scores beside a mechanism's main one


@dataclass
class Collected:
    """The groups of the finished runs, and why each other folder was left out."""

    groups: list[Group]
    left_out: list[str]


@dataclass
class _Found:
    """Rows of every run folder, kind by kind."""

    runs: list[dict] = field(default_factory=list)
    unfinished: list[dict] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)  # of finished runs, by name
    left_out: list[str] = field(default_factory=list)


def collect(root: Path) -> Collected:
    """Reads every run folder under root; one that cannot be read is left out, with the reason."""
    found = _Found()
    for path in sorted(root.glob("*/config.yaml")):
        try:
            summary = json.loads((path.parent / "summary.json").read_text())
            if missing := {"run", *KEY, *ORDER, "test_accuracy"} - summary.keys():
                raise ValueError(f"without {', '.join(sorted(missing))}")
        except FileNotFoundError:
            _note_unfinished(path, found)
        except (ValueError, AttributeError) as error:
            found.left_out.append(f"{path.parent.name}: its summary.json is damaged ({error})")
        else:
            found.runs.append(summary)
            found.folders[summary["run"]] = path.parent
    runs, unfinished = pd.DataFrame(found.runs), pd.DataFrame(found.unfinished)
    groups = []
    if len(runs):
        runs = runs.sort_values(ORDER, ignore_index=True)
        groups = [_group(mine, unfinished, found.folders) for _, mine in runs.groupby(KEY)]
    return Collected(groups, found.left_out)


def _note_unfinished(path: Path, found: _Found):
    folder = path.parent
    try:
        values = yaml.safe_load(path.read_text())
        config = Config.from_dict(values)
        run = Run(config, values["seed"], folder.parent)
        row = {"run": folder.name, **config.labels, "location": config.location}
        row |= {"stages": config.stages_text, "seed": values["seed"], "configuration": config.key}
        row |= {"recipe_key": config.recipe_key, "fingerprint": config.fingerprint}
        row |= {"numerics": values["numerics"], "reason": run.failure}
        row["state"] = "failed" if run.failure else "unfinished"
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        found.left_out.append(f"{folder.name}: its config.yaml is damaged ({error!r})")
        return
    found.unfinished.append(row)
    goes_on = "the same train.py command goes on with it"
    reason = f"failed: {run.failure}" if run.failure else f"not finished ({goes_on})"
    found.left_out.append(f"{folder.name}: {reason}")


def _group(runs: pd.DataFrame, unfinished: pd.DataFrame, folders: dict) -> Group:
    runs = runs.reset_index(drop=True)
    if len(unfinished):
        same = [key for key in KEY if key != "source"]  # which only the data can tell
        unfinished = unfinished[(unfinished[same] == runs.iloc[0][same]).all(axis=1)]
    parts = {"epochs": [], "scores": [], "health": [], "importance": [], "classes": []}
    lowest = set(runs.groupby("configuration")["seed"].idxmin().map(runs["run"]))
    pictures = {}
    for row in runs.itertuples():
        folder = folders[row.run]
        epochs, scores = (_rows(folder, file) for file in ("metrics.csv", "scores.csv"))
        parts["epochs"].append(epochs.assign(run=row.run))
        parts["importance"].append(_rows(folder, "importance.csv").assign(run=row.run))
        if row.run in lowest:
            parts["classes"].append(_last_place(_rows(folder, "classes.csv")).assign(run=row.run))
        if len(scores):
            parts["scores"].append(_kept(scores, row.run in lowest).assign(run=row.run))
            parts["health"].append(_health(scores, epochs).assign(run=row.run))
        if row.run in lowest:
            pictures |= _pictures(folder, row, scores)
    frames = {name: _joined(frames) for name, frames in parts.items()}
    return Group("", runs=runs, unfinished=unfinished, **frames, pictures=pictures)


def _rows(folder: Path, file: str) -> pd.DataFrame:
    path = folder / file
    return read_csv(path) if path.exists() else pd.DataFrame()


def _joined(frames: list) -> pd.DataFrame:
    """One frame, the run's name first."""
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame()
    whole = pd.concat(frames, ignore_index=True)
    return whole[["run", *(column for column in whole if column != "run")]]


def _last_place(classes: pd.DataFrame) -> pd.DataFrame:
    """Its last score of channels; one of positions alone has nothing to tell them apart by."""
    if classes.empty:
        return classes
    of_channels = classes[classes["channel"] > 0]
    last = (of_channels if len(of_channels) else classes)["module"].iloc[-1]
    return classes[classes["module"] == last]


def _at_end(scores: pd.DataFrame) -> pd.DataFrame:
    """Of the last epoch, over the whole test set."""
    last = scores[scores["epoch"] == scores["epoch"].max()]
    return last[last["images"] == last["images"].max()]


def _kept(scores: pd.DataFrame, lowest: bool) -> pd.DataFrame:
    """Input channels throughout; other places at the end, of one seed: the rest is megabytes."""
    at_input = scores["module"].map(of_input_channels)
    end = scores.index.isin(_at_end(scores).index)
    return scores[at_input | end] if lowest else scores[at_input]


def _health(scores: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of score: means over channels and places, untrained and at the end."""
    keys = ["module", "channel"]
    before = scores[scores["epoch"] < 0].set_index(keys)["mean"].rename("first")
    now = _at_end(scores).join(before, on=keys)
    if "saturated" not in now:  # runs from before it was counted
        now["saturated"] = np.nan
    own = now["module"].str.rpartition(".")[2]
    now["part"] = own.where(own.isin(PARTS), "gate")
    now["moved"] = (now["mean"] - now["first"]).abs()
    frame = now.groupby("part", sort=False)[["first", "mean", "moved", "sd", "saturated"]].mean()
    frame = frame.rename(columns={"mean": "last", "sd": "spread"}).reset_index()
    losses = epochs["train_loss"]
    return frame.assign(loss_first=losses.iloc[0], loss_last=losses.iloc[-1])


def _pictures(folder: Path, run, scores: pd.DataFrame) -> dict:
    """example/CONFIGURATION: one test image's input channels (C, S, S) uint8, if they are scored.

    maps/CONFIGURATION/...: what an inspection saw (see attn.inspection).
    """
    found = {}
    if len(scores) and scores["module"].map(of_input_channels).any():
        path = folder / "predictions.npz"
        if path.exists():
            with np.load(path) as file:
                found[f"example/{run.configuration}"] = file["example"]
    if (folder / "maps.npz").exists():
        with np.load(folder / "maps.npz") as file:
            found |= {f"maps/{run.configuration}/{name}": file[name] for name in file}
    return found
