"""Run folders that somebody else has changed: train.py, status.py and eval.py agree on them."""

import hashlib
import importlib.util
import io
import json
import os
import shutil

import numpy as np
import pytest
import torch

import attn
from attn.config.sweep import configuration
from attn.data.inputs import Inputs
from attn.errors import RunError
from attn.evidence.collect import collect
from attn.runs import checkpoint
from attn.runs.files import read_arrays
from attn.runs.folder import Run, renamed
from attn.tests.conftest import NOISY, ROOT, TINY, program
from attn.training import session
from attn.training.cells import Cells
from attn.training.events import EpochEnded, Failed
from attn.training.launch import launch

CPU = torch.device("cpu")
SMALL = ("recipe.images=60", "recipe.test_images=50", "recipe.size=16", "recipe.precision=fp32")
BINARY = bytes(range(256))


def train(run, data, epochs=None):
    """Trains a run, in this process, to its end or for some epochs; returns why it failed."""
    reasons = []

    def report(_, event):
        if isinstance(event, Failed):
            reasons.append(event.reason)
        if isinstance(event, EpochEnded) and event.epoch + 1 == epochs:
            raise KeyboardInterrupt

    try:
        session.train([run], data, CPU, report)
    except KeyboardInterrupt:
        assert epochs
    return "".join(reasons)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, synthetic):
    """A run of three epochs that has two, and a finished one."""
    made = configuration("recipe=quick", "backbone=resnet20", "recipe.epochs=3", *SMALL, *NOISY)
    roots = [tmp_path_factory.mktemp(name) for name in ("half", "whole")]
    half, whole = (Run(made, 0, root) for root in roots)
    assert train(half, synthetic, epochs=2) == train(whole, synthetic) == ""
    assert half.epochs_done == 2 and not half.finished and whole.finished
    return half, whole


def copy(run, root):
    shutil.copytree(run.root, root, dirs_exist_ok=True)
    return Run(run.config, run.seed, root)


def gone(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def binary(path):
    path.write_bytes(BINARY)


def a_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def cut(path):
    """The head and the first row are left."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))


def of_others(path):
    path.write_text("a,b\n1,2\n")


DAMAGES = [gone, empty, binary, a_folder, cut, of_others]


@pytest.mark.parametrize("name", ["metrics.csv", "scores.csv"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("state", [0, 1], ids=["unfinished", "finished"])
def test_rows_that_are_lost_are_named_and_never_passed_over(
    trained_once, tmp_path, synthetic, name, damage, state
):
    run = copy(trained_once[state], tmp_path)
    config = (run.folder / "config.yaml").read_text()
    damage(run.folder / name)
    assert not run.finished
    (left,) = collect(tmp_path).left_out
    before_training = [run.damage, left, status_of(run)]
    assert all(f"its {name} is damaged (" in told for told in before_training)
    (run.folder / "environment.json").unlink()
    message = train(run, synthetic)
    assert message.startswith(f"its {name} is damaged (") and "; delete the folder" in message
    assert "Traceback" not in message and "\n" not in message
    assert not (run.folder / "environment.json").exists()  # it was refused before it was begun
    assert (run.folder / "config.yaml").read_text() == config


def test_a_flipped_byte_in_the_logits_is_damage(trained_once, tmp_path):
    """Most end in another check of the archive, some in its compression's own error."""
    run = copy(trained_once[1], tmp_path)
    path = run.folder / "predictions.npz"
    whole = path.read_bytes()
    logits, named = read_arrays(path)["logits"], 0
    start = whole.index(b"logits.npy") + 30  # behind the name and its extra field
    for position in [*range(start, start + 200), *range(start, len(whole) // 2, 500)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        if told := run.damage:
            assert told.startswith("its predictions.npz is damaged ("), position
            named += 1
        else:  # some bits are of codes that nothing uses
            assert np.array_equal(read_arrays(path)["logits"], logits)
    assert named > 150
    path.write_bytes(whole)
    assert run.finished


def status_of(run) -> str:
    spec = importlib.util.spec_from_file_location("status", ROOT / "scripts" / "status.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return " ".join(module.state(run))


@pytest.mark.parametrize("damage", [binary, a_folder], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["error.txt", ".lock", "config.yaml", "summary.json"])
def test_status_and_eval_read_on_whatever_is_wrong(trained_once, tmp_path, name, damage):
    run = copy(trained_once[0], tmp_path)
    damage(run.folder / name)
    word, _, text = status_of(run).partition(" ")
    assert word == ("failed" if name == "error.txt" else "partial"), text
    left = collect(tmp_path).left_out
    assert len(left) == 1 and run.name in left[0] and "delete the folder" not in left[0]


def test_a_list_of_checksums_that_cannot_be_read_is_named(trained_once, tmp_path):
    run = copy(trained_once[0], tmp_path)
    a_folder(run.folder / checkpoint.CHECKSUMS)
    (left,) = collect(tmp_path).left_out
    for told in (run.damage, left, status_of(run)):
        assert "its checkpoint.sha256 is damaged (Is a directory); delete the folder" in told


def test_status_names_who_trains_a_run(trained_once, tmp_path):
    run = copy(trained_once[0], tmp_path)
    with run.locked():
        assert status_of(run).startswith(f"running 2/3 epochs, process {os.getpid()} on ")
    assert status_of(run) == "partial 2/3 epochs"


@pytest.mark.parametrize("state", [0, 1], ids=["unfinished", "finished"])
def test_a_config_with_code_in_it_runs_none(trained_once, tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    run = copy(trained_once[state], tmp_path)
    path = run.folder / "config.yaml"
    harm = "!!python/object/apply:os.mkdir [harm]"
    path.write_text(f"{path.read_text()}harm: {harm}\n_target_: os.mkdir\n")
    (left,) = collect(tmp_path).left_out
    assert "its config.yaml is damaged" in left and "delete the folder" not in left
    with pytest.raises(RunError, match=r"config\.yaml"):
        attn.load_run(run.folder)
    assert not (tmp_path / "harm").exists()


def test_what_is_not_finite_never_reaches_what_is_saved(trained_once, tmp_path, synthetic):
    """Neither weights nor running statistics: the run goes on from the epoch before."""
    run = copy(trained_once[0], tmp_path)
    saved = (run.folder / checkpoint.NAME).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attn.evaluation.predict.Inputs.__call__", spoilt)
        assert "not finite in epoch 3, step 1" in train(run, synthetic)
    assert (run.folder / checkpoint.NAME).read_bytes() == saved
    assert train(run, synthetic) == "" and run.finished
    whole = torch.load(trained_once[1].folder / checkpoint.NAME, weights_only=True)["network"]
    resumed = torch.load(run.folder / checkpoint.NAME, weights_only=True)["network"]
    for name, value in resumed.items():  # two threads round otherwise
        assert value.double().allclose(whole[name].double(), atol=1e-5), name


def spoilt(inputs, samples, draws=None, call=Inputs.__call__):
    x, labels = call(inputs, samples, draws)
    return x * float("inf"), labels


def test_rows_are_asked_for_where_only_the_previous_checkpoint_is_left(
    trained_once, tmp_path, synthetic
):
    """Killed between two renames of a save."""
    run = copy(trained_once[0], tmp_path)
    (run.folder / checkpoint.NAME).rename(run.folder / checkpoint.PREVIOUS)
    (run.folder / "metrics.csv").unlink()
    assert "its metrics.csv is damaged (there is none)" in run.damage
    assert train(run, synthetic).startswith("its metrics.csv is damaged (there is none)")


def test_a_line_that_is_half_written_is_no_damage(trained_once, tmp_path, synthetic):
    run = copy(trained_once[0], tmp_path)
    for name in ("metrics.csv", "scores.csv"):
        with (run.folder / name).open("a") as file:
            file.write("2,0.0")
    assert run.damage == "" and train(run, synthetic) == "" and run.finished


@pytest.mark.parametrize("name", ["predictions.npz", "stem.csv", "config.yaml", "summary.json"])
@pytest.mark.parametrize("damage", [gone, empty, binary], ids=lambda damage: damage.__name__)
def test_what_the_checkpoint_can_tell_is_written_again(
    trained_once, tmp_path, synthetic, name, damage
):
    run = copy(trained_once[1], tmp_path)
    before = (run.folder / name).read_bytes()
    damage(run.folder / name)
    assert not run.finished and (name == "summary.json" or f"its {name} is damaged" in run.damage)
    assert len(collect(tmp_path).left_out) == 1
    assert train(run, synthetic) == ""
    assert run.finished and not collect(tmp_path).left_out
    if name != "predictions.npz":  # a zip has the time in it
        assert (run.folder / name).read_bytes() == before


@pytest.mark.parametrize("damage", [gone, binary], ids=lambda damage: damage.__name__)
def test_a_damaged_run_without_a_checkpoint_is_not_trained_over(
    trained_once, tmp_path, synthetic, damage
):
    run = copy(trained_once[1], tmp_path)
    (run.folder / "predictions.npz").unlink()
    damage(run.folder / checkpoint.NAME)
    metrics = (run.folder / "metrics.csv").read_text()
    message = train(run, synthetic)
    assert "its predictions.npz is damaged" in message and "no whole checkpoint.pt" in message
    assert (run.folder / "metrics.csv").read_text() == metrics


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def without(part):
    return lambda state: {key: value for key, value in state.items() if key != part}


STATES = [
    *((without(part), f"lacks {part}; delete the folder") for part in checkpoint.PARTS[1:]),
    (without("run"), "was made with key None"),
    (lambda state: [1, 2], "holds no run's state"),
    (lambda state: state | {"run": state["run"] | {"epochs": 999}}, "claims 999 epochs of 3"),
    (lambda state: {"run": Harmful()}, "holds no tensors and numbers alone"),
]


@pytest.mark.parametrize(("change", "message"), STATES, ids=[message for _, message in STATES])
def test_a_checkpoint_of_anything_else_is_refused(
    trained_once, tmp_path, synthetic, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path)
    run = copy(trained_once[0], tmp_path / "runs")
    path = run.folder / checkpoint.NAME
    buffer = io.BytesIO()
    torch.save(change(torch.load(path, weights_only=True)), buffer)
    path.write_bytes(buffer.getvalue())  # with a right checksum
    (run.folder / checkpoint.CHECKSUMS).write_text(hashlib.sha256(buffer.getvalue()).hexdigest())
    refused = train(run, synthetic)
    assert refused.startswith(f"{path} {message}") and "\n" not in refused
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", [checkpoint.NAME, checkpoint.CHECKSUMS, "summary.json"])
def test_a_folder_in_place_of_a_file_is_named(trained_once, tmp_path, synthetic, name):
    run = copy(trained_once[0], tmp_path)
    a_folder(run.folder / name)
    refused = train(run, synthetic)
    assert name in refused and refused.endswith("Is a directory") and "\n" not in refused


@pytest.mark.slow
def test_a_damaged_run_has_failed_where_it_is_asked_for_again(trained_once, tmp_path):
    words = ["recipe=quick", "backbone=resnet20", "recipe.epochs=3", *SMALL, *NOISY]
    words += ["data.source=synthetic", "device=cpu", f"runs={tmp_path}"]
    assert program("train.py", *words).returncode == 0
    (metrics,) = tmp_path.glob("*/metrics.csv")
    cut(metrics)
    again = program("train.py", *words)
    assert again.returncode == 1
    assert "seed 0  FAILED: its metrics.csv is damaged (it has 1 of 3 epochs)" in again.stdout
    status = program("scripts/status.py", *words).stdout
    assert status.startswith("damaged ") and "it has 1 of 3 epochs" in status


@pytest.mark.slow
def test_a_hundred_finished_runs_asked_for_again_are_left_as_they_are(tmp_path):
    words = [*TINY, "attention=se", "location=first,last", f"runs={tmp_path}"]
    assert program("train.py", "-m", *words).returncode == 0
    for path in list(tmp_path.glob("*-s0-*")):
        for seed in range(1, 50):
            files = shutil.ignore_patterns(".lock", "checkpoint*", "events*")
            folder = path.with_name(path.name.replace("-s0-", f"-s{seed}-"))
            shutil.copytree(path, folder, ignore=files)
            summary = json.loads((path / "summary.json").read_text())
            summary |= {"seed": seed, "run": folder.name}
            (folder / "summary.json").write_text(json.dumps(summary))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-s*/*")}
    again = program("train.py", "-m", *words, "seeds=50")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before: 50 of 50") == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-s*/*")} == before


def test_a_renamed_folder_is_known_by_train_status_and_eval(trained_once, tmp_path):
    run = copy(trained_once[1], tmp_path)
    run.folder.rename(tmp_path / "best")
    words = ["recipe=quick", "backbone=resnet20", "recipe.epochs=3", *SMALL, *NOISY]
    words += ["data.source=synthetic", "device=cpu", f"runs={tmp_path}"]
    made = configuration(*words)
    here = Run(made, 0, tmp_path)
    assert renamed(tmp_path) == {here.name: "best"}
    with pytest.raises(RunError, match=r"best was .*: rename it back, or delete it"):
        launch([here], CPU, None, None, Cells(), None)
    (left,) = collect(tmp_path).left_out
    assert left == f"best: its name was {here.name}: rename it back"
    (tmp_path / "best").rename(here.folder)
    assert renamed(tmp_path) == {}
