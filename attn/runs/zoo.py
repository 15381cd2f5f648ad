"""Small copies of trained networks: finished run folders with weights.npz for a checkpoint.

Weights of several dimensions are in half precision. All others, such as those of batch
normalisation, are few and stay as they are: half precision would lose small variances. numpy reads
the file without unpickling.
"""

import json
import shutil
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch

from attn.errors import RunError
from attn.runs.files import UNREADABLE, write_arrays

NAME = "weights.npz"
MARK = "run"  # the entry that says of which run the weights are
RECORDS = (
    *("config.yaml", "environment.json", "metrics.csv", "scores.csv", "stem.csv"),
    *("predictions.npz", "summary.json"),
)


def add(folder: Path, state: dict, zoo: Path) -> Path:
    """Writes a finished run with its weights in half precision under `zoo`; returns its folder.

    folder: the run folder. state: its checkpoint.
    """
    copy = zoo / folder.name
    copy.mkdir(parents=True, exist_ok=True)
    weights = {name: _halved(value).numpy() for name, value in state["network"].items()}
    write_arrays(copy / NAME, **{MARK: np.array(json.dumps(state["run"]))}, **weights)
    for name in RECORDS:
        if (folder / name).exists():
            shutil.copyfile(folder / name, copy / name)
    return copy


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.ndim > 1 and value.is_floating_point() else value


def load(folder: Path) -> dict:
    """Returns what a checkpoint would: `run`, and the network's weights in single precision.

    Raises RunError where weights.npz cannot be read.
    """
    path = folder / NAME
    try:
        if not is_zipfile(path):  # numpy's own advice would be to unpickle it
            raise ValueError("it is no .npz file")
        with path.open("rb") as opened, np.load(opened) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != MARK}
            run = json.loads(file[MARK].item())
            run["key"], run["epochs"]
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path} is damaged ({reason}); fetch it again") from None
    network = {
        n: value.float() if value.dtype == torch.half else value for n, value in arrays.items()
    }
    return {"run": run, "network": network}
