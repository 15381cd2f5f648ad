import csv

import pytest
import torch

from attn.runs import checkpoint, files


def state(value):
    return {"weights": torch.full((3,), float(value)), "run": {"epochs": value}}


def loaded(folder, complain=pytest.fail):
    """Returns the epochs of the checkpoint that is loaded, which its checksum's line says too."""
    epochs = checkpoint.load(folder, complain)["run"]["epochs"]
    assert checkpoint.epochs(folder) == epochs
    return epochs


def test_write_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write(path, "old")

    def full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_was_writing_is_removed(tmp_path, monkeypatch):
    """No process that is killed removes it itself; what is whole stays."""
    whole = tmp_path / "checkpoint.pt"
    files.write(whole, "whole")
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", lambda *paths: None)
        files.write(whole, "half")
    assert len(list(tmp_path.iterdir())) == 2
    files.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [whole] and whole.read_text() == "whole"


def test_rows_of_a_broken_run_are_dropped(tmp_path):
    """Three epochs were written, and half a row; the checkpoint has two, or none."""
    path = tmp_path / "metrics.csv"
    files.truncate_rows(path, 0)
    for epoch in range(3):
        files.append_rows(path, [{"module": "a", "epoch": epoch, "loss": 0.1 + epoch}])
    with path.open("a") as file:
        file.write("\na,1")
    files.truncate_rows(path, 2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["loss"]) for row in rows] == [("0", "0.1"), ("1", "1.1")]
    assert files.last_row(path) == rows[-1]
    files.append_rows(path, [{"module": "a", "epoch": 2, "loss": 9}])
    assert files.last_row(path)["loss"] == "9"
    files.append_rows(path, [{"module": "a", "epoch": -1, "loss": 9}])
    files.truncate_rows(path, 0)
    assert not path.exists() and files.last_row(path) == {}
    path.touch()  # the disk was full
    assert files.last_row(path) == {}
    files.truncate_rows(path, 0)
    assert not path.exists()


def test_the_newest_whole_checkpoint_is_loaded(tmp_path):
    assert checkpoint.load(tmp_path) is checkpoint.epochs(tmp_path) is None
    for value in (1, 2, 3):
        checkpoint.save(tmp_path, state(value))
    assert loaded(tmp_path) == 3


def test_checksums_that_say_no_epochs_are_those_of_an_earlier_version(tmp_path):
    checkpoint.save(tmp_path, state(1))
    path = tmp_path / checkpoint.CHECKSUMS
    path.write_text(path.read_text().split()[0] + "\n")
    assert checkpoint.load(tmp_path, pytest.fail)["run"]["epochs"] == 1
    assert checkpoint.epochs(tmp_path) is None
    checkpoint.save(tmp_path, state(2))
    assert loaded(tmp_path) == 2
    (tmp_path / checkpoint.NAME).unlink()
    assert checkpoint.load(tmp_path, pytest.fail)["run"]["epochs"] == 1
    assert checkpoint.epochs(tmp_path) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "foreign"])
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path, damage):
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    newest = tmp_path / checkpoint.NAME
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = {"flip": data, "truncate": data[:100], "empty": b"", "foreign": b"PK other"}
    newest.write_bytes(damaged[damage])
    complaints = []
    assert loaded(tmp_path, complaints.append) == 1
    assert str(newest) in complaints[0] and "damaged" in complaints[0]


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    (tmp_path / checkpoint.NAME).write_bytes(b"half")

    def full(path, data):
        if path.name == checkpoint.NAME:
            raise OSError("No space left on device")
        files.write(path, data)

    checkpoint.discard_damaged(tmp_path)  # as a run does that goes on
    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, state(3))
    assert loaded(tmp_path) == 1


def test_a_crash_at_any_write_of_a_checkpoint_leaves_one_to_load(tmp_path, monkeypatch):
    class Crash(BaseException):
        pass

    replace = files.os.replace
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    for crash_at in (0, 1, 2, 2, 2, 2):  # checksums, previous, current; a disk may stay full
        calls = iter(range(3) if (tmp_path / checkpoint.NAME).exists() else (0, 2))

        def crashing(source, target, calls=calls, crash_at=crash_at):
            if next(calls) == crash_at:
                raise Crash
            replace(source, target)

        monkeypatch.setattr(files.os, "replace", crashing)
        with pytest.raises(Crash):
            checkpoint.save(tmp_path, state(9))
        assert loaded(tmp_path) == 2
    monkeypatch.setattr(files.os, "replace", replace)
    checkpoint.save(tmp_path, state(3))
    assert loaded(tmp_path) == 3


def test_a_file_keeps_the_columns_with_which_it_began(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,test_accuracy\n0,0.5\n")
    files.append_rows(path, [{"epoch": 1, "test_loss": 2.0, "test_accuracy": 0.6}])
    assert path.read_text() == "epoch,test_accuracy\n0,0.5\n1,0.6\n"
