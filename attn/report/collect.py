"""Run folders -> data frames, in groups that may be compared."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

GROUP = ["recipe", "recipe_key", "source", "fingerprint", "numerics"]  # never mixed in a table
ORDER = ["backbone", "data", "location", "stages", "attention", "configuration", "seed"]
SOURCES = {
    "archive": "CIFAR-10",
    "images": "CIFAR-10 as image files (not the official pixels)",
    "synthetic": "SYNTHETIC images, not CIFAR-10",
}


@dataclass
class Collected:
    """Finished runs, and why each other folder was left out."""

    runs: pd.DataFrame  # the columns of runs.csv
    folders: dict[str, Path] = field(default_factory=dict)  # by run name
    left_out: list[str] = field(default_factory=list)


def collect(root: Path) -> Collected:
    """Reads the summary of every run folder under root; one that cannot be read is left out."""
    summaries, folders, left_out = [], {}, []
    for path in sorted(root.glob("*/config.yaml")):
        folder = path.parent
        try:
            summaries.append(json.loads((folder / "summary.json").read_text()))
            folders[summaries[-1]["run"]] = folder
        except FileNotFoundError:
            left_out.append(
                f"{folder.name}: not finished (the same train.py command goes on with it)"
            )
        except (ValueError, KeyError) as error:
            left_out.append(f"{folder.name}: its summary.json is damaged ({error})")
    runs = pd.DataFrame(summaries)
    if summaries:
        runs = runs.sort_values(ORDER, ignore_index=True)
    return Collected(runs, folders, left_out)


@dataclass
class Group:
    """Runs that one table may hold: of one recipe, one dataset and one `numerics`."""

    name: str
    runs: pd.DataFrame
    epochs: pd.DataFrame
    scores: pd.DataFrame
    folders: dict[str, Path]

    @property
    def recipe(self) -> str:
        return self.runs["recipe"].iloc[0]

    @property
    def source(self) -> str:
        return self.runs["source"].iloc[0]

    @property
    def title(self) -> str:
        return f"recipe {self.recipe}, {SOURCES[self.source]}"

    def example(self, run: str) -> np.ndarray:
        """One test image's input channels as that run saw them, (C, size, size) uint8."""
        with np.load(self.folders[run] / "predictions.npz") as file:
            return file["example"]


def groups(collected: Collected):
    """Yields the groups, the largest first; a recipe's largest has its plain name."""
    taken = set()
    found = sorted(collected.runs.groupby(GROUP, sort=True), key=lambda item: -len(item[1]))
    for (recipe, recipe_key, source, fingerprint, numerics), runs in found:
        name = f"{recipe}-synthetic" if source == "synthetic" else recipe
        if name in taken:
            name = f"{name}-{recipe_key}-{fingerprint[:6]}-{numerics}"
        taken.add(name)
        runs = runs.reset_index(drop=True)
        epochs, scores = (_rows(runs, collected.folders, f) for f in ("metrics.csv", "scores.csv"))
        yield Group(name, runs, epochs, scores, collected.folders)


def _rows(runs: pd.DataFrame, folders: dict, file: str) -> pd.DataFrame:
    """The rows of one file of every run that has it, behind a column with the run's name."""
    parts = []
    for run in runs["run"]:
        if (folders[run] / file).exists():
            part = pd.read_csv(folders[run] / file)
            part.insert(0, "run", run)
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
