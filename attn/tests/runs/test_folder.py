"""Run folders: what is resumed, and what is refused."""

import errno
import fcntl
import itertools
import json
import os
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from attn.config.sweep import configuration
from attn.errors import RunError
from attn.runs import checkpoint, environment
from attn.runs.folder import Run, note_skipped, skipped
from attn.tests.conftest import NOISY, rows
from attn.training import launch, session, trainer
from attn.training.events import EpochEnded, Failed, Note, Started


@pytest.fixture
def run(tmp_path):
    made = Run(configuration("recipe=quick", "backbone=resnet20"), 0, tmp_path)
    made.folder.mkdir()
    return made


def test_a_run_goes_on_where_its_checkpoint_stands(run):
    assert run.restore("cpu", pytest.fail) is None
    run.save({"network": {"a": torch.ones(2)}}, 1, "cpu")
    state = run.restore("cpu", pytest.fail)
    assert state["run"]["epochs"] == 1 and state["network"]["a"].tolist() == [1, 1]


def test_another_kind_of_device_is_refused(run):
    run.save({}, 1, "cuda")
    with pytest.raises(RunError, match=r"was made with device cuda, this run has device cpu"):
        run.restore("cpu", pytest.fail)


def test_a_checkpoint_of_another_run_is_refused(run, tmp_path):
    other = Run(run.config, 3, tmp_path)
    other.folder.mkdir()
    other.save({}, 1, "cpu")
    for file in other.folder.iterdir():
        file.rename(run.folder / file.name)
    with pytest.raises(RunError, match="was made with seed 3, this run has seed 0"):
        run.restore("cpu", pytest.fail)


def test_changed_numerics_or_precision_are_another_run(run, tmp_path, monkeypatch):
    words = ("recipe=quick", "backbone=resnet20", "recipe.precision=fp32")
    assert Run(configuration(*words), 0, tmp_path).folder != run.folder
    before = run.folder
    monkeypatch.setattr("attn.config.schema.NUMERICS", 999)
    assert run.folder != before


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_checkpoint_that_runs_code_is_refused(run):
    run.save({"network": {"a": torch.ones(2)}, "seconds": 1.5}, 1, "cpu")
    assert run.restore("cpu", pytest.fail)["seconds"] == 1.5
    run.save({"network": Command()}, 2, "cpu")
    with pytest.raises(RunError, match="holds no tensors and numbers alone"):
        run.restore("cpu", pytest.fail)


def test_failures_are_named_until_the_next_start(run):
    assert run.failure == ""
    run.fail("it broke\n  in the second line")
    assert run.failure == "it broke"
    run.write_config()
    assert run.failure == ""


def test_an_unexpected_error_is_named_in_its_first_line(run, synthetic, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("in the middle of it")

    heard = []
    monkeypatch.setattr(session, "Shared", broken)
    session.train([run], synthetic, torch.device("cpu"), lambda *told: heard.append(told))
    ((name, event),) = heard
    assert name == run.name and "ZeroDivisionError" in event.reason
    assert run.failure == "ZeroDivisionError: in the middle of it"
    assert "Traceback" in (run.folder / "error.txt").read_text()


CPU = torch.device("cpu")


@pytest.fixture
def tiny(tmp_path):
    """Runs of three epochs, in folders of their own."""
    words = ("recipe.images=60", "recipe.test_images=50", "recipe.size=16", "recipe.precision=fp32")
    made = configuration("recipe=quick", "backbone=resnet20", "recipe.epochs=3", *words)
    return lambda name: Run(made, 0, tmp_path / name)


def interrupt(run, data, after):
    def report(name, event):
        if isinstance(event, EpochEnded) and event.epoch + 1 == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.train([run], data, CPU, report)


def finish(run, data):
    heard = []
    session.train([run], data, CPU, lambda name, event: heard.append(event))
    return heard


def notes(events):
    return [event.text for event in events if isinstance(event, Note)]


def test_a_run_is_not_continued_in_other_numbers(tiny, synthetic, monkeypatch):
    """As where a run was begun on a CPU with AMX, and is gone on with on one without."""
    run = tiny("a")
    interrupt(run, synthetic, after=1)
    with monkeypatch.context() as patch:
        patch.setattr("attn.training.trainer.computed_in", lambda *args: ("bf16", ""))
        finish(run, synthetic)
    assert not run.finished and "was computed in fp32, this machine computes in bf16" in run.failure
    finish(run, synthetic)
    assert run.finished


def test_a_run_that_goes_on_in_another_environment_says_so_and_keeps_both(
    tiny, synthetic, monkeypatch
):
    run, same = tiny("a"), tiny("same")
    interrupt(run, synthetic, after=1)
    interrupt(same, synthetic, after=1)
    assert not notes(finish(same, synthetic))
    monkeypatch.setattr("attn.training.trainer.Trainer.mode", "compiled")
    (text,) = notes(finish(run, synthetic))
    assert text.startswith("goes on in another environment: torch ")
    assert "fp32 compiled; began in torch" in text and text.endswith("fp32 fused")
    both, one = (json.loads((r.folder / "summary.json").read_text()) for r in (run, same))
    assert both["environment"] == one["environment"] + "; then " + environment.describe(both)
    assert [entry["epoch"] for entry in environment.read(run.folder)] == [0, 1]


def test_an_environment_that_is_lost_is_named_and_nothing_else_is(tiny, synthetic):
    run = tiny("a")
    interrupt(run, synthetic, after=1)
    path = run.folder / environment.NAME
    path.unlink()
    (text,) = notes(finish(run, synthetic))
    assert text.startswith(f"{path} is ") and "what epochs 1 to 1 were computed in is not" in text
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["environment"].startswith("not recorded; then torch ")


@pytest.mark.parametrize(("method", "call"), [("begin", 2), ("advance", 2)])
def test_a_run_that_fails_stops_none_that_trains_beside_it(
    tiny, synthetic, monkeypatch, method, call
):
    """Its second epoch does not begin, or its second step fails, as where memory runs out."""
    alone, first, second = tiny("alone"), tiny("together"), tiny("together")
    first.seed = 1
    finish(alone, synthetic)
    calls, original = [], getattr(trainer.Trainer, method)

    def failing(trainer, number):
        if trainer.draws.seed == first.seed:
            calls.append(number)
            if len(calls) == call:
                raise MemoryError("no memory is left")
        return original(trainer, number)

    monkeypatch.setattr(trainer.Trainer, method, failing)
    heard = []
    session.train([first, second], synthetic, CPU, lambda *told: heard.append(told))
    assert second.finished and not first.finished and "memory ran out" in first.failure
    mine = [isinstance(event, Failed) for name, event in heard if name == first.name]
    assert sum(mine) == 1 and mine[-1]
    one, other = (torch.load(r.folder / checkpoint.NAME)["network"] for r in (alone, second))
    assert all(one[name].equal(other[name]) for name in one)


def test_runs_that_train_together_divide_their_seconds(tiny, synthetic, monkeypatch):
    """By a clock that goes on by a second whenever it is asked."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(session, "time", clock)
    runs = [tiny("a"), tiny("b")]
    session.train(runs, synthetic, CPU, lambda name, event: None, compiled=False)
    for run in runs:
        metrics = pd.read_csv(run.folder / "metrics.csv")
        summary = json.loads((run.folder / "summary.json").read_text())
        took = metrics["seconds"] - 1  # the row is a second later than the sum
        assert summary["train_seconds"] == (took / 2).sum()
        assert set(metrics["images_per_second"]) == {60.0} == {summary["images_per_second"]}


def test_where_nobody_hears_what_is_reported_no_run_has_failed(tiny, synthetic):
    def gone(name, event):
        if isinstance(event, EpochEnded):
            raise BrokenPipeError

    run = tiny("a")
    with pytest.raises(BrokenPipeError):
        session.train([run], synthetic, CPU, gone)
    assert run.failure == "" and run.epochs_done == 1
    finish(run, synthetic)
    assert run.finished


def test_epochs_after_the_last_checkpoint_are_trained_again(tiny, synthetic, monkeypatch):
    """On a GPU not every epoch leaves a checkpoint; the rows that are ahead of it go."""
    run, whole = tiny("a"), tiny("whole")
    interrupt(run, synthetic, after=1)
    monkeypatch.setitem(session.CHECKPOINT_SECONDS, "cpu", 3600)
    finish(whole, synthetic)
    interrupt(run, synthetic, after=2)
    assert run.epochs_done == 2
    assert finish(run, synthetic)[0] == Started(epoch=1, done=60, total=180)
    one, other = (torch.load(r.folder / checkpoint.NAME)["network"] for r in (run, whole))
    assert all(one[name].equal(other[name]) for name in one)
    assert rows(run.folder / "metrics.csv") == rows(whole.folder / "metrics.csv")
    assert rows(run.folder / "scores.csv") == rows(whole.folder / "scores.csv")


@pytest.mark.parametrize("words", [[], NOISY, ["data=rgb_noise"]], ids=" ".join)
def test_a_finished_run_has_the_norm_of_each_input_channels_first_filters(
    tmp_path, synthetic, words
):
    small = ("recipe.images=60", "recipe.test_images=50", "recipe.size=16", "recipe.epochs=1")
    made = configuration("recipe=quick", "backbone=resnet20", *small, *words)
    run = Run(made, 0, tmp_path)
    finish(run, synthetic)
    weight = torch.load(run.folder / checkpoint.NAME)["network"]["conv1.weight"]
    expected = [weight[:, c].square().sum().sqrt().item() for c in range(made.in_channels)]
    stem = pd.read_csv(run.folder / "stem.csv")
    assert stem["channel"].tolist() == list(range(made.in_channels))
    assert stem["norm"].tolist() == pytest.approx(expected)
    before = (run.folder / "stem.csv").read_text()
    for name in ("stem.csv", "summary.json"):  # as a person does who is told that it is damaged
        (run.folder / name).unlink()
    finish(run, synthetic)
    assert (run.folder / "stem.csv").read_text() == before and run.finished


def test_a_run_that_begins_anew_keeps_nothing_of_its_last_network(tiny, synthetic):
    run = tiny("a")
    finish(run, synthetic)
    for name in ("summary.json", checkpoint.NAME, checkpoint.PREVIOUS):
        (run.folder / name).unlink(missing_ok=True)
    seen = [run.folder / name for name in ("frozen.csv", "classes.csv", "maps.npz")]
    for path in seen:
        path.write_text("of a network that is gone")
    finish(run, synthetic)
    assert run.finished and not any(path.exists() for path in seen)


def test_a_summary_that_is_written_again_says_what_made_the_run(tiny, synthetic, monkeypatch):
    run = tiny("a")
    finish(run, synthetic)
    path = run.folder / "summary.json"
    before = json.loads(path.read_text())
    (run.folder / "stem.csv").unlink()
    later = {"commit": "of another day", "dirty": True}
    monkeypatch.setattr("attn.training.shared.revision", lambda: later)
    monkeypatch.setattr("attn.training.trainer.Trainer.mode", "eager")
    finish(run, synthetic)
    assert run.finished and json.loads(path.read_text()) == before


def test_a_checkpoint_of_another_device_is_a_failure_that_status_knows(tiny, synthetic):
    run = tiny("a")
    interrupt(run, synthetic, after=1)
    state = torch.load(run.folder / checkpoint.NAME)
    state["run"]["device"] = "cuda"
    checkpoint.save(run.folder, state)
    finish(run, synthetic)
    assert "was made with device cuda" in run.failure


def test_waves_are_of_one_size(run, monkeypatch):
    waves = []
    monkeypatch.setattr(launch, "load", lambda *args: None)
    monkeypatch.setattr(launch, "train", lambda runs, *args: waves.append(len(runs)))
    launch._on_one_device([run] * (launch.AT_ONCE + 1), CPU, None, launch.Cells(), None)
    assert len(waves) == 2 and sum(waves) == launch.AT_ONCE + 1 and max(waves) - min(waves) <= 1


def test_skipped_cells_are_recorded_once_and_taken_back(tmp_path):
    note_skipped(tmp_path, "location=first", "odd channels")
    note_skipped(tmp_path, "location=first", "odd channels")
    assert skipped(tmp_path) == ["location=first: odd channels"]
    note_skipped(tmp_path, "location=first", None)
    assert skipped(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(run, monkeypatch, code):
    """What another process trains is another thing, and has another message."""

    def flock(file, how):
        raise OSError(code, os.strerror(code))

    (run.folder / ".lock").write_text("process 1 on another machine")
    monkeypatch.setattr(fcntl, "flock", flock)
    assert run.holder == ""
    told = r"has no locks .*; name another folder with runs="
    with pytest.raises(RunError, match=told), run.locked():
        pytest.fail("trains without the right to")


@pytest.mark.parametrize("empty", [True, False])
def test_a_checkpoint_whose_checksum_is_lost_stays(run, empty):
    run.save({"network": {"a": torch.ones(2)}}, 1, "cpu")
    saved = (run.folder / checkpoint.NAME).read_bytes()
    listed = run.folder / checkpoint.CHECKSUMS
    listed.write_text("") if empty else listed.unlink()
    with pytest.raises(RunError, match=r"checkpoint\.sha256 is missing or empty.*bring it back"):
        run.restore("cpu", pytest.fail)
    assert (run.folder / checkpoint.NAME).read_bytes() == saved
