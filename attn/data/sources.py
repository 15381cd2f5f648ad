"""Finds CIFAR-10: an official archive or its folder, image files, Parquet files, or a download.

An explicit `data.root` is the only place that is searched. Else CIFAR10_ROOT and then data/ are
searched, and then CIFAR-10 is fetched.
"""

import hashlib
import os
import shutil
import socket
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_url

from attn.data.dataset import ROOT, SPLITS
from attn.data.decode import (
    BROKEN,
    decode_archive,
    decode_batches,
    decode_binary,
    decode_image_folder,
    decode_image_tar,
    decode_parquet,
    files,
)
from attn.errors import DataError, DataMissing

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = CIFAR10.base_folder  # cifar-10-batches-py
OWN_COPY = f"""Bring your own copy (the host is slow):
  - {ARCHIVE} (MD5 {CIFAR10.tgz_md5}), or the folder {FOLDER} unpacked from it, or
  - the binary version's cifar-10-binary.tar.gz, or
  - class folders of PNG or JPEG files (train/airplane/0000.png ... test/truck/0999.png),
    or a tar of them, or
  - train*.parquet and test*.parquet, whose rows hold PNG files and labels
in data/, or anywhere with CIFAR10_ROOT=/path/to/folder or data.root=/path/to/folder-or-file.
Without any: data.source=synthetic draws ten classes of shapes."""


PATIENCE = 30  # seconds in which a host must answer, or go on sending


@dataclass
class Source:
    """Data that was found: decode() returns {split: (images (N, 3, 32, 32) uint8, labels (N,))}."""

    source: str
    key: str  # names the decoded copy in the cache; changes when the files do
    decode: Callable


def find(root: str | None, fetch: bool = True) -> Source:
    """Returns the first source that exists.

    Raises DataMissing, with the places that were tried, where no source exists, and DataError where
    a place cannot be used.
    """
    if root is not None:
        path = Path(root).expanduser()
        absent = f"no CIFAR-10 in it{_held(path)}" if path.is_dir() else "no such folder or file"
        return _look(path) or _missing([f"data.root={root}: {absent}"])
    tried = []
    environment = os.environ.get("CIFAR10_ROOT")
    if environment:
        path = Path(environment).expanduser()
        if not path.exists():
            raise DataError(f"CIFAR10_ROOT={environment}: no such folder or file")
        found = _look(path)
        if found:
            return found
        tried.append(f"CIFAR10_ROOT={environment}: no CIFAR-10 there{_held(path)}")
        print(f"{tried[0]}; looking in data/", file=sys.stderr)
    else:
        tried.append("CIFAR10_ROOT: not set")
    found = _look(ROOT / "data")
    if found:
        return found
    tried.append(f"{ROOT / 'data'}: no CIFAR-10 there")
    return _download(ROOT / "data", tried) if fetch else _missing(tried)


def _held(folder: Path) -> str:
    """Returns what a folder holds instead, as words that follow what it lacks."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f", but {', '.join(names[:4])}{more}" if names else ": it is empty"


def _missing(tried: list[str]):
    lines = "\n".join(f"  {number}. {line}" for number, line in enumerate(tried, 1))
    raise DataMissing(f"CIFAR-10 was not found. Tried:\n{lines}\n{OWN_COPY}")


def _look(root: Path) -> Source | None:
    if root.is_file():
        return _tar(root)
    if (root / ARCHIVE).is_file():
        return _archive(root / ARCHIVE)
    for folder in (root / FOLDER, root):
        if (folder / "data_batch_1").is_file():
            return _batches(folder)
    if all((root / split).is_dir() for split in SPLITS):
        return Source("images", _folder_key(root), lambda: decode_image_folder(root))
    if tables := _tables(root):
        paths = [path for split in SPLITS for path in tables[split]]
        return Source("images", _key(*paths), lambda: decode_parquet(tables))
    tars = sorted(p for p in root.glob("*.t*") if p.is_file() and _is_tar_name(p.name))
    if len(tars) > 1:
        names = ", ".join(path.name for path in tars)
        raise DataError(f"{root} holds {len(tars)} archives ({names}): name one with data.root=")
    return _tar(tars[0]) if tars else None


def _tables(root: Path) -> dict[str, list[Path]]:
    """Returns the Parquet files of each split, train*.parquet and test*.parquet.

    They may lie a folder deeper, as in the common hub's copy. Without any the dictionary is empty.
    Raises DataError where a split has none.
    """
    found = {
        split: sorted([*root.glob(f"{split}*.parquet"), *root.glob(f"*/{split}*.parquet")])
        for split in SPLITS
    }
    if not any(found.values()):
        return {}
    for split, paths in found.items():
        if not paths:
            raise DataError(f"{root} has no {split}*.parquet beside the other split's")
        folders = sorted({path.parent.name for path in paths})
        if len(folders) > 1:
            raise DataError(f"{root} has {split}*.parquet in {' and '.join(folders)}: keep one")
    return found


# What a file may be instead, by its first bytes.
OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"PAR1": "a Parquet file: name the folder of train*.parquet and test*.parquet",
    b"\x89HDF": "an HDF5 file: write its images into class folders",
}


def _tar(path: Path) -> Source:
    """Returns what a tar is by its content, whatever its name: the official archive, or images.

    Raises DataError where the file is something else.
    """
    if path.name == ARCHIVE:
        return _archive(path)
    with path.open("rb") as file:
        start = file.read(4)
    if start in OTHERS:
        raise DataError(f"{path} is {OTHERS[start]}")
    top = _top(path)
    if top == "cifar-100-python":
        raise DataError(f"{path} is CIFAR-100: bring CIFAR-10")
    if top == "cifar-10-batches-bin":
        return Source("archive", _key(path), lambda: decode_binary(path))
    if top is None and not _is_tar_name(path.name):
        raise DataError(f"{path} is no archive: name {ARCHIVE} or a tar of class folders")
    if top == FOLDER:
        return _archive(path)
    return Source("images", _key(path), lambda: decode_image_tar(path))


def _top(path: Path) -> str | None:
    """Returns the folder of a tar's first member; None where the file is no whole tar."""
    try:
        with tarfile.open(path, "r|*") as tar:
            names = (PurePosixPath(member.name) for member in tar)
            whole = (name for name in names if name.parts and not name.name.startswith("."))
            return next((name.parts[0] for name in whole), None)
    except BROKEN:
        return None


def _is_tar_name(name: str) -> bool:
    unfinished = name.endswith((".part", ".partial", ".crdownload", ".download"))
    tar = name.endswith((".tar", ".tgz", ".txz")) or ".tar." in name
    return tar and not unfinished and not name.startswith(".")


def _key(*paths: Path) -> str:
    state = [(str(path.resolve()), *_state(path.stat())) for path in paths]
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _state(found: os.stat_result) -> tuple[int, ...]:
    """Returns what changes with a file's content, even where its time is put back."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _archive(path: Path) -> Source:
    return Source("archive", _key(path), lambda: decode_archive(path))


def _batches(folder: Path) -> Source:
    paths = [folder / name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    absent = [path.name for path in paths if not path.is_file()]
    if absent:
        raise DataError(f"{folder} lacks {', '.join(absent)}: unpack {ARCHIVE} again")
    return Source("archive", _key(*paths), lambda: decode_batches(folder))


def _folder_key(root: Path) -> str:
    """Hashes every file's name, size and time. Raises DataError for a link to nothing."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in files(root):
        try:
            digest.update(os.fsencode(file) + repr(_state(file.stat())).encode())
        except FileNotFoundError:
            raise DataError(f"{root}: {file.relative_to(root)} is a link to nothing") from None
    return digest.hexdigest()[:16]


def _download(folder: Path, tried: list[str]) -> Source:
    """Fetches the archive into a folder of its own; moves the archive once its MD5 is right."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".download-"))
    print(f"Fetching CIFAR-10 (170 MB) into {folder}; the host is slow.", file=sys.stderr)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torchvision's download has no time limit of its own
    try:
        download_url(CIFAR10.url, partial, ARCHIVE, CIFAR10.tgz_md5)
        os.replace(partial / ARCHIVE, folder / ARCHIVE)
    except (OSError, RuntimeError) as error:  # no network; a download that breaks off or is damaged
        _missing([*tried, f"download of {CIFAR10.url}: {error}"])
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(partial, ignore_errors=True)
    return _archive(folder / ARCHIVE)


def synthetic() -> Source:
    from attn.data import shapes

    return Source("synthetic", f"synthetic-{shapes.VERSION}", shapes.draw)
