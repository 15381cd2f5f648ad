"""Class folders, and tars of class folders: trees, links, and images that cannot be taken."""

import shutil
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from attn.data import load
from attn.errors import DataError
from attn.names import CLASSES
from attn.tests.data.archives import image_tar, packed, pictures, unpacked

pytestmark = pytest.mark.usefixtures("own_cache")


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
    (cat / "self").symlink_to(folder)
    with pytest.raises(DataError, match="train/cat/self is a link that leads back to where it"):
        load(root=str(folder))
    (cat / "self").unlink()
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


@pytest.mark.parametrize("top", ["folder/", ""])
def test_links_of_a_tar_that_lead_to_no_image_of_a_class_are_left_out(tmp_path, capsys, top):
    folder = unpacked(tmp_path)
    expected = load(root=str(folder)).fingerprint
    links = {"val": "test", "preview.png": "train/cat/0.png", "train/plane": "airplane"}
    for name, target in links.items():
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for file in sorted(folder.rglob("*.png")):
                tar.add(file, top + file.relative_to(folder).as_posix())
            link = tarfile.TarInfo(top + name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        if name == "train/plane":
            with pytest.raises(DataError, match=r"train/plane/\d\.png is not in a class folder"):
                load(root=str(tmp_path / "a.tar"))
        else:
            assert load(root=str(tmp_path / "a.tar")).fingerprint == expected
            assert f"such as {top}{name}" in capsys.readouterr().out


def deep_png() -> bytes:
    """A colour picture of 16 bits a channel, which Pillow opens as RGB."""

    def part(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(192)) for _ in range(32))
    parts = (b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(part(*one) for one in parts)


def test_deep_colours_and_inks_are_refused_by_their_names(tmp_path):
    folder = unpacked(tmp_path)
    path = folder / "train" / "dog" / "0.png"
    path.write_bytes(deep_png())
    with Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(DataError, match=r"dog/0\.png has more than 8 bits a channel"):
        load(root=str(folder))
    path.unlink()
    Image.new("CMYK", (32, 32)).save(path.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"has other colours .*CMYK.*; convert it to RGB"):
        load(root=str(folder))
