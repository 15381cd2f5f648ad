"""What a sweep trains next is compiled beside what trains now: here with a CPU's Inductor."""

import os
import subprocess
import sys

import pytest

from attn.tests.conftest import ROOT, TINY

# Compiles ahead for the cells that come after the first, as a GPU would while that one trains.
BESIDE = """
import sys, torch
from attn.config import sweep
from attn.config.check import check
from attn.config.cli import register
from attn.data import load
from attn.training import ahead
register()
first, *after = sweep.split(sys.argv[1:])
running = check(sweep.composed(first), load("synthetic").fingerprint)
with ahead.compiling(running, after, torch.device("cpu")):
    pass
"""
# The compiler's own count of what a run of the words' configuration found made.
FOUND = """
import sys, torch
from pathlib import Path
from torch._dynamo.utils import counters
from attn.config import sweep
from attn.config.check import check
from attn.config.cli import register
from attn.data import load
from attn.runs.folder import Run
from attn.training.session import train
register()
cfg = sweep.composed(sys.argv[1:])
torch.set_num_threads(1)
run = Run(check(cfg), 1, Path(cfg.runs) / "trained")
train([run], load("synthetic"), torch.device("cpu"), lambda *heard: None, compiled=True)
print(run.finished, dict(counters["aot_autograd"]))
"""


@pytest.mark.slow
def test_the_next_configuration_finds_its_step_compiled(tmp_path):
    """Passed over: the configuration that is running, an impossible cell, what comes later."""
    words = [*TINY, "compile=true", f"runs={tmp_path / 'runs'}"]
    sweep = ["location=none,last,first", "attention=sk,se"]  # sk replaces a convolution

    def run(code, *words):
        command = [sys.executable, "-c", code, *words]
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
        return subprocess.check_output(command, cwd=ROOT, text=True, env=os.environ | cache)

    assert run(BESIDE, *words, *sweep) == "" and not (tmp_path / "runs").exists()
    last = run(FOUND, *words, "attention=se", "location=last")
    assert last.startswith("True") and "'autograd_cache_hit': 1" in last
    first = run(FOUND, *words, "attention=se", "location=first")
    assert first.startswith("True") and "'autograd_cache_miss': 1" in first
