"""The decoded dataset: uint8 images in a canonical order, cached, with a fingerprint."""

import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from attn.draws import FIXED_SEED, SUBSET, permutation
from attn.errors import DataError
from attn.names import CLASSES

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "test")
REPEATS = 0.05  # the share of repeated images from which a person is told


@dataclass
class Dataset:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of each split, in a canonical order.

    source: archive (the official pixels), images (files, perhaps lossy) or synthetic.
    fingerprint: SHA-256 of all pixels and labels, computed from the tensors that are used.
    """

    images: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]
    source: str
    fingerprint: str


def load(source: str = "cifar10", root: str | None = None, fetch: bool = True) -> Dataset:
    """Finds or (with fetch) fetches the data, and keeps a copy, decoded once, under data/.cache.

    Raises DataError where no data are found (with the places that were tried), or where a file is
    damaged.
    """
    from attn.data import sources

    found = sources.synthetic() if source == "synthetic" else sources.find(root, fetch)
    folder = ROOT / "data" / ".cache" / found.key
    if (folder / "source.json").exists():
        try:
            return _open(folder)
        except Damaged as error:
            print(f"{folder} is damaged ({error}): decoding again", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
    _store(folder, found)
    try:
        return _open(folder)
    except Damaged as error:  # whose owner is somebody else, for example
        raise DataError(
            f"{folder} is damaged ({error}) and cannot be replaced: delete it"
        ) from None


class Damaged(Exception):
    """A decoded copy in the cache that is not as it was written; the message says how."""


def _store(folder: Path, found):
    """Decodes beside the final folder, then renames the copy: another process may do the same."""
    arrays, digests = {}, {}
    for split, (images, labels) in found.decode().items():
        digests[split] = [hashlib.sha256(image.tobytes()).digest() for image in images]
        order = _canonical(labels, digests[split])
        arrays[f"{split}-images"], arrays[f"{split}-labels"] = images[order], labels[order]
    _warn_of_repeats(digests)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        about = {"source": found.source, "fingerprint": _fingerprint(arrays)}
        (partial / "source.json").write_text(json.dumps(about))
        partial.chmod(0o755)  # mkdtemp's folders are private
        os.sync()
        if folder.exists() and not (folder / "source.json").exists():
            shutil.rmtree(folder)  # what is left of a copy that was being removed
        partial.rename(folder)
    except OSError:
        if not (folder / "source.json").exists():  # nobody else was faster: a real failure
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _warn_of_repeats(digests: dict[str, list[bytes]]):
    """Says where many images come twice, as where a folder holds copies of its files.

    digests: the SHA-256 of each image, by split. CIFAR-10 itself repeats hardly any.
    """
    for split, every in digests.items():
        twice = len(every) - len(set(every))
        if twice > REPEATS * len(every):
            print(
                f"Mind: {twice:,} of {len(every):,} {split} images repeat others", file=sys.stderr
            )
    shared = len(set(digests["train"]) & set(digests["test"]))
    if shared > REPEATS * len(digests["test"]):
        print(f"Mind: {shared:,} test images are training images too", file=sys.stderr)


def _canonical(labels, digests):
    """Returns the order by label, then by the pixels' SHA-256, whatever the order on disk is."""
    return np.array(sorted(range(len(labels)), key=lambda i: (labels[i], digests[i])), dtype=int)


@functools.lru_cache(maxsize=1)  # a sweep's cells share it
def _open(folder: Path) -> Dataset:
    """Opens a decoded copy. Raises Damaged where it is not what was written."""
    try:
        about = json.loads((folder / "source.json").read_text())
        names = [f"{split}-{kind}" for split in SPLITS for kind in ("images", "labels")]
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in names}
        fingerprint = _fingerprint(arrays)
        whole = fingerprint == about["fingerprint"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None
    if not whole:
        raise Damaged("its pixels or labels are not those that were decoded")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Dataset(
        images={split: tensors[f"{split}-images"] for split in SPLITS},
        labels={split: tensors[f"{split}-labels"] for split in SPLITS},
        source=about["source"],
        fingerprint=fingerprint,
    )


def _fingerprint(arrays: dict[str, np.ndarray]) -> str:
    """Returns the SHA-256 of all pixels and labels."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def subset(labels: torch.Tensor, count: int | None) -> torch.Tensor:
    """Returns the positions of `count` images, the same number of every class.

    Where count is None, returns the positions of all images. The choice depends on nothing but the
    data. Raises DataError where there are too few images, or where count does not divide among the
    classes.
    """
    if count is None:
        return torch.arange(len(labels))
    if count < 1 or count % len(CLASSES):
        raise DataError(
            f"recipe.images={count}: it takes a multiple of {len(CLASSES)}, or null for all"
        )
    each = count // len(CLASSES)
    chosen = []
    for label, name in enumerate(CLASSES):
        positions = torch.nonzero(labels == label).flatten()
        if len(positions) < each:
            raise DataError(
                f"recipe.images={count} asks for {each} images of each class; "
                f"the dataset has {len(positions)} of class {name}"
            )
        chosen.append(permutation(FIXED_SEED, 0, positions, SUBSET)[:each])
    return torch.cat(chosen).sort().values


def check_count(labels: torch.Tensor, count: int | None):
    """Raises DataError where the test set has fewer than `count` images."""
    if count is not None and count > len(labels):
        raise DataError(f"recipe.test_images={count}: the test set has {len(labels)} images")
