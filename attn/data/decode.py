"""Decodes CIFAR-10's files: official pickles or binary records, Parquet tables, and image files."""

import hashlib
import io
import lzma
import os
import pickle
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError
from torchvision.datasets import CIFAR10
from tqdm import tqdm

from attn.data.dataset import SPLITS
from attn.errors import DataError
from attn.names import CLASSES

BINARY_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of cifar-10-binary.tar.gz
RECORD = 1 + 3 * 32 * 32  # bytes
OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")
# What reading a tar that is truncated, damaged or something else may raise.
BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
EIGHT_BITS = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")  # Pillow's modes


def check_md5(name: str, data: bytes, expected: str):
    found = hashlib.md5(data).hexdigest()
    if found != expected:
        raise DataError(
            f"{name} is damaged: its MD5 is {found}, CIFAR-10's is {expected}. "
            "Delete it, or bring a whole copy."
        )


def decode_archive(path: Path):
    """Decodes the official archive, also where a browser or a person has packed it anew.

    Raises DataError, with the MD5 of the whole file, where it does not hold the official pickles.
    """
    try:
        with tarfile.open(path) as tar:
            members = {PurePosixPath(member.name).name: member for member in tar if member.isfile()}
            return _decode_pickles(path, lambda name: tar.extractfile(members[name]).read())
    except (*BROKEN, KeyError, DataError):
        check_md5(str(path), path.read_bytes(), CIFAR10.tgz_md5)
        raise


def decode_batches(folder: Path):
    """Decodes the folder that the official archive holds."""
    return _decode_pickles(folder, lambda name: (folder / name).read_bytes())


def _decode_pickles(place: Path, read: Callable[[str], bytes]):
    """Decodes the official pickles. Their MD5 is compared first, so unpickling them is safe."""

    def checked(name: str, md5: str) -> dict:
        data = read(name)
        check_md5(str(place / name), data, md5)
        return pickle.loads(data, encoding="latin1")

    decoded = {}
    for split, files in zip(SPLITS, (CIFAR10.train_list, CIFAR10.test_list), strict=True):
        parts = [checked(name, md5) for name, md5 in files]
        images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([np.array(part["labels"], np.int64) for part in parts])
        decoded[split] = images, labels
    return decoded


def decode_binary(path: Path):
    """Decodes the official binary version's tar: records of a label and 3 x 32 x 32 pixels."""
    check_md5(str(path), path.read_bytes(), BINARY_MD5)
    with tarfile.open(path) as tar:
        read = {PurePosixPath(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
    names = {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]}
    decoded = {}
    for split, batches in names.items():
        parts = [np.frombuffer(read[name], np.uint8).reshape(-1, RECORD) for name in batches]
        records = np.concatenate(parts)
        decoded[split] = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
    return decoded


def decode_parquet(tables: dict[str, list[Path]]):
    """Decodes rows of an image file (img or image) and a number (label), by split.

    Raises DataError where pyarrow is not installed, or where a column is missing.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        path = tables["train"][0]
        raise DataError(f"{path}: pip install pyarrow, which reads Parquet files") from None
    images = {}
    for split, paths in tables.items():
        for path in _shown(paths[0].parent, paths):
            try:
                rows = pyarrow.parquet.read_table(path).to_pylist()
            except (OSError, pyarrow.ArrowException) as error:
                raise DataError(f"{path} is truncated or damaged: {error}") from None
            for number, row in enumerate(rows):
                name, kind, data = _of_parquet(path, number, row)
                image = _decode_image(f"{path}: {name}", data)
                images[f"{split}/{kind}/{path.parent.name}-{path.name}-{name}"] = image
    return _decode_images(tables["train"][0].parent, images, [])


def _of_parquet(path: Path, number: int, row: dict) -> tuple[str, str, bytes]:
    """Returns the name of a row, its class and its image file."""
    image, label = row.get("img", row.get("image")), row.get("label")
    if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes):
        raise DataError(f"{path}: a row has an image file, as img or image; there are {[*row]}")
    if type(label) is not int or not 0 <= label < len(CLASSES):
        raise DataError(f"{path}: a row has a label from 0 to {len(CLASSES) - 1}, not {label!r}")
    return f"row {number}", CLASSES[label], image["bytes"]


def decode_image_tar(path: Path):
    """Decodes the image files in a tar of class folders, in any compression.

    A file that comes twice counts as its last copy, and a link as the file that it leads to.
    """
    try:
        return _decode_images(path, *_read_tar(path))
    except BROKEN as error:
        raise DataError(f"{path} is truncated or damaged: {error}") from None


def _read_tar(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the images of a tar by their names, and the names of other files."""
    images, others, links = {}, [], {}
    # A stream: seeking in a compressed tar would decompress it again for each image.
    with tarfile.open(path, "r|*") as tar:
        for member in _shown(path, tar):
            name = str(PurePosixPath(member.name))
            images.pop(name, None)
            links.pop(name, None)
            if member.issym():
                target = posixpath.join(posixpath.dirname(name), member.linkname)
                links[name] = posixpath.normpath(target)
            elif member.islnk():
                links[name] = str(PurePosixPath(member.linkname))
            elif member.isfile() and _is_image(path, name):
                images[name] = _decode_image(f"{path}: {name}", tar.extractfile(member).read())
            elif member.isfile():
                others.append(name)
    while links:  # a link may lead to another, which comes behind it
        found = {name: _reached(images, target) for name, target in links.items()}
        found = {name: reached for name, reached in found.items() if reached}
        if not found:
            name, target = next(iter(links.items()))
            raise DataError(f"{path}: {_text(name)} is a link to {_text(target)}, no image there")
        for name, reached in found.items():
            target = links.pop(name)
            for n, image in reached.items():
                linked = name + n.removeprefix(target)
                if _is_image(path, linked):
                    images[linked] = image
                else:
                    others.append(linked)
    return images, others


def _reached(images: dict[str, np.ndarray], target: str) -> dict[str, np.ndarray]:
    """Returns the images that a link to a file or a folder leads to."""
    return {n: image for n, image in images.items() if n == target or n.startswith(f"{target}/")}


def decode_image_folder(path: Path):
    """Decodes the image files in class folders; links are followed."""
    images = {}
    others = [entry.name for entry in sorted(path.iterdir()) if _is_beside(entry.name)]
    for file in _shown(path, files(path)):
        name = file.relative_to(path).as_posix()
        if not _is_image(path, name):
            others.append(name)
            continue
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {_text(name)} cannot be read: {error.strerror}") from None
        images[name] = _decode_image(f"{path}: {_text(name)}", content)
    return _decode_images(path, images, others)


def _is_beside(name: str) -> bool:
    """Returns whether an entry beside train/ and test/ is worth a word."""
    return name not in SPLITS and not name.startswith(".")


def files(path: Path) -> list[Path]:
    """Returns every file below the two splits' folders, through links to folders too."""
    found = []
    for split in SPLITS:
        for folder, below, names in os.walk(path / split, followlinks=True):
            found += [Path(folder, name) for name in names]
            for name in below:
                _refuse_loop(path, Path(folder), name)
    return sorted(found)


def _refuse_loop(path: Path, folder: Path, name: str):
    """Raises DataError where a folder in `folder` is a link to a folder that it lies in."""
    if folder.resolve().is_relative_to((folder / name).resolve()):
        where = _text((folder / name).relative_to(path).as_posix())
        raise DataError(f"{path}: {where} is a link that leads back to where it lies: remove it")


def _shown(path: Path, members):
    """Shows the progress of decoding a source."""
    return tqdm(members, desc=f"decoding {path.name}", unit=" files", disable=None, leave=False)


def _text(name: str) -> str:
    """Returns a file's name as it can be printed, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_image(path: Path, name: str) -> bool:
    """Returns whether a file is an image in a class folder, .../train/airplane/0000.jpg.

    Raises DataError where an image lies in a folder of train/ or test/ that is no class.
    """
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    known = PurePosixPath(name).suffix.lower() in Image.registered_extensions()
    if hidden or not known or len(parts) < 3 or parts[-3] not in SPLITS:
        return False
    if parts[-2] not in CLASSES:
        raise DataError(
            f"{path}: {_text(name)} is not in a class folder. "
            f"Expected train/CLASS/FILE or test/CLASS/FILE, CLASS one of: {', '.join(CLASSES)}"
        )
    return True


def _decode_images(path: Path, images: dict, others: list[str]):
    """Sorts images (3, 32, 32) by their names into {split: (images, labels)}; counts `others`.

    Raises DataError where the names are of several trees, or where a class lacks images.
    """
    trees = sorted({str(PurePosixPath(name).parents[2]) for name in images})
    if len(trees) > 1:
        several = ", ".join(_text(tree) for tree in trees[:5])
        raise DataError(f"{path} holds {len(trees)} trees of class folders ({several}): keep one")
    if others:
        some = ", ".join(_text(name) for name in others[:3])
        print(
            f"{path}: left out, as no image of a class: {len(others)} of its files, such as {some}"
        )
    found = {split: ([], []) for split in SPLITS}
    for name, image in images.items():
        *_, split, kind, _ = PurePosixPath(name).parts
        found[split][0].append(image)
        found[split][1].append(CLASSES.index(kind))
    decoded = {}
    for split, (pixels, labels) in found.items():
        counts = {name: labels.count(label) for label, name in enumerate(CLASSES)}
        few, many = min(counts, key=counts.get), max(counts, key=counts.get)
        if counts[few] < counts[many]:  # a tar that was cut may end without an error
            raise DataError(
                f"{path} is incomplete or truncated: {counts[few]} images in {split}/{few}, "
                f"{counts[many]} in {split}/{many}"
            )
        if not labels:
            raise DataError(f"{path} is incomplete: no image in {split}/")
        decoded[split] = np.stack(pixels), np.array(labels, np.int64)
    return decoded


def _is_deep(how) -> bool:
    """Returns whether Pillow decodes 16 bits a channel.

    how: the arguments of its decoder, of which the raw mode is the first; of a PPM file the largest
    value is the second.
    """
    mode, *others = (how,) if isinstance(how, str) else how
    return bool(re.search(r";16[BLN]", str(mode))) or others[:1] == [65535]


def _decode_image(name: str, data: bytes):
    """Decodes an image file to (3, 32, 32) uint8. Raises DataError where pixels would be lost."""
    try:
        image = Image.open(io.BytesIO(data))
        deep = any(_is_deep(tile[3]) for tile in image.tile)  # of which Pillow keeps 8 bits
        image.load()
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a whole image: its format is not known") from None
    except (OSError, ValueError, SyntaxError) as error:  # some truncated files
        raise DataError(f"{name} is not a whole image: {error}") from None
    if image.mode in OTHER_COLOURS:
        raise DataError(f"{name} has other colours (Pillow's mode {image.mode}); convert it to RGB")
    if deep or image.mode not in EIGHT_BITS:
        raise DataError(
            f"{name} has more than 8 bits a channel (Pillow's mode {image.mode}); scale it to 8 "
            "bits, as with numpy: (pixels / 257).astype('uint8')"
        )
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        raise DataError(f"{name} is transparent in places; put it on a background first")
    if image.size != (32, 32):
        raise DataError(f"{name} is {image.width}x{image.height}; CIFAR-10 images are 32x32")
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
