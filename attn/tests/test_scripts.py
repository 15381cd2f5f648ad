"""The scripts that people run first, in a copy of the repository."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile

import pandas as pd
import pytest

from attn.tests.conftest import ROOT, program

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


def test_gpu_script_refuses_a_machine_without_a_gpu(copy):
    script = str(copy / "scripts" / "gpu.sh")
    wrong = bash(copy, script, "--hours", "2")
    assert wrong.returncode == 2 and "--minutes N" in wrong.stderr
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    done = subprocess.run(["bash", script], env=hidden, capture_output=True, text=True)
    assert done.returncode == 1 and "torch sees no GPU" in done.stderr


# What gpu.sh calls on a machine with a GPU: the tables' first runs are made, the rest is noted.
SHIM = """#!/usr/bin/env bash
echo "$*" >> calls
case "$1 $2" in
"-c import sys"*) exit 0 ;;
"-c import torch"*) echo "a GPU" ;;
"-m pytest") echo "FAILED test_one"; echo "1 failed, 35 passed in 3.00s"; exit 1 ;;
"train.py experiment=accuracy")
    exec {python} "${{@/device=cuda/device=cpu}}" {words} seeds=1 ;;
scripts/bench.py*) mkdir -p results/bench/nvidia; touch results/bench/nvidia/bench.csv ;;
esac
"""


@pytest.mark.slow
def test_gpu_script_tests_measures_trains_and_packs(copy):
    shutil.rmtree(copy / "results" / "bench")
    words = [*TINY, "recipe=quick", "backbone=resnet20", "data.source=synthetic"]
    shim = copy / "shim"
    shim.write_text(SHIM.format(python=sys.executable, words=" ".join(words)))
    shim.chmod(0o755)
    script = ["bash", str(copy / "scripts" / "gpu.sh"), "--minutes", "8", "--out", "packed"]
    done = subprocess.run(script, env=os.environ | {"PYTHON": str(shim)}, capture_output=True)
    calls = (copy / "calls").read_text()
    assert done.returncode == 1, done.stderr  # as a test has failed
    order = ["-m pytest", "bench.py --minutes", "train.py experiment=accuracy seeds=5"]
    order += ["train.py experiment=noise data=rgb_noise seeds=5", "bench.py --minutes"]
    order += ["step_profile.py", "memory_format.py", "train.py experiment=controls"]
    order += ["eval.py checkpoint=all"]
    at = 0
    for call in order:
        at = calls.index(call, at) + 1
    assert "-m attn.training.ahead experiment=noise data=rgb_noise seeds=5" in calls
    stamp = (copy / "results" / "bench" / "gpu-tests.txt").read_text()
    assert stamp.startswith("a GPU\nFAILED test_one\n1 failed, 35 passed")
    with tarfile.open(copy / "packed" / "runs.tar.gz.00") as archive:
        names = archive.getnames()
    assert sum(name.endswith("summary.json") for name in names) == 2
    assert not any(name.endswith("checkpoint.pt") for name in names)
    assert "results/bench/gpu-tests.txt" in names
    took = (copy / "results" / "bench" / "gpu-runs.txt").read_text()
    assert re.match(
        r"a GPU: experiment=accuracy seeds=5: 2 runs finished in \d+ s; .* start: none\n$", took
    )
    shutil.move(copy / "packed", copy / "runs" / "_packed")
    kept = {path.parent.name: path.read_text() for path in copy.glob("runs/*/summary.json")}
    for folder in (copy / "runs").glob("[!_]*"):
        shutil.rmtree(folder)
    again = subprocess.run(script, env=os.environ | {"PYTHON": str(shim)}, capture_output=True)
    assert again.returncode == 0 and (copy / "calls").read_text().count("-m pytest") == 1
    assert kept == {p.parent.name: p.read_text() for p in copy.glob("runs/*/summary.json")}


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


@pytest.mark.parametrize("loop", ["naive", pytest.param("strong", marks=pytest.mark.slow)])
def test_the_plain_loops_train_what_ours_does(loop):
    words = [*TINY, "recipe=quick", "backbone=resnet20", "data=rgb_noise", "location=first"]
    done = program(f"scripts/{loop}.py", *words, "data.source=synthetic", timeout=300)
    assert done.returncode == 0, done.stderr
    row = last_json(done.stdout)
    assert row["images"] == 160 and 0 < row["train_seconds"] < row["seconds"]
    assert 0 <= row["test_accuracy"] <= 1 and 0 < row["loss"] < 10


def test_the_naive_loop_is_short():
    assert len((ROOT / "scripts" / "naive.py").read_text().splitlines()) <= 80


@pytest.mark.slow
def test_the_benchmark_measures_resumes_and_stops(tmp_path):
    words = [*TINY, "data.source=synthetic", "device=cpu"]
    bench = ["scripts/bench.py", "--out", tmp_path, *words]
    first = program(*bench, "--minutes", "0.5", timeout=300)
    assert first.returncode == 0, first.stderr
    assert "naive: " in first.stdout and "the time is up; the next call goes on" in first.stdout
    (folder,) = tmp_path.iterdir()
    before = (folder / "bench.csv").read_text()
    second = program(*bench, timeout=500)
    assert second.returncode == 0, second.stderr
    after = (folder / "bench.csv").read_text()
    assert after.startswith(before) and "together" in after  # what was measured stays
    assert "cpu" in folder.name and (folder / "bench.png").stat().st_size > 5000
    assert "times naive" in (folder / "bench.md").read_text()


@pytest.mark.slow
def test_the_profile_and_the_memory_formats_are_measured(copy):
    shutil.rmtree(copy / "results" / "bench")
    few = {"step_profile": "recipe.images=80", "memory_format": "recipe.images=20"}
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


def test_a_profiler_that_is_kept_out_leaves_the_time_of_a_step(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "step_profile.py"))
    seen = pd.DataFrame([{"name": "conv", "calls": 2.0, "ms": 1.5}])
    text = script["describe"]("ours", 2.0, seen, "kernels")
    assert "2.00 ms a step: 2 kernels in 1.50 ms, 0.50 ms between them" in text
    text = script["describe"]("ours", 2.0, seen[:0], "kernels")
    assert "2.00 ms a step; the profiler saw no kernels here" in text


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
