"""Run folders: what is resumed, and what is refused."""

import pytest
import torch

from attn import files, training
from attn.errors import RunError
from attn.runs import Run, note_skipped, skipped
from attn.tests.conftest import configuration


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
    monkeypatch.setattr("attn.schema.NUMERICS", 999)
    assert run.folder != before


def test_a_checkpoint_holds_nothing_that_runs_code(run):
    run.save({"network": {"a": torch.ones(2)}, "seconds": 1.5}, 1, "cpu")
    assert torch.load(run.folder / files.CHECKPOINT, weights_only=True)["seconds"] == 1.5


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
    monkeypatch.setattr(training, "Shared", broken)
    training.train([run], synthetic, torch.device("cpu"), lambda *event: heard.append(event))
    (event, name, values) = heard[0]
    assert (event, name) == ("failed", run.name) and "ZeroDivisionError" in values["reason"]
    assert run.failure == "ZeroDivisionError: in the middle of it"
    assert "Traceback" in (run.folder / "error.txt").read_text()


def test_a_run_is_not_continued_in_other_numbers(tmp_path, synthetic, monkeypatch):
    """As where a run was begun on a CPU with AMX, and is gone on with on one without."""
    words = ("recipe.images=60", "recipe.test_images=50", "recipe.size=16", "recipe.precision=fp32")
    run = Run(configuration("recipe=quick", "backbone=resnet20", *words), 0, tmp_path)
    heard = []

    def stop(event, *rest):
        if event == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train([run], synthetic, torch.device("cpu"), stop)
    assert run.epochs_done == 1
    with monkeypatch.context() as patch:
        patch.setattr("attn.engine.computed_in", lambda *args: ("bf16", ""))
        training.train([run], synthetic, torch.device("cpu"), lambda *event: heard.append(event))
    assert not run.finished and "was computed in fp32, this machine computes in bf16" in run.failure
    training.train([run], synthetic, torch.device("cpu"), lambda *event: None)
    assert run.finished


def test_skipped_cells_are_recorded_once_and_taken_back(tmp_path):
    note_skipped(tmp_path, "location=first", "odd channels")
    note_skipped(tmp_path, "location=first", "odd channels")
    assert skipped(tmp_path) == ["location=first: odd channels"]
    note_skipped(tmp_path, "location=first", None)
    assert skipped(tmp_path) == []
