"""The scripts that people run first, in a copy of the repository."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import time

import pandas as pd
import pytest
import torch

from attn.config.sweep import configuration
from attn.tests.conftest import ROOT, program
from attn.tests.trainers import SMALL, trainer

TINY = ["recipe.images=160", "recipe.test_images=100", "recipe.epochs=1"]
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")


@pytest.fixture
def copy(tmp_path):
    """The repository without data and runs, with this interpreter's environment."""

    def ignored(folder, names):
        return {".venv", ".git", "runs", "data"} & set(names) if folder == str(ROOT) else set()

    shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)
    (tmp_path / "copy" / ".venv").symlink_to(sys.prefix)
    return tmp_path / "copy"


def bash(folder, *words):
    environment = {k: v for k, v in os.environ.items() if k != "CIFAR10_ROOT"} | NO_NETWORK
    command = ["bash", *words]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_reproduce_without_data_or_network_says_so_and_shows_that_it_works(copy):
    script = str(copy / "scripts" / "reproduce.sh")
    done = bash(copy, script, "quick", *TINY)
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC images" in done.stderr and "NO CIFAR-10 HERE" in done.stderr
    assert done.stdout.count("epoch 1/1") == 8
    (report,) = (copy / "runs" / "_report").glob("*-synthetic")
    for name in ("accuracy", "noise"):
        assert "SYNTHETIC" in (report / f"{name}.md").read_text()
    assert "SYNTHETIC" in done.stdout and "RGB + 3 noise channels" in done.stdout
    assert (report.parent / "report.html").exists()
    again = bash(copy, script, "quick", *TINY)
    assert again.returncode == 0 and "epoch 1/1" not in again.stdout
    assert sum(map(int, re.findall(r"finished before: (\d+) of", again.stdout))) == 8
    post = bash(copy, script, "post")
    assert post.returncode == 3 and "CIFAR-10 was not found" in post.stderr
    wrong = bash(copy, script, "fast")
    assert wrong.returncode == 2 and "choose quick" in wrong.stderr


@pytest.mark.slow
def test_gpu_script_refuses_a_machine_without_a_gpu(copy):
    script = str(copy / "scripts" / "gpu.sh")
    wrong = bash(copy, script, "--hours", "2")
    assert wrong.returncode == 2 and "--seconds N" in wrong.stderr
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    done = subprocess.run(["bash", script], env=hidden, capture_output=True, text=True)
    assert done.returncode == 1 and "torch sees no GPU" in done.stderr


# In place of the interpreter that gpu.sh calls on a machine with a GPU. A row's runs train together
# and take `cost` seconds; what is done of them is in their checkpoints.
STAND_IN = """#!{python}
import json, os, signal, sys, time
from pathlib import Path

words, cost, fails, hangs = " ".join(sys.argv[1:]), {cost}, {fails!r}, {hangs!r}
with open("calls", "a") as calls:
    print(words, "capture", os.environ.get("ATTN_CAPTURE"), file=calls)
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
if hangs and hangs in words:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)
if fails and fails in words:
    sys.exit(1)
if "get_device_name" in words:
    print("a GPU")
if "_smoke" in words:
    mode = "compiled graph" if "compile=true" in words else "graph"
    for seed in "01":
        folder = Path("runs/_smoke", seed)
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({{"mode": mode}}))
elif words.startswith("train.py experiment="):
    name = words.split()[1].partition("=")[2]
    count = int(words.partition("seeds=")[2].split()[0]) if "seeds=" in words else 1
    for row in ("none", name):
        runs = [Path("runs", f"{{name}}-{{row}}-s{{seed}}") for seed in range(count)]
        left = [run for run in runs if not (run / "summary.json").exists()]
        done = 0.0
        for run in left:
            run.mkdir(exist_ok=True)
            (run / "config.yaml").touch()
            if (run / "checkpoint.pt").exists():
                done = float((run / "checkpoint.pt").read_text())
        while left and done < cost:
            time.sleep(0.1)
            done += 0.1
            for run in left:
                (run / "checkpoint.pt").write_text(str(done))
        for run in left:
            (run / "metrics.csv").write_text("epoch,images_per_second\\n0,16000\\n")
            (run / "summary.json").write_text(json.dumps({{"mode": "graph"}}))
elif "pytest" in words:
    print("1 passed in 0.10s", flush=True)
elif "bench.py" in words:
    Path("results/bench/nvidia").mkdir(exist_ok=True)
    Path("results/bench/nvidia/bench.csv").touch()
elif "stacked.py" in words:
    Path("results/bench/nvidia").mkdir(exist_ok=True)
    table = Path("results/bench/nvidia/stacked.md")
    table.write_text("| 1 | 2 | 3 |\\n| 10 | 2 | 3 |\\n" if table.exists() else "| 1 | 2 | 3 |\\n")
"""
CALL = 18  # seconds in place of 540


def calls_of_gpu_script(copy, tmp_path, calls=1, cost=0.2, fails="", hangs=""):
    """Yields what each call packs, which is all that the next call has, as on another machine."""
    for number in range(calls):
        machine = shutil.copytree(copy, tmp_path / f"machine{number}", symlinks=True)
        shutil.rmtree(machine / "results" / "bench")
        for part in sorted((tmp_path / f"machine{number - 1}").glob("packed/*.gz.*")):
            subprocess.run(["tar", "xzf", part], cwd=machine, check=True)
        stand_in = machine / "stand-in"
        how = {"python": sys.executable, "cost": cost, "fails": fails, "hangs": hangs}
        stand_in.write_text(STAND_IN.format(**how))
        stand_in.chmod(0o755)
        script = ["bash", str(machine / "scripts" / "gpu.sh"), "--seconds", str(CALL)]
        began = time.monotonic()
        done = subprocess.run(
            [*script, "--out", "packed"],
            env=os.environ | {"PYTHON": str(stand_in)},
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - began < CALL + 1, done.stdout  # else the machine would be gone
        with tarfile.open(machine / "packed" / "runs.tar.gz.00") as archive:
            names = archive.getnames()
        yield done, names, (machine / "calls").read_text()


def count(names, start=""):
    return sum(name.startswith(f"runs/{start}") and name.endswith("summary.json") for name in names)


@pytest.mark.slow
def test_gpu_script_brings_both_tables_home_then_the_rest(copy, tmp_path):
    ((done, names, calls),) = calls_of_gpu_script(copy, tmp_path)
    assert done.returncode == 0, done.stderr
    assert count(names, "accuracy") == count(names, "noise") == 20
    order = ["runs=runs/_smoke", "experiment=accuracy seeds=2", "experiment=noise data=rgb_noise s"]
    order += [
        "stacked.py",
        "experiment=accuracy seeds=5",
        "experiment=accuracy seeds=10",
        "-m pytest",
    ]
    order += ["step_profile.py", "bench.py", "memory_format.py", "train.py experiment=controls"]
    at = 0
    for call in [*order, "eval.py checkpoint=all"]:
        at = calls.index(call, at) + 1
    assert "results/bench/gpu-tests.txt" in names and "results/bench/gpu-phases.txt" in names
    phases = (tmp_path / "machine0" / "results" / "bench" / "gpu-phases.txt").read_text()
    assert re.search(r"experiment=accuracy seeds=2: status 0, \d s, 4 runs finished", phases)
    assert '16000 images/s, 2.00 ms for 32, "mode": "graph"' in phases


@pytest.mark.slow
def test_three_calls_finish_what_takes_twice_as_long_as_hoped(copy, tmp_path):
    """Both tables at ten seeds would take 12 x 2.2 s of a call's 16."""
    first, second, third = calls_of_gpu_script(copy, tmp_path, calls=3, cost=2.2)
    assert all(done.returncode == 0 for done, _, _ in (first, second, third))
    assert count(first[1]) >= 8
    assert count(second[1], "accuracy") == count(second[1], "noise") == 20
    cut = [name for name in first[1] if name.endswith("checkpoint.pt")]
    assert cut and "-m pytest" not in first[2]  # goes on from there on another machine
    assert "-m pytest" in second[2] + third[2]
    assert "_smoke" in second[2] and "runs/_how" not in first[1]  # another machine chooses anew
    counts = [calls.count("stacked.py") for _, _, calls in (first, second, third)]
    assert counts == [1, 1, 0]  # until all of its rows are there


@pytest.mark.slow
def test_gpu_script_that_is_ended_in_a_phase_packs_and_leaves_nothing_behind(copy, tmp_path):
    shutil.rmtree(copy / "results" / "bench")
    stand_in = copy / "stand-in"
    how = {"python": sys.executable, "cost": 60, "fails": "", "hangs": ""}
    stand_in.write_text(STAND_IN.format(**how))
    stand_in.chmod(0o755)
    process = subprocess.Popen(
        ["bash", str(copy / "scripts" / "gpu.sh"), "--out", "packed"],
        env=os.environ | {"PYTHON": str(stand_in)},
        stdout=subprocess.DEVNULL,
    )
    checkpoint = copy / "runs" / "accuracy-none-s0" / "checkpoint.pt"
    began = time.monotonic()
    while not checkpoint.exists() and time.monotonic() - began < 60:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=10) == 130
    with tarfile.open(copy / "packed" / "runs.tar.gz.00") as archive:
        assert "runs/accuracy-none-s0//checkpoint.pt" in archive.getnames()
    before = checkpoint.read_text()
    time.sleep(1)
    assert checkpoint.read_text() == before  # nothing trains on


@pytest.mark.slow
def test_gpu_script_survives_tests_that_hang(copy, tmp_path):
    ((done, names, _),) = calls_of_gpu_script(copy, tmp_path, hangs="-m pytest")
    assert "time is up in the GPU tests" in done.stdout
    assert count(names, "accuracy") == count(names, "noise") == 20
    stamp = (tmp_path / "machine0" / "results" / "bench" / "gpu-tests.txt").read_text()
    assert "code" not in stamp  # they are asked again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "chosen"),
    [("compile=true", "capture 1"), ("_smoke", "capture 0")],
    ids=["compiling", "capturing"],
)
def test_what_fails_in_the_smoke_test_is_left_out(copy, tmp_path, fails, chosen):
    ((_, names, calls),) = calls_of_gpu_script(copy, tmp_path, fails=fails)
    (line,) = re.findall(r"^train.py experiment=accuracy seeds=2 .*", calls, re.M)
    assert "compile=false" in line and line.endswith(chosen)
    assert count(names, "accuracy") == 20


@pytest.mark.slow
def test_an_experiment_that_fails_stops_no_other_and_is_the_scripts_status(copy, tmp_path):
    ((done, names, _),) = calls_of_gpu_script(copy, tmp_path, fails="experiment=accuracy")
    assert done.returncode == 1 and count(names, "noise") == 20 and count(names, "accuracy") == 0


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["naive", "strong"])
def test_the_plain_loops_train_what_ours_does(loop):
    words = [*TINY, "recipe=quick", "backbone=resnet20", "data=rgb_noise", "location=first"]
    done = program(f"scripts/{loop}.py", *words, "data.source=synthetic", timeout=300)
    assert done.returncode == 0, done.stderr
    row = last_json(done.stdout)
    assert row["images"] == 160 and 0 < row["train_seconds"] < row["seconds"]
    assert 0 <= row["test_accuracy"] <= 1 and 0 < row["loss"] < 10


@pytest.mark.slow
def test_the_benchmark_measures_resumes_and_stops(tmp_path):
    words = [*TINY, "data.source=synthetic", "device=cpu"]
    bench = ["scripts/bench.py", "--out", tmp_path, *words]
    first = program(*bench, "--ways", "1", timeout=300)
    assert first.returncode == 0 and "naive: " in first.stdout, first.stderr
    (folder,) = tmp_path.iterdir()
    late = program(*bench, "--minutes", "0.01", timeout=300)
    assert late.returncode == 0 and "strong: the time is up; the next call goes on" in late.stdout
    before = (folder / "bench.csv").read_text()
    second = program(*bench, timeout=500)
    assert second.returncode == 0, second.stderr
    after = (folder / "bench.csv").read_text()
    assert after.startswith(before) and "together" in after  # what was measured stays
    assert "cpu" in folder.name and (folder / "bench.png").stat().st_size > 5000
    assert "times naive" in (folder / "bench.md").read_text()
    other = program(*bench, "recipe.size=16")
    assert other.returncode == 1 and "is of other words" in other.stderr
    assert (folder / "bench.csv").read_text() == after


@pytest.mark.slow
def test_the_profile_the_memory_formats_and_stacked_seeds_are_measured(copy):
    shutil.rmtree(copy / "results" / "bench")
    few = {"step_profile": "recipe.images=80", "memory_format": "recipe.images=20"}
    few |= {"stacked": "recipe.images=20"}
    for name, images in few.items():
        words = ["data.source=synthetic", "device=cpu", "recipe.batch_size=2", images]
        command = [sys.executable, f"scripts/{name}.py", *words]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    (folder,) = (copy / "results" / "bench").iterdir()
    profile = (folder / "profile.md").read_text()
    assert profile.count(" operators in ") == 2 and "convolution" in profile
    formats = pd.read_csv(folder / "formats.csv")
    times = formats[["contiguous_format", "channels_last"]]
    assert len(formats) == 12 and (times > 0).all(axis=None)
    rows = re.findall(
        r"^\| (\d+) \| [\d.]+ \| [\d.]+ \|$", (folder / "stacked.md").read_text(), re.M
    )
    assert rows == ["1", "2", "5", "10"]


def test_stacked_seeds_compute_what_each_computes_alone(few, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "stacked.py"))
    config = configuration(*SMALL, "attention=se", "location=per_block", "data=rgb_noise")
    alone = [trainer(few, config, seed=seed) for seed in range(2)]
    together = script["Stacked"](config, alone[0].inputs, alone[0].samples, 2)
    together.optimizer.param_groups[0]["lr"] = alone[0].rates[0].item()
    before = torch.zeros(2)
    for own in alone:
        own.begin(0)
    for step in range(2):  # the second loss is that after an update
        together.step(size := config.recipe.batch_size)
        for own in alone:
            own.advance(step)
        summed = torch.stack([own.loss for own in alone])
        torch.testing.assert_close(together.loss, (summed - before) / size, rtol=1e-4, atol=0)
        before = summed


def test_a_profiler_that_is_kept_out_leaves_the_time_of_a_step(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "step_profile.py"))
    seen = pd.DataFrame([{"name": "conv", "calls": 2.0, "ms": 1.5}])
    text = script["describe"]("ours", 2.0, seen, "kernels")
    assert "2.00 ms a step: 2 kernels in 1.50 ms, 0.50 ms between them" in text
    text = script["describe"]("ours", 2.0, seen[:0], "kernels")
    assert "2.00 ms a step; the profiler saw no kernels here" in text


@pytest.mark.slow
def test_the_catalogue_knows_every_mechanism():
    done = program("-m", "attn.modules", "se", "bam", timeout=100)
    assert done.returncode == 0, done.stderr
    assert "arXiv:1709.01507" in done.stdout and "28,088,024 in resnet50" in done.stdout
    assert "| bam | +3,098 | +22,991 | +358,067 |" in done.stdout
    wrong = program("-m", "attn.modules", "sse,se", timeout=100)
    assert wrong.returncode == 1 and wrong.stderr.startswith("sse,se: choose some of se, gsop")


ASK = """
import runpy, sys
sys.path.insert(0, "scripts")
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    try:
        runpy.run_path(f"scripts/{name}.py", run_name="__main__")
    except SystemExit as end:
        assert not end.code, (name, end)
"""


def test_every_script_finds_what_it_imports_and_says_what_it_does():
    """The profile and the memory formats run on a GPU, far from whoever renames a module."""
    names = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
    done = program("-c", ASK, *names)
    assert names and done.returncode == 0, done.stderr
    for name in names:
        assert f"python scripts/{name}.py" in done.stdout


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench

    return bench


def test_a_benchmark_estimates_the_epochs_that_it_did_not_measure(bench, monkeypatch):
    took = {"wall_seconds": 100.0, "epoch_seconds": 10.0, "images_per_second": 8.0}
    monkeypatch.setattr(bench, "measure", lambda *args: dict(took))
    cfg = configuration("recipe=post")  # of 20 epochs
    row = bench.measured("ours", cfg, [], 60, False, "train.py", 4, 3)
    assert row["seconds_per_run"] == round((100 + 17 * 10) / 4, 1)
    row = bench.measured("naive", cfg, [], 60, False, "scripts/naive.py", 1, None)
    assert row["seconds_per_run"] == 100


def test_a_benchmark_takes_the_slowest_run_and_the_images_of_all(bench, tmp_path):
    for seed, seconds in enumerate((10.0, 12.0)):
        folder = tmp_path / "runs" / str(seed)
        folder.mkdir(parents=True)
        epochs = {"seconds": [30, seconds, 50], "images_per_second": [1, 100 + seed, 2]}
        pd.DataFrame(epochs).to_csv(folder / "metrics.csv")
        (folder / "summary.json").write_text('{"mode": "fused", "precision": "fp32"}')
    found = bench._of_ours(tmp_path)
    assert found == {"epoch_seconds": 12, "images_per_second": 201, "mode": "fused, fp32"}


def test_a_benchmarks_table_has_the_slowest_way_first_and_times_of_the_naive_loop(bench, tmp_path):
    same = {"device": "cpu", "words": "recipe=quick", "torch": "2", "peak_mib": 1, "mode": "eager"}
    same |= {"images_per_second": 1.0, "epochs_measured": 2, "epochs": 2}
    ways = {"naive": 80.0, "ours, alone": 40.0, "strong": 160.0}
    rows = [{"way": way, "seconds_per_run": seconds, **same} for way, seconds in ways.items()]
    pd.DataFrame(rows).to_csv(tmp_path / "bench.csv", index=False)
    bench.report(tmp_path)
    text = (tmp_path / "bench.md").read_text()
    told = re.findall(r"^\| ([a-z, ]+) \| [\d.]+ \| [\d.]+ \| ([\d.]+) ", text, re.M)
    assert told == [("strong", "0.50"), ("naive", "1.00"), ("ours, alone", "2.00")]
    assert (tmp_path / "bench.png").exists()
