"""Runs that may be compared, as the data files that all tables, figures and verdicts come from."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from attn.errors import RunError
from attn.evidence.frames import CONFIGURATION, KEY, check_runs, read_csv
from attn.evidence.variants import NAMES, variants
from attn.names import SOURCES, of_final_features, of_input_channels
from attn.runs.environment import of_older
from attn.runs.files import UNREADABLE, read_arrays, write_arrays, write_csv
from attn.runs.whole import results, why
from attn.stats import Estimate

ORDER = [*NAMES, "configuration", "seed"]
WHOLE = (50_000, 10_000)  # CIFAR-10's images for training and testing
DEMONSTRATION = "quick"
PAIR = ["environment", "seed"]  # what two runs that are compared have in common
# The data files, but for runs.csv each with a column `run`.
INSPECTED = ("importance", "classes", "swap", "frozen")
FRAMES = ("runs", "epochs", "scores", "health", "stem", "unfinished", *INSPECTED)
ARRAYS = ("pictures", "predictions", "ranked")


@dataclass
class Group:
    """Runs of one recipe, one dataset and one `numerics`.

    `runs` has a column `variant`, which tells a configuration from others of the same names.
    `epochs` has a row for each epoch. `scores` holds the scores of input channels at every epoch,
    and of one seed those of other places, but the final feature map, at the last epoch. `health`
    holds what each run's gates were at first and what they became. `stem` holds the norm of the
    first convolution's filters of each input channel, where a run wrote it. `unfinished` holds the
    run folders without a result, and the reasons.

    Four frames come from the networks that were inspected. `importance` holds the accuracy that is
    lost without a channel. `classes` holds the scores by class at the last place, of one seed.
    `swap` holds the scores where two input channels are exchanged. `frozen` holds the accuracy that
    is lost with frozen gates.

    `pictures` holds arrays by name. `example/<configuration>` is one test image's input channels
    (C, S, S) uint8, where they are scored. `maps/<configuration>/...` are the maps of an inspection
    (see attn.evaluation.inspect). `predictions` holds, by run, the class (N,)
    uint8 that the run gives each test image, in the dataset's order. `ranked` holds, by run with
    attention at last, the mean scores (C,) of the final feature map, highest first.
    """

    name: str
    runs: pd.DataFrame
    epochs: pd.DataFrame
    scores: pd.DataFrame
    health: pd.DataFrame
    stem: pd.DataFrame
    unfinished: pd.DataFrame
    importance: pd.DataFrame
    classes: pd.DataFrame
    swap: pd.DataFrame
    frozen: pd.DataFrame
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    ranked: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        self.runs = self.runs.assign(
            environment=_environments(self.runs), variant=variants(self.runs)
        )
        if len(self.classes):  # all rows would take megabytes
            self.classes = self.classes[_of_lowest_seed(self.classes, self.runs)]
        if len(self.scores):  # `ranked` has those of the final feature map
            modules, lowest = self.scores["module"], _of_lowest_seed(self.scores, self.runs)
            elsewhere = lowest & ~modules.map(of_final_features)
            self.scores = self.scores[elsewhere | modules.map(of_input_channels)]

    @property
    def key(self) -> tuple:
        return tuple(self.runs.iloc[0][KEY].astype(str))

    @property
    def recipe(self) -> str:
        return self.runs["recipe"].iloc[0]

    @property
    def decides(self) -> bool:
        """Returns whether the runs are long enough for verdicts.

        Runs of `quick` are too short: they show that everything works.
        """
        return self.recipe.partition("+")[0] != DEMONSTRATION

    @property
    def source(self) -> str:
        return self.runs["source"].iloc[0]

    @property
    def plain_name(self) -> str:
        """Returns the name of the only group of a recipe."""
        return f"{self.recipe}-synthetic" if self.source == "synthetic" else self.recipe

    @property
    def other_size(self) -> str:
        """Returns "N training and M test images"; empty where these are CIFAR-10's numbers.

        Older runs, which did not count their training images, are taken to have all.
        """
        known = self.runs.get("train_images", pd.Series(dtype=float)).dropna()
        trained = int(known.iloc[0]) if len(known) else WHOLE[0]
        tested = int(self.epochs["test_images"].max()) if "test_images" in self.epochs else WHOLE[1]
        different = (trained, tested) != WHOLE
        return f"{trained:,} training and {tested:,} test images" if different else ""

    @property
    def title(self) -> str:
        several = "" if self.name == self.plain_name else f" ({self.name})"
        environments = self.runs["environment"].nunique()
        mixed = f", computed in {environments} environments" if environments > 1 else ""
        count = f", {self.other_size}" if self.other_size and self.source != "synthetic" else ""
        return f"recipe {self.recipe}{several}, {SOURCES[self.source]}{count}{mixed}"

    def write(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        for name in FRAMES:
            path = folder / f"{name}.csv"
            frame = getattr(self, name).drop(columns="variant", errors="ignore")
            if frame.empty:
                path.unlink(missing_ok=True)
            else:
                write_csv(path, frame)
        for name in ARRAYS:
            arrays, path = getattr(self, name), folder / f"{name}.npz"
            if arrays:
                write_arrays(path, **arrays)
            else:
                path.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> "Group":
        """Reads the data files of a folder. Raises RunError where a file is damaged."""
        frames, arrays = {}, {}
        for name in FRAMES:
            path = folder / f"{name}.csv"
            with published_file(path):
                frames[name] = read_csv(path) if path.exists() else pd.DataFrame()
                if name == "runs":
                    check_runs(frames[name])
        for name in ARRAYS:
            path = folder / f"{name}.npz"
            with published_file(path):
                arrays[name] = read_arrays(path) if path.exists() else {}
        with published_file(folder):  # a column may be missing
            return cls(folder.name, **frames, **arrays)

    def without(self, runs: set[str]) -> "Group":
        """Returns the group without the data of some runs.

        The pictures of a configuration that loses a run go too: they may be of that run.
        """
        frames = {name: getattr(self, name) for name in FRAMES}
        frames = {name: _of_runs(f, _runs_of(f) - runs) for name, f in frames.items()}
        arrays = {
            name: {k: v for k, v in getattr(self, name).items() if k not in runs}
            for name in ("predictions", "ranked")
        }
        changed = set(self.runs.loc[self.runs["run"].isin(runs), "configuration"])
        kept = {k: v for k, v in self.pictures.items() if k.split("/")[1] not in changed}
        return replace(self, **frames, **arrays, pictures=kept)

    def differing(self, older: "Group") -> dict[str, tuple[dict, dict]]:
        """Returns (its row, the older group's row) of each run in which the two differ."""
        rows = [{r["run"]: r for r in group.runs.to_dict("records")} for group in (self, older)]
        both = rows[0].keys() & rows[1].keys()
        pairs = {run: (rows[0][run], rows[1][run]) for run in sorted(both)}
        return {run: pair for run, pair in pairs.items() if results(pair[0]) != results(pair[1])}

    def joined(self, older: "Group") -> "Group":
        """Returns the group with the data that an older group has of other runs.

        Thus everything that was published stays.
        """
        frames, finished, published = {}, _runs_of(self.runs), _runs_of(older.runs)
        for name in FRAMES:
            mine, others = getattr(self, name), getattr(older, name)
            if name == "unfinished":
                mine = _of_runs(mine, _runs_of(mine) - published)
                others = _of_runs(others, _runs_of(others) - finished - _runs_of(mine))
            else:  # what a person deleted in the older runs.csv is gone
                known = _runs_of(mine) if name in INSPECTED else finished  # inspected or not
                others = _of_runs(others, published - known)
            parts = [part for part in (mine, others) if not part.empty]
            frames[name] = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        frames["runs"] = frames["runs"].sort_values(ORDER, ignore_index=True)
        arrays = {name: getattr(older, name) | getattr(self, name) for name in ARRAYS}
        known = set(frames["runs"]["run"])
        for name in ("predictions", "ranked"):
            arrays[name] = {run: array for run, array in arrays[name].items() if run in known}
        return replace(self, **frames, **arrays)


def _runs_of(frame: pd.DataFrame) -> set[str]:
    return set() if frame.empty else set(frame["run"])


def _of_runs(frame: pd.DataFrame, runs: set[str]) -> pd.DataFrame:
    return frame if frame.empty else frame[frame["run"].isin(runs)]


def _of_lowest_seed(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    """Returns whether each row is of its configuration's lowest seed that has rows."""
    having = runs[runs["run"].isin(frame["run"])].sort_values("seed")
    return frame["run"].isin(having.drop_duplicates("configuration")["run"])


def by_pair(runs: pd.DataFrame, column: str) -> pd.Series:
    """Returns a column of runs by (environment, seed): only runs that share both are compared."""
    return runs.set_index(PAIR)[column]


def by_configuration(frame: pd.DataFrame, *more: str):
    """Yields (names, rows) of each configuration in a frame, and of each value of the columns more.

    `names` holds the values of CONFIGURATION and of these columns.
    """
    columns = [*CONFIGURATION, *more]
    for key, rows in frame.groupby(columns, sort=False):
        yield dict(zip(columns, key, strict=True)), rows


def one_configuration(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs of the configuration that has the most runs.

    There are several configurations where a YAML was edited between runs, for example.
    """
    if runs.empty:
        return runs
    return runs[runs["configuration"] == runs["configuration"].mode().iloc[0]]


def estimate_columns(name: str, found: Estimate) -> dict:
    """Returns an estimate as columns of a frame: its mean, and the ends of its interval."""
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _environments(runs: pd.DataFrame) -> pd.Series:
    """Returns each run's environment, and of older runs as much of it as is known."""
    known = runs.get("environment", pd.Series(index=runs.index, dtype=object))
    older = [of_older(run) for run in runs.to_dict("records")]
    return known.where(known.notna(), pd.Series(older, index=runs.index))


def published(root: Path) -> list[Group]:
    """Returns the groups whose data files lie in folders of root."""
    return [Group.read(folder) for folder in folders_of_groups(root)]


def folders_of_groups(root: Path) -> list[Path]:
    """Returns the folders of root that hold a group; a runs.csv of other columns is not ours."""
    folders = []
    for path in sorted(root.glob("*/runs.csv")):
        with published_file(path):
            if {*KEY} <= set(pd.read_csv(path, nrows=0)):
                folders.append(path.parent)
    return folders


@contextmanager
def published_file(path: Path):
    """Raises RunError where the block cannot read a file of published data."""
    try:
        yield
    except UNREADABLE as error:
        remedy = f"git checkout {path} brings a committed file back"
        raise RunError(f"{path} is damaged ({why(error)}); {remedy}") from None


def named(groups: list[Group]) -> list[Group]:
    """Returns the groups with names.

    A published group keeps its name, so that none is written over another. Of the others the
    largest group of a recipe gets the recipe's plain name, if that is free; any other name has
    hashes too.
    """
    taken, result = {group.name for group in groups}, []
    for group in sorted(groups, key=lambda group: (-len(group.runs), group.key)):
        recipe, recipe_key, source, fingerprint, numerics = group.key
        name = group.plain_name
        if name in taken:
            name = f"{recipe}-{source}-{recipe_key}-{fingerprint[:6]}-{numerics}"
        taken.add(name)
        result.append(group if group.name else replace(group, name=name))
    return result
