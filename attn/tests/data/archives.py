"""Small archives of made-up pictures, in every form that is read."""

import hashlib
import io
import pickle
import shutil
import tarfile

import numpy as np
import pyarrow.parquet
from PIL import Image
from torchvision.datasets import CIFAR10

from attn.data import decode, sources
from attn.names import CLASSES

EACH = 2  # images of each class and split in the small archives


def pictures(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (20 * EACH, 32, 32, 3), dtype=np.uint8)


def image_tar(path, images=None, mode="w:xz", change=lambda name, data: (name, data)):
    """A tar of class folders like train/cat/0.png; `change` may spoil or drop (None) a member."""
    images = pictures() if images is None else images
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in CLASSES for i in range(EACH)]
    with tarfile.open(path, mode) as tar:
        for name, image in zip(names, images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "png")
            changed = change(name, buffer.getvalue())
            if changed:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                tar.addfile(info, io.BytesIO(changed[1]))
    return path


def official_folder(root, images, monkeypatch):
    """The official pickles, of a few images; torchvision's MD5 list is theirs for this test."""
    folder = root / sources.FOLDER
    folder.mkdir(parents=True)
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    labels = [label for _ in ("train", "test") for label in range(10) for _ in range(EACH)]
    half = len(flat) // 2
    shuffled = np.random.default_rng(1).permutation(half)
    parts = {"test_batch": list(range(half, 2 * half))}
    for number, part in enumerate(np.array_split(shuffled, 5), 1):
        parts[f"data_batch_{number}"] = list(part)
    md5 = {}
    for name, chosen in parts.items():
        content = {"data": flat[chosen], "labels": [labels[i] for i in chosen]}
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        md5[name] = hashlib.md5(data).hexdigest()
    for attribute in ("train_list", "test_list"):
        known = [[name, md5[name]] for name, _ in getattr(CIFAR10, attribute)]
        monkeypatch.setattr(CIFAR10, attribute, known)
    return folder


def binary_archive(path, images, monkeypatch):
    """The official binary version, of a few images; its MD5 is theirs for this test."""
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    labels = [label for _ in ("train", "test") for label in range(10) for _ in range(EACH)]
    records = np.concatenate([np.array(labels, np.uint8)[:, None], flat], axis=1)
    half = len(records) // 2
    parts = {"test_batch": records[half:]}
    parts |= {f"data_batch_{n + 1}": part for n, part in enumerate(np.split(records[:half], 5))}
    with tarfile.open(path, "w:gz") as tar:
        for name, part in parts.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = part.size
            tar.addfile(info, io.BytesIO(part.tobytes()))
    monkeypatch.setattr(decode, "BINARY_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


def tables(root, images, change=lambda row: row):
    """Parquet files as the common hub has them; `change` may spoil a row."""
    labels = [label for _ in ("train", "test") for label in range(10) for _ in range(EACH)]
    rows = []
    for image, label in zip(images, labels, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        rows.append(change({"img": {"bytes": buffer.getvalue(), "path": None}, "label": label}))
    half, folder = len(rows) // 2, root / "plain_text"
    folder.mkdir(parents=True)
    for split, part in (("train", rows[:half]), ("test", rows[half:])):
        table = pyarrow.Table.from_pylist(part)
        pyarrow.parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return root


def unpacked(tmp_path, images=None):
    """The images of a small tar as class folders."""
    shutil.unpack_archive(image_tar(tmp_path / "packed.tar", images, "w"), tmp_path / "folder")
    (tmp_path / "packed.tar").unlink()
    return tmp_path / "folder"


def packed(path, *folders):
    with tarfile.open(path, "w") as tar:
        for folder in folders:
            tar.add(folder, folder.name)
    return path


def counts(data):
    return len(data.images["train"]), len(data.images["test"])
