"""Files that are whole or absent after a crash, and CSV files that grow by rows."""

import csv
import fcntl
import io
import os
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile, ZipFile

import numpy as np

from attn.errors import RunError

PARTIAL = ".partial"
NO_LOCKS = (
    "this file system has no locks ({}), without which two processes could write one folder; "
    "name another folder"
)
# What reading a damaged file may raise.
UNREADABLE = (
    *(OSError, EOFError, ValueError, csv.Error),
    *(KeyError, IndexError, TypeError, AttributeError),  # of contents that are something else
)


def write(path: Path, data: bytes | str):
    """Replaces a file in one step: after a crash either the old file or the new file is there."""
    partial = None
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)  # mkstemp's files are private
        os.replace(partial, path)
    except BaseException as error:
        if partial:
            Path(partial).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            error.filename = str(path)  # a full disk names no file
        raise


def write_arrays(path: Path, **arrays):
    """Writes a compressed .npz file, which is whole or absent after a crash."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file, read without unpickling.

    Raises ValueError where the file is damaged: zipfile, zlib and numpy each have errors of their
    own for that.
    """
    try:
        with path.open("rb") as opened:
            with ZipFile(opened) as archive:  # numpy may stop short of where zipfile checks
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} has a wrong checksum")
            opened.seek(0)
            with np.load(opened) as file:
                return dict(file)
    except (BadZipFile, zlib.error, RuntimeError, TokenError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def write_csv(path: Path, frame, **options):
    """Replaces a CSV file by a frame of pandas; options are those of its to_csv."""
    write(path, frame.to_csv(index=False, lineterminator="\n", **options))


@contextmanager
def one_at_a_time(folder: Path):
    """Waits until no other process writes the folder, and holds that right in the block.

    Raises RunError where the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # the system takes it back however the process ends
        except OSError as error:
            raise RunError(f"{folder}: {NO_LOCKS.format(error.strerror)} with out=") from None
        yield


def remove_partial(folder: Path):
    """Removes the files that a killed process was writing."""
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def append_rows(path: Path, rows: list[dict]):
    """Appends rows to a CSV file; a new file gets its header first.

    A file keeps the columns with which it began: a column that a later version of this code added
    is left out.
    """
    there = path.exists()
    columns = path.read_text().partition("\n")[0].split(",") if there else rows[0].keys()
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if not there:
        writer.writeheader()
    writer.writerows(rows)
    try:
        with path.open("a") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def truncate_rows(path: Path, epochs: int):
    """Drops the rows that a broken run wrote after its checkpoint, and lines that are half written.

    epochs: how many epochs the checkpoint has. Without a checkpoint (0) the whole file is removed,
    as the run writes its untrained epoch -1 again. Raises ValueError where no column says the
    epoch.
    """
    if not epochs:
        path.unlink(missing_ok=True)
    elif path.exists():
        head, *lines = path.read_text().splitlines(keepends=True) or [""]
        names = head.strip().split(",")
        if "epoch" not in names:
            raise ValueError("it has no column epoch")
        column = names.index("epoch")
        whole = [line for line in lines if line.endswith("\n") and line.strip()]
        kept = [line for line in whole if int(line.split(",")[column]) < epochs]
        write(path, "".join([head, *kept]))


def last_row(path: Path) -> dict[str, str]:
    """Returns the last row of a CSV file, with values as they are written; empty without rows."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return [{}, *csv.DictReader(file)][-1]


def failure_of(folder: Path) -> str:
    """Returns the first line of the reason why a run failed; empty for no failure."""
    error = folder / "error.txt"
    if not error.exists():
        return ""
    try:
        return error.read_text().partition("\n")[0] or "error.txt says nothing"
    except UNREADABLE:
        return "error.txt cannot be read"
