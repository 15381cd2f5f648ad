"""The real programs, shrunk: whole runs, wrong words."""

import json
import os
import re
import runpy
import shutil
import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch

import attn
from attn.config import sweep
from attn.config.catalogue import choices
from attn.config.check import check
from attn.config.sweep import configuration
from attn.data import load
from attn.errors import UserError
from attn.names import labels_in_order
from attn.network.build import build
from attn.runs import whole
from attn.runs.folder import Run
from attn.tests.conftest import NOISY, ROOT, TINY, folders, program, rows


def test_train_makes_the_runs_of_an_experiment(trained):
    root, done = trained
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 4
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders(root)]
    cells = [(summary["location"], summary["seed"]) for summary in summaries]
    assert cells == [("first", 0), ("first", 1), ("none", 0), ("none", 1)]
    columns = (
        "run backbone attention location stages data recipe seed test_accuracy parameters "
        "multiply_adds train_seconds images_per_second device precision source fingerprint "
        "numerics commit dirty"
    )
    for summary, folder in zip(summaries, folders(root), strict=True):
        assert list(summary)[:20] == columns.split()
        assert summary["run"] == folder.name and summary["source"] == "synthetic"
        metrics = rows(folder / "metrics.csv")
        assert [row["epoch"] for row in metrics] == ["0", "1"]
        assert [row["test_images"] for row in metrics] == ["100", "2000"]  # all after the last
        assert summary["test_accuracy"] == float(metrics[-1]["test_accuracy"])
        assert (folder / "scores.csv").exists() == (summary["location"] == "first")
    scores = rows(folders(root)[0] / "scores.csv")
    assert {(row["epoch"], row["images"]) for row in scores} == {
        ("-1", "250"),
        ("0", "100"),
        ("1", "64"),
        ("1", "1000"),
        ("1", "2000"),
    }
    assert {row["channel"] for row in scores} == set("012345")
    starts = [rows(folder / "scores.csv")[0]["mean"] for folder in folders(root)[:2]]
    losses = [rows(folder / "metrics.csv")[0]["train_loss"] for folder in folders(root)]
    assert len(set(starts)) == 2 and len(set(losses)) == 4  # each seed has a network of its own


def test_a_runs_test_loss_and_accuracy_are_those_of_its_predictions(trained):
    (folder, *_) = folders(trained[0])
    with np.load(folder / "predictions.npz") as file:
        logits = torch.tensor(file["logits"]).float()
    labels = torch.tensor(labels_in_order(len(logits)))
    last = rows(folder / "metrics.csv")[-1]
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(float(last["test_accuracy"]), abs=2e-3)  # in half precision
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert loss == pytest.approx(float(last["test_loss"]), rel=1e-2)


def test_tensorboard_gets_curves_scores_pictures_and_hparams(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folders(trained[0])[0]), {"histograms": 0}).Reload()
    tags = events.Tags()
    channels = ["R", "G", "B", "noise_1", "noise_2", "noise_3"]
    scores = {f"score/{name}" for name in [*channels, "gap"]} | {"parameters", "multiply_adds"}
    curves = {"loss/train", "accuracy/train", "accuracy/test", "learning_rate", "images_per_second"}
    curves |= {"loss/test"}
    assert set(tags["scalars"]) >= scores | curves
    assert [point.step for point in events.Scalars("accuracy/test")] == [1, 2]
    (picture,) = (events.Images(tag)[0] for tag in tags["images"])
    assert (picture.height, picture.width) == (32, 6 * 32)
    (module,) = tags["histograms"]
    assert module == "gate/seams.input"
    assert [point.step for point in events.Histograms(module)] == [0, 1, 2]
    assert events.Histograms(module)[-1].histogram_value.num == 6
    ends = {name: events.Scalars(f"score/{name}")[-1].value for name in [*channels, "gap"]}
    colours, noise = ([ends[name] for name in part] for part in (channels[:3], channels[3:]))
    assert ends["gap"] == pytest.approx(min(colours) - max(noise))
    assert any("hparams" in tag for tag in events.summary_metadata)
    (text,) = events.Tensors("configuration/text_summary")
    assert b"fingerprint: " in text.tensor_proto.string_val[0]


def test_the_same_command_again_does_nothing(trained):
    root, _ = trained

    def times():
        return {f: f.stat().st_mtime_ns for f in root.glob("resnet20-*/*")}

    before = times()
    again = program("train.py", *TINY, *NOISY, "seeds=2", f"runs={root}")
    assert again.returncode == 0 and "finished before: 2 of 2" in again.stdout
    assert len(before) > 20 and times() == before


def test_a_damaged_summary_is_written_again(trained, tmp_path):
    original = folders(trained[0])[0]
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    (folder / "summary.json").write_text('{"run":')
    done = program("train.py", *TINY, *NOISY, f"runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    again, before = (json.loads((f / "summary.json").read_text()) for f in (folder, original))
    assert again["test_accuracy"] == before["test_accuracy"]


def test_status_is_the_plan_and_the_state(trained, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(trained[0], root)
    first, second, third, _ = folders(root)
    (first / "summary.json").unlink()
    (second / "summary.json").unlink()
    (second / "error.txt").write_text("it broke\n\nTraceback ...\n")
    shutil.rmtree(third)
    words = [*TINY, "seeds=2", f"runs={root}"]
    done = program("scripts/status.py", *words, "experiment=noise", "data=rgb_noise")
    assert done.returncode == 0, done.stderr
    states = {line.split()[1]: line for line in done.stdout.splitlines() if "-s" in line}
    assert states[first.name].startswith("partial") and "2/2 epochs" in states[first.name]
    assert states[second.name].startswith("failed") and "it broke" in states[second.name]
    assert "error.txt" in states[second.name] and states[third.name].startswith("waiting")
    assert sum(line.startswith("done") for line in states.values()) == 1
    assert "time left: about" in done.stdout
    impossible = ["attention=se", "backbone=mobilenet_v2", "stages=[1],[2]"]
    done = program("scripts/status.py", *words, *impossible)
    assert "1 impossible" in done.stdout and "2 waiting" in done.stdout
    assert "no block there has the seam refine" in done.stdout
    wrong = program("scripts/status.py", "experiment=tables")
    assert wrong.returncode == 1 and wrong.stderr.startswith("experiment=tables: choose one of")


PUBLISHED = """recipe,backbone,attention,location,device,train_seconds
quick,resnet20,none,none,cpu,3600
quick,resnet20,none,none,cpu,7200
quick,resnet20,cbam_channel,last,cpu,9000
quick,resnet20,none,none,NVIDIA H200,36
"""


# Of those that chose a recipe.
SEARCHED = """\
recipe,backbone,attention,location,device,train_seconds
quick,resnet18,none,none,cpu,1800.0
candidate,resnet18,none,none,cpu,9.0
"""


@pytest.fixture
def status(tmp_path, monkeypatch):
    """scripts/status.py beside made-up published runs, on a machine with one processor."""
    folder = tmp_path / "results" / "quick"
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text(PUBLISHED)
    script = runpy.run_path(str(ROOT / "scripts" / "status.py"))
    monkeypatch.setitem(script["main"].__globals__, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("attn.training.workers.processors", lambda: 1)
    return script


def runs_of(script, *words):
    runs, _, _ = script["plan"](list(words), lambda cfg: "")
    return runs


def test_status_counts_on_runs_side_by_side(status, tmp_path, monkeypatch):
    monkeypatch.setattr("attn.training.workers.processors", lambda: 2)
    words = ["recipe=quick", "backbone=resnet20", "seeds=3", f"runs={tmp_path}"]
    runs = runs_of(status, "experiment=accuracy", *words)
    assert status["what_it_takes"](runs, on_cpu=True) == "6 runs, 0 done, about 6.0 hours here"


def test_status_knows_what_a_run_takes_from_what_is_published(status, tmp_path):
    words = ["recipe=quick", "backbone=resnet20", "seeds=2", f"runs={tmp_path}"]
    runs = runs_of(status, "experiment=accuracy", *words)
    # Two at 1.5 hours without attention, two at 2.5 hours with it.
    assert status["what_it_takes"](runs, on_cpu=True) == "4 runs, 0 done, about 8.0 hours here"
    assert status["time_left"](runs, on_cpu=True) == "time left: about 8 h 0 min"
    # A GPU's are known by the backbone alone: four at 36 seconds.
    assert status["time_left"](runs, on_cpu=False) == "time left: about 2 min 24 s"
    (tmp_path / "results" / "quick" / "recipe-search.csv").write_text(SEARCHED)
    status["known_seconds"].cache_clear()
    searched = runs_of(status, "experiment=accuracy", *words, "backbone=resnet18")
    assert status["what_it_takes"](searched, on_cpu=True) == "4 runs, 0 done, about 2.0 hours here"
    other = runs_of(status, "experiment=accuracy", *words, "backbone=resnet56")
    text = "no run of recipe quick with backbone resnet56 on a CPU is published"
    assert status["what_it_takes"](other, True) == f"4 runs, 0 done, hours: unknown ({text})"
    assert status["time_left"](other, True).startswith(f"time left: unknown ({text}")


def test_runs_that_are_finished_here_say_more_than_published_ones(status, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "check_finished", lambda folder: None)  # it has a summary alone
    words = ["experiment=accuracy", "recipe=quick", "backbone=resnet20", f"runs={tmp_path}"]
    first, *_ = runs = runs_of(status, *words, "seeds=2")
    done = {"recipe": "quick", "backbone": "resnet20", "attention": "none", "location": "none"}
    done |= {"device": "cpu", "train_seconds": 720, "test_accuracy": 0.5}
    first.folder.mkdir()
    (first.folder / "summary.json").write_text(json.dumps(done))
    text = status["what_it_takes"](runs, on_cpu=True)
    assert text == "4 runs, 1 done, about 0.8 hours here, 0.6 of them left"


def test_a_plan_composes_every_cell_as_training_does():
    several = ["experiment=placement", "attention=se,bam", "location=none,per_stage", "seeds=[0,3]"]
    for words in (several, ["experiment=bottleneck", "recipe.lr=0.1"], ["experiment=stages"]):
        every = sweep.split(words)
        assert sweep.all_composed(every) == [sweep.composed(cell) for cell in every]


@pytest.mark.slow
def test_status_lists_the_experiments(tmp_path):
    words = ["recipe=quick", "backbone=resnet20", f"runs={tmp_path}", "device=cpu"]
    no_data = os.environ | {"CIFAR10_ROOT": str(tmp_path / "nowhere")}  # nor needs it any
    done = program("scripts/status.py", "experiments", *words, env=no_data)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert list(lines) == [*choices("experiment"), "together"]
    assert lines["accuracy"].startswith("20 runs, 0 done, hours: unknown (no run of recipe quick ")
    for name in choices("experiment"):  # each file says its number of runs
        text = (ROOT / "configs" / "experiment" / f"{name}.yaml").read_text()
        said = re.search(r"^# (\d+ runs)", text, re.MULTILINE)
        assert lines[name].startswith(said[1]), name
    assert lines["placement"].endswith("cells are impossible")
    both = program("scripts/status.py", "experiments", "experiment=noise")
    assert both.returncode == 1 and both.stderr.startswith("experiments lists all of them")


@pytest.mark.slow
def test_an_impossible_cell_stops_a_single_run_and_is_skipped_in_a_sweep(tmp_path):
    words = [*TINY, "recipe.epochs=1", "backbone=mobilenet_v2", "attention=se", f"runs={tmp_path}"]
    alone = program("train.py", *words, "stages=[1]")
    assert alone.returncode == 1 and "no block there has the seam refine" in alone.stderr
    assert not folders(tmp_path)
    sweep = program("train.py", "-m", *words, "stages=[1],[2]")
    assert sweep.returncode == 0, sweep.stderr
    assert "skipped:" in sweep.stdout and len(folders(tmp_path)) == 1
    report = program("eval.py", f"runs={tmp_path}")
    assert "1 cell skipped as impossible; the page has why" in report.stdout
    assert "stages=[1]" in (tmp_path / "_report" / "report.html").read_text()
    none = program("train.py", "-m", *words, "stages=[1],[7]")
    assert none.returncode == 1 and "none of the 2 configurations can be built" in none.stderr
    assert "next:" not in none.stdout


def test_tab_completion_knows_the_choices():
    query = {"COMP_LINE": "python train.py attention=", "COMP_POINT": "26"}
    done = program("train.py", "-sc", "query=bash", env=os.environ | query)
    assert done.stdout.split() == [f"attention={name}" for name in choices("attention")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe.epoch=3"], "Did you mean recipe.epochs?"),
        (["seeds=0,3"], "seeds=0,3: write seeds=[0,3]"),
        (
            ["attention=se,cbam"],
            "attention=se,cbam: several values; add -m to sweep over them\n",
        ),
        (["seeds=99999999999"], "at most 1000"),
        (["runs=README.md"], "runs=README.md: README.md is a file"),
        (["recipe.images="], "recipe.images=: it takes a whole number, or null"),
        (["attention.kernel=3"], "There are attention.bias, attention.pools"),
        (["attention.location=last"], "attention.location: there is no such key"),
        (["backbone.name=resnet18"], "backbone.name: there is no such key"),
        (["-cn", "eval"], "-cn: there is no such flag"),
        (["--epochs", "3"], "--epochs: there is no such flag; a setting is written recipe.epochs="),
        (["stages=[1,", "2]"], "write the list without spaces, as in stages=[1,2]"),
        (["-m", "recipe.test_images=20,20000"], "test_images=20000: the test set has 2000 images"),
        (["seed=0,1"], "seeds=5 means seeds 0 to 4"),
        (["location=middle"], "location=middle: choose one of"),
        (["attention=cbma"], "cbam_channel"),
        (["recipe.images=15"], "recipe.images=15: it takes a multiple of 10"),
        (["recipe.lr=fast"], "recipe.lr=fast: it takes a number"),
        (["device=cuda"], "torch sees no GPU"),
    ],
)
def test_a_mistake_ends_in_one_message_without_a_traceback_or_a_folder(tmp_path, words, message):
    no_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = program("train.py", f"runs={tmp_path / 'runs'}", *TINY, *words, env=no_gpu)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_loss_that_is_not_finite_stops_a_run_with_its_reason(tmp_path):
    done = program("train.py", *TINY, "recipe.lr=1e30", f"runs={tmp_path}", "seeds=2")
    assert done.returncode == 1
    assert done.stdout.count("FAILED: the loss or a gradient is not finite in epoch 1, step") == 2
    for folder in folders(tmp_path):
        assert "at learning rate" in (folder / "error.txt").read_text()
    assert "2 of 2 runs failed" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/summary.json"))


def test_missing_data_end_in_a_message_before_a_run_is_made(tmp_path):
    where = ["data.source=cifar10", "data.root=/nowhere"]
    done = program("train.py", *TINY, *where, f"runs={tmp_path}")
    assert done.returncode == 1 and "data.root=/nowhere: no such folder or file" in done.stderr
    assert "Traceback" not in done.stderr and not folders(tmp_path)


def test_a_run_that_another_process_trains_is_busy_and_has_not_failed(tmp_path):
    """Seed 0's folder is held by this process; seed 1 goes through. The exit status is its own."""
    config = check(sweep.composed([*TINY, *NOISY]), load("synthetic").fingerprint)
    mine, other = (Run(config, seed, tmp_path) for seed in (0, 1))
    with mine.locked():
        done = program("train.py", *TINY, *NOISY, "seeds=2", f"runs={tmp_path}")
    assert done.returncode == 75 and "ask again later" in done.stderr
    assert f"seed 0  is being trained by process {os.getpid()}" in done.stdout
    assert "FAILED" not in done.stdout and not (mine.folder / "error.txt").exists()
    assert other.finished and not mine.finished


@pytest.mark.slow
def test_a_sweep_says_where_it_is_what_came_out_and_what_to_do_next(tmp_path):
    words = ["-m", *TINY, "location=none,last", "attention=se,sk", "seeds=2", f"runs={tmp_path}"]
    said = program("train.py", *words).stdout
    places = [line.partition(":")[0] for line in said.splitlines() if line.startswith("cell")]
    assert places == [f"cell {n} of 4" for n in (1, 2, 3, 4)]
    assert "cell 4 of 4: skipped: attention=sk backbone=resnet20 " in said
    assert "finished before: 2 of 2" in said  # no attention is the same with se and with sk
    found = [json.loads(path.read_text()) for path in tmp_path.glob("*-none-*/summary.json")]
    values = [100 * summary["test_accuracy"] for summary in found]
    mean, sd = statistics.mean(values), statistics.stdev(values)
    assert said.count(f"test accuracy {mean:.2f}%, sd {sd:.2f} over 2 seeds: {tmp_path}") == 2
    assert re.search(r"about \d+ min \d+ s for the 3 cells left", said)
    assert said.endswith(f"\nnext: python eval.py runs={tmp_path}\n")


def test_help_answers_without_torch():
    done = program("-X", "importtime", "train.py", "--help")
    assert done.returncode == 0 and "seeds=1" in done.stdout and "recipe.size=112" in done.stdout
    assert "| hydra" in done.stderr and not re.search(r"\|\s+torch\b", done.stderr)


@pytest.mark.parametrize(
    "words", [["train.py", "--help"], ["eval.py"], ["scripts/status.py", *TINY]]
)
def test_where_nobody_reads_its_words_a_program_ends_in_silence(trained, tmp_path, words):
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    command = [sys.executable, *words, f"runs={tmp_path}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_status_without_data_says_where_it_looked(tmp_path):
    nowhere = os.environ | {"CIFAR10_ROOT": str(tmp_path / "nowhere")}
    done = program("scripts/status.py", "experiment=noise", "data.root=/nowhere", env=nowhere)
    assert done.returncode == 1 and "data.root=/nowhere: no such folder" in done.stderr
    assert "Bring your own copy" in done.stderr


def test_the_library_refuses_wrong_words_as_the_programs_do(tmp_path):
    with pytest.raises(UserError, match="backbone=resnet21: choose one of mobilenet_v2"):
        attn.build("backbone=resnet21")
    with pytest.raises(UserError, match="attentoin: there is no such key here"):
        attn.build("attentoin=se")
    with pytest.raises(UserError, match="experiment=noise: that is many configurations"):
        attn.build("experiment=noise")
    with pytest.raises(UserError, match="attention=se,cbam: several values"):
        attn.build("attention=se,cbam")
    with pytest.raises(UserError, match="nothing-here: there is no such run folder"):
        attn.load_run(tmp_path / "nothing-here")


def test_a_network_that_is_built_in_python_starts_from_the_seed_that_is_asked_for():
    words = ("backbone=resnet20", "attention=none")
    first, second = (attn.build(*words, seed=seed).fc.weight for seed in (0, 1))
    assert not first.equal(second)
    assert second.equal(build(configuration(*words), 1).fc.weight)


def test_a_run_has_one_thread_whatever_the_machine_says(tmp_path):
    """As many as OMP_NUM_THREADS says would give other last bits, and another environment."""
    words = [*TINY, "recipe.epochs=1", f"runs={tmp_path}"]
    done = program("train.py", *words, env=os.environ | {"OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/environment.json")
    assert [there["threads"] for there in json.loads(path.read_text())] == [1]
