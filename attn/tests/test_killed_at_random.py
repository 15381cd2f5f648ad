"""Runs that are killed again and again at seeded random moments, and end in the same bits."""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from attn.runs.files import PARTIAL
from attn.runs.plan import fingerprint_of_data, plan
from attn.tests.conftest import NOISY, ROOT, TIMES, TINY, folders, program, rows

WORDS = ["train.py", *TINY, *NOISY, "recipe.epochs=10", "seeds=2"]
KILLS = ["group", "parent", "child"] * 2
# A program that goes on without the optimiser's momentum: what a broken resume would be like.
BROKEN = """
import attn.runs.checkpoint as checkpoint
load = checkpoint.load
def forgetful(folder, complain=print):
    state = load(folder, complain)
    for values in state["optimizer"]["state"].values() if state else ():
        values["momentum_buffer"].zero_()
    return state
checkpoint.load = forgetful
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    done = program(*WORDS, f"runs={root}")
    assert done.returncode == 0, done.stderr
    return root


def start(root, log, **environment):
    """The program in a process group of its own, which writes what it says into a file."""
    command = [sys.executable, *WORDS, f"runs={root}"]
    env = os.environ | environment
    with open(log, "a") as file:
        group = {"start_new_session": True, "stdout": file, "stderr": file}
        return subprocess.Popen(command, cwd=ROOT, env=env, **group)


def trainers(runs) -> list[int]:
    """The processes that hold the run folders now."""
    return [int(holder.split()[1]) for run in runs if (holder := run.holder)]


def epochs_done(root) -> int:
    return sum(len(rows(path)) for path in root.glob("*/metrics.csv"))


def kill(process, runs, whom: str) -> bool:
    """Kills the group, the parent or a child; returns whether there still was anybody to kill."""
    training = trainers(runs)
    try:
        if whom == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid if whom == "parent" else training[0], signal.SIGKILL)
    except (ProcessLookupError, IndexError):
        return False
    process.wait(timeout=120)  # of a child: until the other run is trained
    return bool(training)


def differences(root, whole) -> list[str]:
    """What the runs under root have that is not, bit for bit, what uninterrupted runs have."""
    found = []
    for mine, theirs in zip(folders(root), folders(whole), strict=True):
        assert mine.name == theirs.name
        for name in ("metrics.csv", "scores.csv", "stem.csv"):
            found += [f"{mine.name}/{name}"] if rows(mine / name) != rows(theirs / name) else []
        summaries = [json.loads((folder / "summary.json").read_text()) for folder in (mine, theirs)]
        for key in summaries[1].keys() - {*TIMES, "train_seconds"}:
            found += [f"{mine.name}: {key}"] if summaries[0][key] != summaries[1][key] else []
        states = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (mine, theirs)]
        tensors, others = ({**s["network"], **momenta(s)} for s in states)
        found += [f"{mine.name}: {k}" for k, v in tensors.items() if not v.equal(others[k])]
    return found


def momenta(state) -> dict:
    return {k: v["momentum_buffer"] for k, v in state["optimizer"]["state"].items()}


def check_nothing_is_left(root):
    for folder in folders(root):
        left = [*folder.glob(f".*{PARTIAL}"), *folder.glob("checkpoint.previous.pt")]
        assert not left
        with open(folder / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_bits_of_an_uninterrupted_run(tmp_path, whole):
    draws, root, log = random.Random(21), tmp_path / "runs", tmp_path / "log"
    runs, _, _ = plan([*WORDS[1:], f"runs={root}"], fingerprint_of_data)
    killed = 0
    for whom in draws.sample(KILLS, len(KILLS)):
        enough = epochs_done(root) + draws.choice([0, 1, 2, 3])
        process = start(root, log)
        while not (trainers(runs) and epochs_done(root) >= enough) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(draws.uniform(0, 1))  # while it begins, trains, tests or saves
        killed += kill(process, runs, whom)
        while trainers(runs):  # a child ends soon after its parent
            time.sleep(0.02)
        assert not any(run.damage for run in runs)
    assert killed >= 4 and log.read_text().count("goes on after epoch") >= 2, log.read_text()
    done = program(*WORDS, f"runs={root}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(root, whole) == []
    check_nothing_is_left(root)


@pytest.mark.slow
def test_a_resume_that_forgets_the_momentum_is_found(tmp_path, whole):
    """The negative control: were a resume broken, the test above would fail."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    root, log = tmp_path / "runs", tmp_path / "log"
    process = start(root, log)
    end = time.monotonic() + 120
    while len(list(root.glob("*/checkpoint.pt"))) < 2:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert start(root, log, PYTHONPATH=path).wait(timeout=120) == 0
    assert any(name.endswith("metrics.csv") for name in differences(root, whole))
