"""From run folders to groups of runs that may be compared."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from attn.config.catalogue import recipe_key
from attn.evidence.frames import KEY, read_csv
from attn.evidence.group import FRAMES, ORDER, Group
from attn.evidence.variants import NAMES
from attn.names import of_final_features, of_input_channels
from attn.runs.files import UNREADABLE, failure_of, read_arrays
from attn.runs.whole import (
    AGAIN,
    DELETE,
    Damaged,
    check_finished,
    check_unfinished,
    config_of,
    reading,
)

RUN_FILES = ("config.yaml", "summary.json", "metrics.csv")  # of which a run folder has at least one
# Scores beside a mechanism's main one.
PARTS = ("channel", "spatial", "height", "width", "first", "shares", "position_shares")


# The columns that a file of an inspection has.
SEEN = {
    "importance": ["module", "channel", "score", "sd", "lost", "images"],
    "classes": ["module", "channel", "class", "score"],
    "swap": ["colour", "noise", "slot", "usual", "swapped"],
    "frozen": ["module", "images", "accuracy", "frozen", "lost", "low", "high", "between"],
}


LOOK_AGAIN = "delete it, and eval.py checkpoint=all makes it again"


@dataclass
class Collected:
    """The groups of the finished runs, and the reasons why the other folders were left out."""

    groups: list[Group]
    left_out: list[str]


@dataclass
class _Read:
    """The contents of one finished run's folder."""

    folder: Path
    summary: dict
    frames: dict[str, pd.DataFrame]  # by the names of the group's
    pictures: dict[str, np.ndarray]  # as the group has them, by name
    predictions: np.ndarray | None
    ranked: np.ndarray | None  # scores of the final feature map, highest first


def collect(root: Path) -> Collected:
    """Reads every run folder under root.

    A folder that cannot be read, or whose run is not finished, is left out with the reason.
    """
    runs, unfinished, left_out = [], [], []
    folders = {path.parent for name in RUN_FILES for path in root.glob(f"*/{name}")}
    for folder in sorted(folders):
        try:
            if (folder / "summary.json").exists():
                runs.append(_finished(folder))
            else:
                unfinished.append(_unfinished(folder))
                left_out.append(f"{folder.name}: {_why(unfinished[-1])}")
        except Damaged as error:
            left_out.append(f"{folder.name}: {error}")
    groups = {}
    for run in runs:
        groups.setdefault(tuple(run.summary[key] for key in KEY), []).append(run)
    frame = pd.DataFrame(unfinished)
    return Collected([_group(mine, frame) for mine in groups.values()], left_out)


def _finished(folder: Path) -> _Read:
    """Reads the folder of a finished run.

    Raises Damaged where a file cannot be used, or where the folder is a copy of another.
    """
    summary = check_finished(folder)
    epochs, scores = _rows(folder, "metrics.csv"), _rows(folder, "scores.csv")
    frames = {"epochs": epochs}
    if len(scores):
        frames |= {"scores": _kept(scores), "health": _health(scores, epochs)}
    if len(stem := _rows(folder, "stem.csv")):
        frames["stem"] = stem[["channel", "norm"]]
    for name, columns in SEEN.items():
        with reading(f"{name}.csv", LOOK_AGAIN):
            rows = _rows(folder, f"{name}.csv", LOOK_AGAIN)
            if len(rows):
                rows = rows[columns]  # KeyError where one is missing
            frames[name] = _last_place(rows) if name == "classes" else rows
    frames = {name: frame.assign(run=folder.name) for name, frame in frames.items()}
    path = folder / "predictions.npz"
    kept = read_arrays(path) if path.exists() else {}
    logits, example = kept.get("logits"), kept.get("example")
    taken = None if logits is None else logits.argmax(1).astype(np.uint8)
    pictures, key = {}, summary["configuration"]
    if example is not None and len(scores) and scores["module"].map(of_input_channels).any():
        pictures[f"example/{key}"] = example
    with reading("maps.npz", LOOK_AGAIN):
        path = folder / "maps.npz"
        maps = read_arrays(path) if path.exists() else {}
        pictures |= {f"maps/{key}/{name}": array for name, array in maps.items()}
    return _Read(folder, summary, frames, pictures, taken, _ranked(scores))


def _unfinished(folder: Path) -> dict:
    """Reads the folder of an unfinished run.

    Raises Damaged where its config.yaml or its rows cannot be used.
    """
    with reading("config.yaml", AGAIN):
        config, values = config_of(folder)
        check_unfinished(folder, config.location != "none")
        return {
            "run": folder.name,
            **config.labels,
            "location": config.location,
            "stages": config.stages_text,
            "seed": values["seed"],
            "recipe_key": recipe_key(config.recipe, config.backbone["name"]),
            "fingerprint": config.fingerprint,
            "numerics": values["numerics"],
            "reason": (reason := failure_of(folder)),
            "state": "failed" if reason else "unfinished",
        }


def _why(run: dict) -> str:
    if run["state"] == "failed":
        return f"failed: {run['reason']}"
    return "not finished (the same train.py command goes on with it)"


def _group(read: list[_Read], unfinished: pd.DataFrame) -> Group:
    runs = pd.DataFrame([one.summary for one in read]).sort_values(ORDER, ignore_index=True)
    settings = _settings_apart(runs, {one.summary["run"]: one.folder for one in read})
    if settings:
        runs["settings"] = runs["configuration"].map(settings)
    if len(unfinished):
        same = [key for key in KEY if key != "source"]  # which only the data can tell
        unfinished = unfinished[(unfinished[same] == runs.iloc[0][same]).all(axis=1)]
    by_name = {one.summary["run"]: one for one in read}
    ordered = [by_name[name] for name in runs["run"]]
    frames = {
        name: _joined([one.frames[name] for one in ordered if name in one.frames])
        for name in FRAMES
        if name not in ("runs", "unfinished")
    }
    arrays = {"pictures": {}}
    for name in runs.sort_values("seed", ascending=False)["run"]:  # the lowest seed's count
        arrays["pictures"] |= by_name[name].pictures
    for name in ("predictions", "ranked"):
        found = {run: getattr(by_name[run], name) for run in runs["run"]}
        arrays[name] = {run: array for run, array in found.items() if array is not None}
    return Group("", runs=runs, unfinished=unfinished, **frames, **arrays)


def _settings_apart(runs: pd.DataFrame, folders: dict[str, Path]) -> dict[str, str]:
    """Returns, by configuration, the settings in which configurations of the same names differ.

    Such configurations exist where a YAML was edited between two runs, for example. They have the
    same names altogether, or the same mechanism at two places, or the same backbone or noise. The
    settings are in the words that train.py takes.
    """
    firsts = runs.drop_duplicates("configuration")
    known = {run.configuration: _settings(folders[run.run]) for run in firsts.itertuples()}
    words = {configuration: {} for configuration in known}
    places = (["backbone", "attention"], "attention."), (["backbone"], "backbone.")
    places += ((["data"], "data.noise."),)
    for names, start in ((NAMES, ""), *places):
        for _, alike in firsts.groupby(names):
            mine = {key: known[key] for key in alike["configuration"]}
            every = dict.fromkeys(name for settings in mine.values() for name in settings)
            for name in (name for name in every if name.startswith(start)):
                values = {settings.get(name) for settings in mine.values()}
                if start:  # a damaged config.yaml says nothing of its mechanism
                    values.discard(None)
                if len(values) > 1:
                    for key, settings in mine.items():
                        words[key] |= {name: settings[name]} if name in settings else {}
    texts = {key: ", ".join(f"{k}={v}" for k, v in some.items()) for key, some in words.items()}
    return {key: text for key, text in texts.items() if text}


def _settings(folder: Path) -> dict[str, str]:
    """Returns the settings that decide a run's numbers, except `strict`.

    The dictionary is empty where the run's config.yaml is damaged.
    """
    try:
        config, _ = config_of(folder)
    except (*UNREADABLE, yaml.YAMLError):
        return {}
    (values,) = pd.json_normalize(config.identity()).to_dict("records")
    values.pop("strict", None)
    compact = json.JSONEncoder(separators=(",", ":")).encode
    return {k: v if isinstance(v, str) else compact(v) for k, v in values.items()}


def _rows(folder: Path, file: str, remedy: str = DELETE) -> pd.DataFrame:
    with reading(file, remedy):
        return read_csv(folder / file) if (folder / file).exists() else pd.DataFrame()


def _joined(frames: list) -> pd.DataFrame:
    """Returns the frames as a single frame, whose first column is the run's name."""
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame()
    whole = pd.concat(frames, ignore_index=True)
    return whole[["run", *(column for column in whole if column != "run")]]


def _last_place(classes: pd.DataFrame) -> pd.DataFrame:
    return classes if classes.empty else classes[classes["module"] == classes["module"].iloc[-1]]


def _at_end(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores of the last epoch, over the whole test set."""
    last = scores[scores["epoch"] == scores["epoch"].max()]
    return last[last["images"] == last["images"].max()]


def _ranked(scores: pd.DataFrame) -> np.ndarray | None:
    """Returns the scores (C,) of the final feature map at the end, highest first.

    The result is None where attention stands elsewhere.
    """
    if scores.empty:
        return None
    means = _at_end(scores)
    means = means.loc[means["module"].map(of_final_features), "mean"].to_numpy(np.float32)
    return np.sort(means)[::-1] if len(means) > 1 else None


def _kept(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores of input channels at every epoch, and those of other places at the end."""
    at_input = scores["module"].map(of_input_channels)
    return scores[at_input | scores.index.isin(_at_end(scores).index)]


def _health(scores: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each kind of score, with means over channels and places.

    The means are of the untrained network and of the network after the last epoch.
    """
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
