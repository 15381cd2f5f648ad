"""Programs that are killed or interrupted, and what the same command makes of it afterwards."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import torch
import yaml

from attn.tests.conftest import NOISY, ROOT, TINY, folders, program, rows


def start(*words):
    """A program in a process group of its own, which a signal interrupts."""

    def hear():  # a shell's background jobs, such as these tests may be, ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    command = [sys.executable, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=hear, **pipes)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["checkpoint.pt", "scores.csv"])  # the latter is earlier
def test_a_killed_run_goes_on_and_equals_one_that_was_not(tmp_path, first):
    """SIGKILL to the whole group once a file is there; then the same command again."""
    words = ["train.py", *TINY, *NOISY, "recipe.epochs=3"]
    whole = program(*words, f"runs={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / first
    process = start(*words, f"runs={killed}")
    wait_for(lambda: list(killed.glob(f"*/{first}")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (folder,) = folders(killed)
    assert not (folder / "summary.json").exists()
    again = program(*words, f"runs={killed}")
    assert again.returncode == 0, again.stderr
    assert ("goes on after epoch" in again.stdout) == (first == "checkpoint.pt")
    (straight,) = folders(tmp_path / "whole")
    for name in ("metrics.csv", "scores.csv"):
        assert rows(folder / name) == rows(straight / name)
    one, other = (
        torch.load(f / "checkpoint.pt", weights_only=True)["network"] for f in (straight, folder)
    )
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.slow
def test_a_run_whose_process_is_killed_has_failed_and_stops_no_other(tmp_path):
    words = [*TINY, *NOISY, "recipe.epochs=4", "seeds=2", f"runs={tmp_path}"]
    process = start("train.py", *words)
    wait_for(lambda: len(list(tmp_path.glob("*/metrics.csv"))) == 2, process)
    killed, other = folders(tmp_path)
    seed = yaml.safe_load((killed / "config.yaml").read_text())["seed"]
    os.kill(int((killed / ".lock").read_text().split()[1]), signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1 and "Traceback" not in output
    assert f"seed {seed}  FAILED: its process ended with status -9" in output
    assert (other / "summary.json").exists() and not (killed / "summary.json").exists()
    assert "status -9" in (killed / "error.txt").read_text()  # as status.py and eval.py say


def test_a_killed_parent_leaves_nobody_training(tmp_path):
    process = start("train.py", *TINY, *NOISY, "recipe.epochs=1000", f"runs={tmp_path}")
    wait_for(lambda: list(tmp_path.glob("*/checkpoint.pt")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)  # returns once no process holds the pipe
    (folder,) = folders(tmp_path)
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_a_second_process_on_a_run_is_told_who_has_it(tmp_path):
    words = ["train.py", *TINY, *NOISY, "recipe.epochs=1000", f"runs={tmp_path}"]
    process = start(*words)
    try:
        wait_for(lambda: list(tmp_path.glob("*/metrics.csv")), process)
        second = program(*words)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert second.returncode == 75  # busy, not failed
    assert "is being trained by process" in second.stdout and "Traceback" not in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])  # a person's, a queue's
def test_an_interrupted_sweep_stops_and_says_how_to_go_on(tmp_path, sent):
    words = ["experiment=noise", "recipe.epochs=1000", f"runs={tmp_path}"]
    process = start("train.py", *TINY, *words)
    wait_for(lambda: list(tmp_path.glob("*/checkpoint.pt")), process)
    os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 128 + sent
    assert "The same command goes on from the last checkpoint" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(  # a person's, a queue's
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interruption_while_the_program_starts_is_one_word(tmp_path, sent):
    process = start("train.py", *TINY, "recipe.epochs=1000", f"runs={tmp_path}")
    wait_for(lambda: (tmp_path / "_jobs").exists(), process)
    os.killpg(process.pid, sent)
    output = process.communicate(timeout=30)[0]
    assert [line for line in output.splitlines() if line.startswith("Stopped.")]
    assert "Traceback" not in output
    assert process.returncode == 128 + sent


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.02, 0.3])
def test_a_second_interruption_ends_at_once(tmp_path, pause):
    words = ["train.py", *TINY, "recipe.epochs=1000", "seeds=2", f"runs={tmp_path}"]
    process = start(*words)
    wait_for(lambda: list(tmp_path.glob("*/checkpoint.pt")), process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    output = process.communicate(timeout=30)[0]
    assert process.returncode in (130, -signal.SIGINT)  # the latter where Python has ended already
    assert "Traceback" not in output


@pytest.mark.slow
def test_tensorboard_has_each_epoch_once_after_resumes_and_a_clock_that_stepped_back(tmp_path):
    """Asked over HTTP, as the page asks."""
    words = ["train.py", *TINY, *NOISY, "recipe.epochs=6", f"runs={tmp_path}"]

    def done():
        return sum(len(rows(path)) for path in tmp_path.glob("*/metrics.csv"))

    for epochs in (1, 3):
        process = start(*words)
        wait_for(lambda least=epochs: done() >= least, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path in tmp_path.glob("*/events*"):  # as if it had been written much later
            path.rename(path.with_name(path.name.replace("tfevents.1", "tfevents.9", 1)))
    assert program(*words).returncode == 0
    (folder,) = folders(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = [sys.executable, "-m", "tensorboard.main", "--logdir", tmp_path, "--port", port]
    with subprocess.Popen(list(map(str, server)), stderr=subprocess.DEVNULL) as process:
        try:
            for tag in ("accuracy/test", "score/noise_3"):
                query = urllib.parse.urlencode({"run": folder.name, "tag": tag})
                address = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?{query}"
                steps = [step for _, step, _ in asked(address)]
                assert steps == [*range(tag.startswith("accuracy"), 7)]
        finally:
            process.terminate()


def asked(address, seconds=60):
    """What a server that is starting answers, once it has read the log."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return json.load(urllib.request.urlopen(address))
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    return pytest.fail(f"no answer from {address}")
