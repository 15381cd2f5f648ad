"""Processes of a launcher: one GPU each."""

import os
import subprocess
import sys

from attn.tests.conftest import ROOT

TAKE = """
import os, sys
from attn.training.workers import take_gpu
for _ in range(2):  # a launcher's process does several jobs
    take_gpu(sys.argv[1])
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
assert "torch" not in sys.modules  # which would have asked for all GPUs
sys.stdin.read()
"""


def taker(folder, gpus):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpus}
    command = [sys.executable, "-c", TAKE, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def test_a_launchers_processes_take_a_gpu_each_and_give_it_back(tmp_path):
    first, second = taker(tmp_path, "3,5"), None
    assert first.stdout.readline() == "3\n"
    second = taker(tmp_path, "3,5")
    assert second.stdout.readline() == "5\n"
    third = taker(tmp_path, "3,5")  # all are taken
    assert third.stdout.readline() in ("3\n", "5\n")
    first.kill()
    first.wait()
    fourth = taker(tmp_path, "3,5")
    assert fourth.stdout.readline() == "3\n"
    for process in (second, third, fourth):
        process.communicate("")
        assert process.returncode == 0


def test_a_process_that_sees_one_gpu_or_none_keeps_what_it_sees(tmp_path):
    for gpus in ("2", ""):
        process = taker(tmp_path, gpus)
        assert process.communicate("")[0] == f"{gpus}\n"
    assert not list(tmp_path.iterdir())
