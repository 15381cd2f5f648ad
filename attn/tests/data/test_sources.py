"""Sources and their errors, the canonical order, the cache, the subset."""

import contextlib
import gzip
import hashlib
import os
import shutil
import socket
import tarfile

import pytest
import torch
from torchvision.datasets import CIFAR10

from attn.data import dataset, decode, load, sources, subset
from attn.data.__main__ import main
from attn.data.inputs import MEAN
from attn.errors import DataError, DataMissing
from attn.tests.conftest import needs_cifar10
from attn.tests.data.archives import (
    EACH,
    binary_archive,
    image_tar,
    official_folder,
    packed,
    pictures,
    tables,
    unpacked,
)

pytestmark = pytest.mark.usefixtures("own_cache")


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


def _of_pickles(member, folder):
    return member if member.name == "." or folder.name in member.name else None


def test_every_form_of_the_same_pixels_is_the_same_data(tmp_path, monkeypatch):
    images = pictures()
    tar = image_tar(tmp_path / "a.tar.xz", images)
    plain = image_tar(tmp_path / "b.tar", images, "w")
    folder = official_folder(tmp_path, images, monkeypatch)
    archive = tmp_path / sources.ARCHIVE
    with tarfile.open(archive, "w:gz") as writer:
        writer.add(folder, sources.FOLDER)
    unpacked = tmp_path / "unpacked" / "cifar-10-python.tar"  # as a browser may leave it
    unpacked.parent.mkdir()
    unpacked.write_bytes(gzip.decompress(archive.read_bytes()))
    binary = binary_archive(tmp_path / "cifar-10-binary.tar.gz", images, monkeypatch)
    rows = tables(tmp_path / "rows", images)
    anew = tmp_path / "mine.tgz"  # as by tar czf mine.tgz -C FOLDER .
    with tarfile.open(anew, "w:gz") as writer:
        writer.add(folder.parent, ".", filter=lambda member: _of_pickles(member, folder))
    paths = (tar, plain, rows, folder, archive, unpacked, anew, binary)
    found = [load(root=str(path)) for path in paths]
    assert [data.source for data in found] == ["images"] * 3 + ["archive"] * 5
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
    with pytest.raises(DataMissing, match="no CIFAR-10 in it: it is empty"):
        load(root=str(tmp_path))
    (tmp_path / "cifar10").mkdir()  # a folder deeper
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataMissing, match=r"no CIFAR-10 in it, but cifar10, notes\.txt\n"):
        load(root=str(tmp_path))


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


def test_parquet_files_in_two_folders_are_refused(tmp_path):
    root = tables(tmp_path / "rows", pictures())
    shutil.copytree(root / "plain_text", root / "copy")
    with pytest.raises(DataError, match=r"train\*.parquet in copy and plain_text: keep one"):
        load(root=str(root))


def test_copies_of_images_and_a_test_set_of_training_images_are_named(tmp_path, capsys):
    root = tables(tmp_path / "rows", pictures())
    (file,) = (root / "plain_text").glob("train*.parquet")
    shutil.copy(file, file.with_name("train-again.parquet"))
    count = len(load(root=str(root)).labels["train"])
    told = capsys.readouterr().err
    assert f"{count // 2} of {count} train images repeat others" in told
    (test,) = (root / "plain_text").glob("test*.parquet")
    shutil.copy(file, test)
    load(root=str(root))
    assert "test images are training images too" in capsys.readouterr().err


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


def test_the_data_is_found_by_all_words_that_train_takes(capsys):
    main(["-m", "location=none,first", "data.source=synthetic"])
    assert capsys.readouterr().out.startswith("SYNTHETIC images, not CIFAR-10: 10,000 train, 2,000")


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


def test_others_may_read_the_decoded_copy(tmp_path):
    load(root=str(unpacked(tmp_path)))
    (about,) = (tmp_path / "repository").rglob("source.json")
    assert about.parent.stat().st_mode & 0o777 == 0o755
