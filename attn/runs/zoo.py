"""Keeps small copies of trained networks: finished runs with weights.npz for a checkpoint.

Weights of several dimensions are in half precision. All others, such as those of batch
normalisation, are few and stay as they are: half precision would lose small variances. numpy reads
the file without unpickling.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from attn.errors import RunError
from attn.runs.files import UNREADABLE, read_arrays, write_arrays
from attn.runs.whole import reading

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
    """Returns the part of a checkpoint that an evaluation needs: `run`, `network`, `precision`.

    The weights are in single precision. `precision` is that in which the run computed. Raises
    RunError where weights.npz or summary.json cannot be read.
    """
    path = folder / NAME
    try:
        arrays = read_arrays(path)
        run = json.loads(arrays.pop(MARK).item())
        network = {name: _single(torch.from_numpy(array)) for name, array in arrays.items()}
        if lacking := {"key", "epochs"} - run.keys():
            raise ValueError(f"it does not say the run's {' and '.join(sorted(lacking))}")
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path} is damaged ({reason}); fetch it again") from None
    with reading("summary.json", "fetch it again"):
        precision = json.loads((folder / "summary.json").read_text())["precision"]
    return {"run": run, "network": network, "precision": precision}


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype == torch.half else value
