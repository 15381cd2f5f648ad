"""A run: one configuration with one seed, and the folder that holds all files of the run.

The folder holds config.yaml, environment.json, metrics.csv, scores.csv where there is attention,
predictions.npz, stem.csv, checkpoint.pt with checkpoint.sha256, events... and summary.json, last of
all. A run without a summary is unfinished, and keeps the checkpoint before its last one too. Where
a run failed, error.txt says why. An inspection adds its own files.
"""

import fcntl
import hashlib
import json
import os
import re
import socket
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from attn.config.catalogue import recipe_key
from attn.config.schema import NUMERICS, Config
from attn.errors import BusyError, RunError
from attn.names import restriction
from attn.runs import checkpoint, environment, files, whole

# Files that a run or an inspection leaves of its network after the last epoch.
OF_THE_NETWORK = ("predictions.npz", "stem.csv")
OF_THE_NETWORK += ("swap.csv", "frozen.csv", "importance.csv", "classes.csv", "maps.npz")

LONGEST = 230  # characters of a folder's name before seed and hash; systems take 255 in all


@dataclass
class Run:
    config: Config
    seed: int
    root: Path

    @property
    def name(self) -> str:
        """Returns the run's readable name, which is also the name of its folder.

        The name ends in the hash that the seeds of one configuration share.
        """
        return self._named(str(self.seed))

    @property
    def pattern(self) -> Path:
        """Returns the folders of all seeds of the configuration, as a shell takes them."""
        return self.root / self._named("*")

    def _named(self, seed: str) -> str:
        labels = self.config.labels
        places = [labels["attention"], self.config.location]
        if self.config.location == "none":
            places = ["none"]
        if self.config.stages_text != "all":
            places.append(restriction(self.config.stages_text).replace(" ", ""))
        words = [labels["backbone"], *places, labels["data"], labels["recipe"]]
        # Without = and , the folder can be a value on the command line.
        text = "-".join(words).replace("=", "").replace(",", "+")[:LONGEST]
        return "-".join([re.sub(r"[^\w.+-]", "_", text), f"s{seed}", self.config.key])

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def finished(self) -> bool:
        """Returns whether the run has a summary, and every file of it is whole.

        Where it is not, the run is claimed again: files that follow from the checkpoint are written
        again, and others are named.
        """
        return self.accuracy is not None and not self.damage

    @property
    def damage(self) -> str:
        """Returns what is wrong with the run's files, with the remedy; empty for nothing."""
        return str(self._damage or "")

    @property
    def _damage(self) -> whole.Damaged | None:
        try:
            if self.accuracy is not None:
                whole.check_finished(self.folder)
            else:
                whole.check_unfinished(self.folder, self.config.location != "none")
        except whole.Damaged as error:
            return error
        return None

    @property
    def accuracy(self) -> float | None:
        """Returns the test accuracy of a finished run, from 0 to 1; None for any other run."""
        try:
            return json.loads((self.folder / "summary.json").read_text())["test_accuracy"]
        except (OSError, ValueError, TypeError, LookupError):
            return None

    @property
    def epochs_done(self) -> int:
        """Returns how many epochs are done according to metrics.csv; 0 where it is damaged.

        The checkpoint, which is written after the metrics, decides where the run goes on.
        """
        try:
            return int(files.last_row(self.folder / "metrics.csv").get("epoch", -1)) + 1
        except files.UNREADABLE:
            return 0

    @property
    def failure(self) -> str:
        return files.failure_of(self.folder)

    @property
    def holder(self) -> str:
        """Returns which process is training this run; empty where no process is."""
        path = self.folder / ".lock"
        if not path.is_file():
            return ""
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip()
            except OSError:  # a file system without locks
                return ""
        return ""

    @contextmanager
    def locked(self):
        """Holds the right to write the folder; the system takes it back however the process ends.

        Raises BusyError, which names the holder, where another process has that right, and RunError
        where the file system has no locks.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "a+") as file:
            if not _lock(file):
                file.seek(0)
                raise BusyError(f"is being trained by {file.read().strip()}")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    def fail(self, reason: str):
        files.write(self.folder / "error.txt", reason.rstrip() + "\n")

    def write_config(self):
        files.remove_partial(self.folder)
        (self.folder / "error.txt").unlink(missing_ok=True)
        record = {**asdict(self.config), "seed": self.seed, "numerics": NUMERICS}
        files.write(self.folder / "config.yaml", yaml.safe_dump(record, sort_keys=False))

    def cut_back(self, epochs: int):
        """Drops the rows of epochs that the checkpoint, of `epochs` epochs, does not have.

        Raises whole.Damaged, before anything is written, where rows of its epochs are missing.
        """
        if epochs:
            whole.check_unfinished(self.folder, self.config.location != "none", epochs)
        else:  # what is of a network that is gone
            for name in OF_THE_NETWORK:
                (self.folder / name).unlink(missing_ok=True)
        for name in ("metrics.csv", "scores.csv"):
            files.truncate_rows(self.folder / name, epochs)

    def save(self, state: dict, epochs_done: int, device: str):
        """Saves the checkpoint after `epochs_done` epochs.

        A checkpoint holds no state of a random generator: all random numbers are a function of
        where the run is.
        """
        mark = {"key": self.config.key, "seed": self.seed, "device": device, "epochs": epochs_done}
        checkpoint.save(self.folder, {"run": mark, **state})

    def restore(self, device: str, complain) -> dict | None:
        """Returns the checkpoint from which the run goes on, or None without a whole checkpoint.

        Raises RunError where the checkpoint was made on another kind of device, belongs to another
        run or claims more epochs than the run has, and where a damaged run has no checkpoint.
        """
        state = checkpoint.load(self.folder, complain)
        if state is None:
            if self.accuracy is not None:  # nothing could be written again
                raise RunError(
                    f"{self._damage.reason}, and there is no whole {checkpoint.NAME}: delete the "
                    "folder to train it again"
                )
            return None
        checkpoint.discard_damaged(self.folder)
        mark = state.get("run", {})
        mine = {"key": self.config.key, "seed": self.seed, "device": device}
        for name, value in mine.items():
            if mark.get(name) != value:
                raise RunError(
                    f"{self.folder / checkpoint.NAME} was made with {name} {mark.get(name)}, "
                    f"this run has {name} {value}: go on there, or delete the folder to start again"
                )
        if not 0 < mark["epochs"] <= self.config.recipe.epochs:
            raise RunError(
                f"{self.folder / checkpoint.NAME} claims {mark['epochs']} epochs of "
                f"{self.config.recipe.epochs}: delete the folder to start again"
            )
        return state

    def finish(self, results: dict, revision: dict, how: dict):
        """Writes the summary, in the columns of runs.csv, and returns it."""
        labels = self.config.labels
        summary = {
            "run": self.name,
            "backbone": labels["backbone"],
            "attention": labels["attention"],
            "location": self.config.location,
            "stages": self.config.stages_text,
            "data": labels["data"],
            "recipe": labels["recipe"],
            "seed": self.seed,
            **results,
            "fingerprint": self.config.fingerprint,
            "numerics": NUMERICS,
            **revision,
            "configuration": self.config.key,
            "recipe_key": recipe_key(self.config.recipe, self.config.backbone["name"]),
            **how,
            **environment.summary(self.folder),
        }
        (self.folder / checkpoint.PREVIOUS).unlink(missing_ok=True)
        files.write(self.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
        return summary


def _lock(file) -> bool:
    """Takes the lock, and returns whether that succeeded.

    `_lock` tries again for a moment, as another process may only be asking who holds the lock.
    """
    for _ in range(5):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        except OSError as error:
            reason = files.NO_LOCKS.format(error.strerror)
            raise RunError(f"{file.name}: {reason} with runs=") from None
        else:
            return True
    return False


def renamed(root: Path) -> dict[str, str]:
    """Returns {name of a finished run: its folder's name} where the folder has another name."""
    found = {}
    for path in sorted(root.glob("*/summary.json")):
        try:
            name = json.loads(path.read_text())["run"]
        except (OSError, ValueError, TypeError, LookupError):
            continue
        if name != path.parent.name and not (root / name).exists():
            found[name] = path.parent.name
    return found


def note_skipped(root: Path, cell: str, reason: str | None):
    """Records why a sweep's cell is impossible; removes that record where `reason` is None."""
    path = root / "_skipped" / f"{hashlib.sha256(cell.encode()).hexdigest()[:8]}.json"
    if reason is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, json.dumps({"cell": cell, "reason": reason}) + "\n")


def skipped(root: Path) -> list[str]:
    """Returns the cells that sweeps recorded as impossible, each with the reason."""
    found = []
    for path in sorted((root / "_skipped").glob("*.json")):
        try:
            note = json.loads(path.read_text())
            found.append(f"{note['cell']}: {note['reason']}")
        except FileNotFoundError:  # a sweep has just found the cell possible
            continue
        except files.UNREADABLE:
            print(f"{path} is damaged, and left out: delete it")
    return found
