"""Files that are whole or not there."""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np

PARTIAL = ".partial"


def write(path: Path, data: bytes | str):
    """Replaces a file as one act: after a crash the old one or the new one is there."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)  # mkstemp's files are private
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def write_arrays(path: Path, **arrays):
    """A compressed .npz, whole or not there."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write(path, buffer.getvalue())


def remove_partial(folder: Path):
    """Removes what a process that was killed was writing."""
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def append_rows(path: Path, rows: list[dict]):
    """Adds rows to a CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def truncate_rows(path: Path, epochs: int):
    """Drops what a broken run wrote of epochs that its checkpoint does not have, half lines too.

    Without a checkpoint all of it, as the run writes its untrained epoch -1 again.
    """
    if not epochs:
        path.unlink(missing_ok=True)
    elif path.exists():
        head, *lines = path.read_text().splitlines(keepends=True)
        column = head.strip().split(",").index("epoch")
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if int(line.split(",")[column]) < epochs]
        write(path, "".join([head, *kept]))


def last_row(path: Path) -> dict[str, str]:
    """The last row of a CSV, its values as they are written; empty where there is none."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return [{}, *csv.DictReader(file)][-1]
