"""Runs that are killed again and again at seeded random moments, and end in the same bits."""

import contextlib
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
from attn.tests.conftest import NOISY, ROOT, TINY, folders, program, rows

WORDS = ["train.py", *TINY, *NOISY, "recipe.epochs=4", "seeds=2"]
KILLS = 6
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


def start(root, **environment):
    """The program in a process group of its own."""
    command = [sys.executable, *WORDS, f"runs={root}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = os.environ | environment
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, env=env, **quiet)


def trainers(root) -> list[int]:
    """The processes that hold the run folders."""
    locks = [folder / ".lock" for folder in folders(root)]
    return [int(text.split()[1]) for lock in locks if (text := read(lock)).startswith("process ")]


def read(path) -> str:
    return path.read_text() if path.exists() else ""


def kill(process, root, whom: str):
    victims = {"group": [], "parent": [process.pid], "child": trainers(root)[:1]}[whom]
    if not victims:
        os.killpg(process.pid, signal.SIGKILL)
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    process.wait(timeout=120)  # of a child: until the other run is trained


def differences(root, whole) -> list[str]:
    """What the runs under root have that is not, bit for bit, what uninterrupted runs have."""
    found = []
    for mine, theirs in zip(folders(root), folders(whole), strict=True):
        assert mine.name == theirs.name
        for name in ("metrics.csv", "scores.csv", "stem.csv"):
            found += [f"{mine.name}/{name}"] if rows(mine / name) != rows(theirs / name) else []
        summaries = [json.loads((folder / "summary.json").read_text()) for folder in (mine, theirs)]
        for key in ("test_accuracy", "configuration", "parameters", "fingerprint"):
            found += [f"{mine.name}: {key}"] if summaries[0][key] != summaries[1][key] else []
        states = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (mine, theirs)]
        for name, value in states[0]["network"].items():
            found += [] if value.equal(states[1]["network"][name]) else [f"{mine.name}: {name}"]
    return found


def check_nothing_is_left(root):
    for folder in folders(root):
        left = [*folder.glob(f".*{PARTIAL}"), *folder.glob("checkpoint.previous.pt")]
        assert not left
        with open(folder / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_bits_of_an_uninterrupted_run(tmp_path, whole):
    draws = random.Random(21)
    for _ in range(KILLS):
        process = start(tmp_path)
        time.sleep(draws.uniform(2, 12))  # while it starts, trains, tests or saves
        kill(process, tmp_path, draws.choice(["group", "parent", "child"]))
    done = program(*WORDS, f"runs={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(tmp_path, whole) == []
    check_nothing_is_left(tmp_path)


@pytest.mark.slow
def test_a_resume_that_forgets_the_momentum_is_found(tmp_path, whole):
    """The negative control: were a resume broken, the test above would fail."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    root = tmp_path / "runs"
    process = start(root)
    end = time.monotonic() + 120
    while len(list(root.glob("*/checkpoint.pt"))) < 2:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    kill(process, root, "group")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert start(root, PYTHONPATH=path).wait(timeout=120) == 0
    assert any(name.endswith("metrics.csv") for name in differences(root, whole))
