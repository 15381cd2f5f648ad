"""The checkpoints of a run, each with a checksum; the checkpoint before the newest is kept too.

torch is imported only where a checkpoint is written or read. A report on runs does neither.
"""

import hashlib
import io
import os
from pathlib import Path

from attn.runs.files import write

NAME, PREVIOUS, CHECKSUMS = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.sha256"


def save(folder: Path, state: dict):
    """Writes checkpoint.pt and keeps the checkpoint before it.

    The checksums are written first, and none is dropped. Whatever a crash or a full disk
    interrupts, and however often, every whole checkpoint has its checksum in the list.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    checksums = [hashlib.sha256(data).hexdigest(), *_checksums(folder)]
    write(folder / CHECKSUMS, "\n".join(checksums) + "\n")
    current = folder / NAME
    if current.exists():
        os.replace(current, folder / PREVIOUS)
    write(current, data)


def load(folder: Path, complain=print) -> dict | None:
    """Returns the newest whole checkpoint, or None without a whole checkpoint.

    complain(message) is called for each damaged checkpoint that is passed over.
    """
    import torch

    paths = [folder / name for name in (NAME, PREVIOUS) if (folder / name).exists()]
    for path in paths:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() in _checksums(folder):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        instead = "nothing is left of the run" if path == paths[-1] else "taking the one before it"
        complain(f"{path} is damaged (its checksum is wrong); {instead}")
    return None


def _checksums(folder: Path) -> list[str]:
    path = folder / CHECKSUMS
    return path.read_text().split() if path.exists() else []
