"""The checkpoints of a run, each with a checksum; the checkpoint before the newest is kept too.

checkpoint.sha256 has a line for each checkpoint: its checksum and how many epochs it has. A report
on runs takes the number from there: torch is imported only where a checkpoint is written or loaded.
"""

import hashlib
import io
import os
import pickle
from contextlib import suppress
from pathlib import Path

from attn.errors import RunError
from attn.runs.files import write

PARTS = ("run", "network", "optimizer", "seconds", "train_seconds")
NAME, PREVIOUS, CHECKSUMS = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.sha256"
COPIES = (NAME, PREVIOUS)  # of which a run goes on from the first that is whole


def save(folder: Path, state: dict):
    """Writes checkpoint.pt and keeps the checkpoint before it.

    The checksums are written first, and none is dropped. Whatever a crash or a full disk
    interrupts, and however often, every whole checkpoint has its checksum in the list.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    earlier = [" ".join(filter(None, line)) for line in _checksums(folder).items()]
    lines = [f"{_checksum(data)} {state['run']['epochs']}", *earlier]
    write(folder / CHECKSUMS, "\n".join(lines) + "\n")
    current = folder / NAME
    if current.exists():
        os.replace(current, folder / PREVIOUS)
    write(current, data)


def load(folder: Path, complain=print) -> dict | None:
    """Returns the newest whole checkpoint, or None without a whole checkpoint.

    complain(message) is called for each damaged checkpoint that is passed over. Raises RunError
    where a checkpoint with a right checksum holds something else, such as code, and where the list
    of checksums was lost.
    """
    copies = _copies(folder)
    checksums = _checksums(folder)
    if copies and not checksums:
        newest = next(iter(copies)).name
        raise RunError(
            f"{folder / CHECKSUMS} is missing or empty, and says whether {newest} is whole: "
            "bring it back, or delete the folder to start again"
        )
    for path, data in copies.items():
        if _checksum(data) in checksums:
            return _state(path, data)
        last = path == [*copies][-1]
        instead = "nothing is left of the run" if last else "taking the one before it"
        complain(f"{path} is damaged (its checksum is wrong); {instead}")
    return None


def _copies(folder: Path) -> dict[Path, bytes]:
    """Returns the contents of the checkpoints that are there, the newest first.

    Whoever asks reads them before the list of checksums: a run that is saved meanwhile writes the
    list first and drops nothing from it.
    """
    found = {}
    for path in (folder / name for name in COPIES):
        with suppress(FileNotFoundError):  # also in a moment between two copies
            found[path] = path.read_bytes()
    return found


def discard_damaged(folder: Path):
    """Removes checkpoints that are not whole: `save` would put one in the place of a whole one."""
    copies = _copies(folder)
    checksums = _checksums(folder)
    for path, data in copies.items():
        if _checksum(data) not in checksums:
            path.unlink()


def _state(path: Path, data: bytes) -> dict:
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError):
        raise RunError(f"{path} holds no tensors and numbers alone; delete the folder") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} holds no run's state; delete the folder to start again")
    return state


def check_parts(folder: Path, state: dict):
    """Raises RunError where a checkpoint lacks a part that a run goes on from."""
    lacking = [key for key in PARTS if key not in state]
    if lacking:
        raise RunError(f"{folder / NAME} lacks {', '.join(lacking)}; delete the folder")


def epochs(folder: Path) -> int | None:
    """Returns how many epochs the newest whole checkpoint has, without unpickling it.

    None: there is no whole checkpoint, or an earlier version of this code wrote its checksum.
    """
    copies = _copies(folder)
    checksums = _checksums(folder)
    for data in copies.values():
        done = checksums.get(_checksum(data))
        if done is not None:
            return int(done) if done.isdecimal() else None
    return None


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    """Returns {checksum: number of epochs, as text}; earlier versions wrote no epochs."""
    path = folder / CHECKSUMS
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return {checksum: done for checksum, _, done in (line.partition(" ") for line in lines)}
