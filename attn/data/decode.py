"""From files to arrays: the official pickles, and image files in a tar of class folders."""

import hashlib
import io
import lzma
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10
from tqdm import tqdm

from attn.data.dataset import SPLITS
from attn.errors import DataError
from attn.names import CLASSES


def check_md5(name: str, data: bytes, expected: str):
    found = hashlib.md5(data).hexdigest()
    if found != expected:
        raise DataError(
            f"{name} is damaged: its MD5 is {found}, CIFAR-10's is {expected}. "
            "Delete it, or bring a whole copy."
        )


def decode_batches(read: Callable[[str], bytes]):
    """Decodes the official pickles, whose MD5 has been compared, so unpickling them is safe."""
    decoded = {}
    for split, files in zip(SPLITS, (CIFAR10.train_list, CIFAR10.test_list), strict=True):
        parts = [pickle.loads(read(name), encoding="latin1") for name, _ in files]
        images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([np.array(part["labels"], np.int64) for part in parts])
        decoded[split] = images, labels
    return decoded


def decode_image_tar(path: Path):
    """Decodes the image files in a tar of class folders, in any compression."""
    try:
        return _decode_images(path, _tar_members(path))
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} is truncated or damaged: {error}") from None


def _tar_members(path: Path):
    # A stream: seeking in a compressed tar would decompress it again for each image.
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, tar.extractfile(member).read()


def decode_image_folder(path: Path):
    """Decodes the image files in class folders."""
    return _decode_images(path, ((str(f.relative_to(path)), f.read_bytes()) for f in files(path)))


def files(path: Path) -> list[Path]:
    """Returns every file below the two splits' folders."""
    return sorted(f for split in SPLITS for f in (path / split).rglob("*") if f.is_file())


def _decode_images(path: Path, members):
    """Decodes members, which yields (name, content), into {split: (images, labels)}."""
    decoded = {split: ([], []) for split in SPLITS}
    for name, data in tqdm(
        members, desc=f"decoding {path.name}", unit=" images", disable=None, leave=False
    ):
        split, label = _split_and_label(path, name)
        decoded[split][0].append(_decode_image(f"{path}: {name}", data))
        decoded[split][1].append(label)
    for split, (images, labels) in decoded.items():
        counts = {name: labels.count(label) for label, name in enumerate(CLASSES)}
        few, many = min(counts, key=counts.get), max(counts, key=counts.get)
        if counts[few] < counts[many]:  # a tar that was cut may end without an error
            raise DataError(
                f"{path} is incomplete or truncated: {counts[few]} images in {split}/{few}, "
                f"{counts[many]} in {split}/{many}"
            )
        if not labels:
            raise DataError(f"{path} is incomplete: no image in {split}/")
        decoded[split] = np.stack(images), np.array(labels, np.int64)
    return decoded


def _split_and_label(path: Path, name: str):
    """Returns the split and the label of a file: ("train", 0) of .../train/airplane/0000.jpg."""
    parts = Path(name).parts
    if len(parts) < 3 or parts[-3] not in SPLITS or parts[-2] not in CLASSES:
        raise DataError(
            f"{path}: {name} is not in a class folder. "
            f"Expected train/CLASS/FILE or test/CLASS/FILE, CLASS one of: {', '.join(CLASSES)}"
        )
    return parts[-3], CLASSES.index(parts[-2])


def _decode_image(name: str, data: bytes):
    try:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError) as error:  # ValueError: some truncated files
        raise DataError(f"{name} is not a whole image: {error}") from None
    if image.shape != (32, 32, 3):
        raise DataError(f"{name} is {image.shape[1]}x{image.shape[0]}; CIFAR-10 images are 32x32")
    return image.transpose(2, 0, 1)
