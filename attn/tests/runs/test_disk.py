"""Disks that take no more: the file is named, and what is saved stays."""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time

import pytest

from attn.runs import checkpoint
from attn.runs.files import PARTIAL
from attn.tests.conftest import ROOT, program

SMALL = ("recipe.images=60", "recipe.test_images=50", "recipe.size=16", "recipe.precision=fp32")
WORDS = ["recipe=quick", "backbone=resnet20", "recipe.epochs=9", *SMALL]
WORDS += ["data.source=synthetic", "device=cpu"]


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_named_and_what_is_saved_stays(tmp_path):
    words = [*WORDS, f"runs={tmp_path}"]
    assert program("train.py", *words).returncode == 0
    command = [sys.executable, "train.py", *words, "seeds=2"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (found := list(tmp_path.glob("*-s1-*/checkpoint.pt"))):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (summary,) = tmp_path.glob("*-s0-*/summary.json")
    results, saved = summary.read_bytes(), found[0].read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    full = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True)
    assert full.returncode == 1 and "Traceback" not in full.stdout + full.stderr
    assert "checkpoint.pt: File too large" in full.stdout
    assert summary.read_bytes() == results
    assert found[0].with_name(checkpoint.PREVIOUS).read_bytes() == saved
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "goes on after epoch" in done.stdout
    assert len(list(tmp_path.glob("*/summary.json"))) == 2


TRIED = subprocess.run("unshare -m mount -t tmpfs none /mnt", shell=True, capture_output=True)
MAY_MOUNT = TRIED.returncode == 0
# A disk of 6 MB holds a finished run and one checkpoint of another, and then is read-only.
SMALL_DISK = """
mount -t tmpfs -o size=6m none {root} || exit 9
{train} seeds=1 || exit 9
{train} seeds=2 && exit 9
mount -o remount,ro {root}
{train} seeds=2 && exit 9
cp -a {root}/. {kept}
"""


@pytest.mark.slow
@pytest.mark.skipif(not MAY_MOUNT, reason="no right to mount a small disk here")
def test_a_full_disk_and_one_that_is_read_only_are_named_and_what_is_saved_stays(tmp_path):
    root, kept = tmp_path / "disk", tmp_path / "kept"
    root.mkdir()
    train = shlex.join([sys.executable, "train.py", *WORDS, f"runs={root}"])
    script = SMALL_DISK.format(root=root, kept=kept, train=train)
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stderr
    assert re.search(r"seed 1  FAILED: .*checkpoint.pt: No space left on device\n", done.stdout)
    assert f"runs={root}: {root} cannot be written to; name another folder\n" in done.stderr
    (first,), (second,) = kept.glob("*-s0-*"), kept.glob("*-s1-*")
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    assert "summary.json" in before and not list(kept.glob(f"*/.*{PARTIAL}"))
    again = program("train.py", *WORDS, f"runs={kept}", "seeds=2")
    assert again.returncode == 0 and "seed 1  goes on after epoch" in again.stdout
    assert (second / "summary.json").exists()
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
