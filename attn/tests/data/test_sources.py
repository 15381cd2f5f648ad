"""Sources and their errors, the canonical order, the cache, the subset."""

import contextlib
import hashlib
import io
import os
import pickle
import shutil
import socket
import tarfile

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from attn.data import dataset, decode, load, sources, subset
from attn.data.inputs import MEAN
from attn.errors import DataError, DataMissing
from attn.names import CLASSES
from attn.tests.conftest import needs_cifar10

EACH = 2  # images of each class and split in the small archives


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Data that a test makes is cached in its own folder, and the environment says nothing."""
    monkeypatch.setattr(dataset, "ROOT", tmp_path / "repository")
    monkeypatch.setattr(sources, "ROOT", tmp_path / "repository")
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {"pixels": [1], "label": 1}, r"a row has an image file.*'pixels', 'label'"),
        (lambda row: row | {"label": 10}, "a row has a label from 0 to 9, not 10"),
        (lambda row: row | {"img": {"bytes": b"no image"}}, "row 0 is not a whole image"),
    ],
)
def test_what_is_wrong_in_a_parquet_file_is_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load(root=str(tables(tmp_path / "rows", pictures(), change)))


def test_half_of_the_parquet_files_are_refused(tmp_path):
    root = tables(tmp_path / "rows", pictures())
    (file,) = root.glob("*/test*")
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="is truncated or damaged"):
        load(root=str(root))
    file.unlink()
    with pytest.raises(DataError, match=r"has no test\*.parquet beside the other split's"):
        load(root=str(root))


def test_every_form_of_the_same_pixels_is_the_same_data(tmp_path, monkeypatch):
    images = pictures()
    tar = image_tar(tmp_path / "a.tar.xz", images)
    plain = image_tar(tmp_path / "b.tar", images, "w")
    folder = official_folder(tmp_path, images, monkeypatch)
    archive = tmp_path / sources.ARCHIVE
    with tarfile.open(archive, "w:gz") as writer:
        writer.add(folder, sources.FOLDER)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    binary = binary_archive(tmp_path / "cifar-10-binary.tar.gz", images, monkeypatch)
    rows = tables(tmp_path / "rows", images)
    found = [load(root=str(path)) for path in (tar, plain, rows, folder, archive, binary)]
    assert [data.source for data in found] == ["images"] * 3 + ["archive"] * 3
    assert len({data.fingerprint for data in found}) == 1
    for data in found[1:]:
        assert data.images["train"].equal(found[0].images["train"])
    data = found[0]
    assert data.labels["test"].tolist() == sorted(list(range(10)) * EACH)
    labels = [i // EACH % 10 for i in range(len(images))]
    channels_first = [image.transpose(2, 0, 1).tobytes() for image in images]
    originals = dict(zip(channels_first, labels, strict=True))
    for split in ("train", "test"):
        for image, label in zip(data.images[split], data.labels[split], strict=True):
            assert originals[image.numpy().tobytes()] == label


def test_the_second_load_decodes_nothing(tmp_path, monkeypatch):
    path = image_tar(tmp_path / "a.tar.xz")
    first = load(root=str(path))
    monkeypatch.setattr(sources, "decode_image_tar", lambda path: pytest.fail("decoded again"))
    assert load(root=str(path)).fingerprint == first.fingerprint
    os.utime(path, (1, 1))  # a changed file is not the cached one
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        load(root=str(path))


def test_the_environment_comes_before_data_and_may_be_read_only(tmp_path, monkeypatch):
    root = tmp_path / "mine"
    root.mkdir()
    image_tar(root / "cifar10-images.tar.xz", pictures(1))
    root.chmod(0o555)
    monkeypatch.setenv("CIFAR10_ROOT", str(root))
    there = load()
    data = tmp_path / "repository" / "data"
    data.mkdir(exist_ok=True)
    image_tar(data / "images.tar", pictures(2), "w")
    assert load().fingerprint == there.fingerprint
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "empty"))
    assert load().fingerprint == load(root=str(data)).fingerprint != there.fingerprint
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "nowhere"))  # mistyped: not to be passed over
    with pytest.raises(DataError, match=r"CIFAR10_ROOT=.*nowhere: no such folder or file"):
        load()


def no_network(*args, **kwargs):
    raise OSError("no route to host")


def test_nothing_found_says_what_was_tried_and_how_to_help(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    monkeypatch.setattr(sources, "download_url", no_network)
    with pytest.raises(DataMissing) as raised:
        load()
    message = str(raised.value)
    places = [f"CIFAR10_ROOT={tmp_path}: no CIFAR-10 there", "repository/data", "download of http"]
    assert [message.index(place) for place in places] == sorted(message.index(p) for p in places)
    for help_ in ("no route to host", sources.ARCHIVE, CIFAR10.tgz_md5, "data.root=", "synthetic"):
        assert help_ in message


def test_an_explicit_root_is_the_only_place_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "download_url", no_network)
    with pytest.raises(DataMissing, match=r"data\.root=/nowhere: no such folder or file"):
        load(root="/nowhere")


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/archive"
        monkeypatch.setattr(CIFAR10, "url", address)
        monkeypatch.setattr(sources, "PATIENCE", 0.2)
        monkeypatch.delenv("CIFAR10_ROOT", raising=False)
        with pytest.raises(DataMissing, match=f"download of {address}: .*timed out"):
            load()
    assert socket.getdefaulttimeout() is None


def test_a_broken_download_never_passes_for_a_whole_one(tmp_path, monkeypatch):
    def breaks_off(url, root, filename, md5):
        (root / filename).write_bytes(b"half")
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(sources, "download_url", breaks_off)
    with pytest.raises(DataMissing, match="corrupted"):
        load()
    assert not list((tmp_path / "repository" / "data").iterdir())


def test_a_wrong_md5_names_file_expected_and_found(tmp_path, monkeypatch):
    archive = tmp_path / sources.ARCHIVE
    archive.write_bytes(b"not the archive")
    with pytest.raises(DataError) as raised:
        load(root=str(tmp_path))
    for part in (str(archive), CIFAR10.tgz_md5, hashlib.md5(b"not the archive").hexdigest()):
        assert part in str(raised.value)
    folder = official_folder(tmp_path / "other", pictures(), monkeypatch)
    (folder / "data_batch_3").write_bytes(b"damaged")
    with pytest.raises(DataError, match="data_batch_3 is damaged"):
        load(root=str(folder))
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="lacks data_batch_3"):
        load(root=str(folder))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_is_named_wherever_it_was_cut(tmp_path, mode):
    path = image_tar(tmp_path / "images.tar.any", mode=mode)
    whole = path.read_bytes()
    fingerprint = load(root=str(path)).fingerprint
    for part in range(1, 40):
        path.write_bytes(whole[: len(whole) * part // 40])
        if part > 36:  # perhaps only the padding behind the last image is cut
            with contextlib.suppress(DataError):
                assert load(root=str(path)).fingerprint == fingerprint
        else:
            with pytest.raises(DataError, match=r"images\.tar\.any is (truncated|incomplete)"):
                load(root=str(path))
    assert len(list((tmp_path / "repository").rglob("train-images.npy"))) < 5


def test_a_truncated_image_is_named(tmp_path):
    def cut(name, data):
        return name, data[:-40] if name == "test/dog/1.png" else data

    image_tar(tmp_path / "images.tar.gz", mode="w:gz", change=cut)
    with pytest.raises(DataError, match=r"images\.tar\.gz: test/dog/1\.png is not a whole image"):
        load(root=str(tmp_path))


def test_foreign_and_missing_members_are_named(tmp_path):
    def rename(name, data):
        return name.replace("cat", "cats"), data

    def drop(name, data):
        return None if name.startswith("test/frog") else (name, data)

    path = image_tar(tmp_path / "images.tar", mode="w", change=rename)
    with pytest.raises(DataError, match=r"train/cats/0\.png is not in a class folder"):
        load(root=str(path))
    path = image_tar(tmp_path / "images.tar", mode="w", change=drop)
    with pytest.raises(DataError, match="0 images in test/frog, 2 in test/airplane"):
        load(root=str(path))


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


def test_several_trees_are_a_question_in_a_folder_and_in_a_tar(tmp_path):
    """They had been counted together, as twice as many images."""
    folder = unpacked(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(DataError, match=r"holds 2 trees of class folders \(copy, folder\)"):
        load(root=str(packed(tmp_path / "two.tar", folder, copy)))
    shutil.copytree(copy, folder / "train" / "old")
    for path in (folder, packed(tmp_path / "within.tar", folder)):
        with pytest.raises(DataError, match="holds 2 trees of class folders"):
            load(root=str(path))


def test_files_that_are_no_images_are_left_out_aloud(tmp_path, capsys):
    folder = unpacked(tmp_path)
    expected = load(root=str(folder))
    others = ["train/airplane/._0.png", "train/cat/Thumbs.db", "train/labels.txt"]
    others += [
        "train/__MACOSX/airplane/0.png",
        "train/.hidden/0.png",
        "labels.txt",
        "val/cat/0.png",
    ]
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    for path in (folder, packed(tmp_path / "a.tar", folder)):
        data = load(root=str(path))
        assert data.fingerprint == expected.fingerprint
        assert (
            "left out, as no image of a class: 7 of its files, such as" in capsys.readouterr().out
        )


def test_links_count_as_what_they_lead_to(tmp_path):
    folder, links = unpacked(tmp_path), tmp_path / "links"
    expected = load(root=str(folder))
    for split in ("train", "test"):
        (links / split).mkdir(parents=True)
        for name in CLASSES:
            (links / split / name).symlink_to(folder / split / name)
    assert load(root=str(links)).fingerprint == expected.fingerprint
    cat = folder / "train" / "cat"
    (cat / "1.png").unlink()
    (cat / "1.png").symlink_to("0.png")  # in a tar too
    same = [load(root=str(path)) for path in (folder, packed(tmp_path / "a.tar", folder))]
    assert same[0].fingerprint == same[1].fingerprint != expected.fingerprint
    (cat / "0.png").rename(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"train/cat/1\.png is a link to nothing"):
        load(root=str(folder))
    with pytest.raises(DataError, match=r"folder/train/cat/1\.png is a link to folder/train/cat/0"):
        load(root=str(packed(tmp_path / "b.tar", folder)))


def test_the_last_of_several_members_of_a_name_counts(tmp_path):
    folder = unpacked(tmp_path)
    tar = packed(tmp_path / "a.tar", folder)
    Image.fromarray(pictures(5)[0]).save(folder / "train" / "cat" / "0.png")
    with tarfile.open(tar, "a") as more:
        more.add(folder / "train" / "cat" / "0.png", "folder/train/cat/0.png")
    assert load(root=str(tar)).fingerprint == load(root=str(folder)).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: Image.fromarray(np.asarray(i.convert("L")).astype(np.uint16) * 257), "8 bits a"),
        (lambda i: Image.merge("RGBA", (*i.split(), i.getchannel(0))), "is transparent in places"),
        (lambda i: i.resize((31, 32)), "is 31x32; CIFAR-10 images are 32x32"),
    ],
)
def test_images_whose_pixels_would_be_lost_are_refused(tmp_path, change, message):
    """Deep grey images had turned white, and trained."""
    folder = unpacked(tmp_path)
    path = folder / "train" / "dog" / "0.png"
    with Image.open(path) as image:
        change(image.convert("RGB")).save(path)
    with pytest.raises(DataError, match=rf"train/dog/0\.png .*{message}"):
        load(root=str(folder))
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match="is not a whole image: its format is not known"):
        load(root=str(folder))


def test_parquet_files_of_one_name_in_two_folders_are_two_files(tmp_path):
    root = tables(tmp_path / "rows", pictures())
    count = len(load(root=str(root)).labels["train"])
    tables(tmp_path / "others", 255 - pictures())
    (tmp_path / "others" / "plain_text").rename(root / "more")
    assert len(load(root=str(root)).labels["train"]) == 2 * count


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "source"])
def test_a_damaged_copy_in_the_cache_is_made_again_aloud(tmp_path, capsys, damage):
    """A flipped byte had trained under another hash without a word."""
    root = str(unpacked(tmp_path))
    first = load(root=root)
    dataset._open.cache_clear()
    (path,) = (tmp_path / "repository").rglob("train-images.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "source":
        (path.parent / "source.json").write_text("{}")
    else:
        path.write_bytes({"flip": content, "cut": content[:-9], "remove": b""}[damage])
    assert load(root=root).fingerprint == first.fingerprint
    assert "is damaged (" in capsys.readouterr().err
    dataset._open.cache_clear()
    (path.parent / "source.json").unlink()  # as where its removal was killed
    assert load(root=root).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("cifar-10-batches-py", "is damaged: its MD5 is"),
        ("cifar-100-python", "is CIFAR-100: bring CIFAR-10"),
        ("cifar-10-batches-bin", f"is damaged: its MD5 is .*, CIFAR-10's is {decode.BINARY_MD5}"),
    ],
)
def test_an_archive_is_known_by_its_content(tmp_path, top, message):
    (tmp_path / top).mkdir()
    (tmp_path / top / "batches.meta").write_bytes(b"no pickle")
    path = packed(tmp_path / "cifar-10-python (1).tar.gz", tmp_path / top)
    with pytest.raises(DataError, match=message):
        load(root=str(path))
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(DataError, match="is a zip archive: unpack it"):
        load(root=str(path))


def test_several_archives_in_one_place_are_a_question(tmp_path):
    image_tar(tmp_path / "a.tar", mode="w")
    image_tar(tmp_path / "b.tar.gz", mode="w:gz")
    with pytest.raises(DataError, match=r"2 archives \(a\.tar, b\.tar\.gz\): name one"):
        load(root=str(tmp_path))


def test_subset_is_stratified_and_fixed():
    labels = torch.arange(10).repeat_interleave(50)
    chosen = subset(labels, 100)
    assert labels[chosen].bincount().tolist() == [10] * 10
    assert subset(labels, 100).equal(chosen)
    assert subset(labels, None).equal(torch.arange(500))
    with pytest.raises(DataError, match=r"images=1000 asks for 100 .* has 50 of class airplane"):
        subset(labels, 1000)
    with pytest.raises(DataError, match=r"recipe\.images=15: it takes a multiple of 10"):
        subset(labels, 15)


@needs_cifar10
def test_real_cifar10(real):
    assert real.labels["train"].bincount().tolist() == [5000] * 10
    assert real.labels["test"].bincount().tolist() == [1000] * 10
    mean = (real.images["train"].double().mean((0, 2, 3)) / 255).float()
    torch.testing.assert_close(mean, torch.tensor(MEAN), atol=1e-3, rtol=0)


def test_synthetic_is_the_same_everywhere():
    data = load("synthetic")
    assert data.source == "synthetic"
    assert data.labels["train"].bincount().tolist() == [1000] * 10
    assert data.fingerprint.startswith("a8cc0b498269")


def test_class_folders_are_read_like_a_tar_of_them(tmp_path):
    tar = image_tar(tmp_path / "images.tar", mode="w")
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(tar, folder)
    data = load(root=str(folder))
    assert data.source == "images" and data.fingerprint == load(root=str(tar)).fingerprint
    cut = folder / "train" / "dog" / "0.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"train/dog/0\.png is not a whole image"):
        load(root=str(folder))
