"""The scripts that people run first, in a copy of the repository."""

import os
import shutil
import subprocess
import sys

import pytest

from attn.tests.conftest import ROOT

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
    (report,) = (copy / "runs" / "_report").iterdir()
    for name in ("accuracy.md", "noise.md"):
        text = (report / name).read_text()
        assert "SYNTHETIC" in text and text in done.stdout
    again = bash(copy, script, "quick", *TINY)
    assert again.returncode == 0 and "epoch 1/1" not in again.stdout
    assert again.stdout.count("  finished\n") == 8
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
