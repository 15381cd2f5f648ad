"""What a sweep trains next is compiled beside what trains now: here with a CPU's Inductor."""

import os
import subprocess
import sys

import pytest

from attn.tests.conftest import ROOT, TINY

# Compiles ahead for the cells that come after the first, as a GPU would while that one trains.
BESIDE = """
import sys, torch
from attn import ahead
with ahead.compiling(sys.argv[1:], 0, torch.device("cpu")):
    pass
"""
# The compiler's own count of what it found made for the step of the words' configuration.
FOUND = """
import sys, torch
from torch._dynamo.utils import counters
from attn import ahead, config
from attn.data import load
from attn.runs import Run
config.register()
configuration = config.check(config.composed(sys.argv[1:]))
torch.set_num_threads(1)
ahead._compile(Run(configuration, 1, None), load("synthetic"), torch.device("cpu"), True)
print(dict(counters["aot_autograd"]))
"""


@pytest.mark.slow
def test_the_next_configuration_finds_its_step_compiled(tmp_path):
    """Impossible cells are passed over, and so are those after the one that is next to train."""
    words = [*TINY, "compile=true", f"runs={tmp_path / 'runs'}"]
    sweep = ["attention=sk,se", "location=last,first"]  # sk replaces a convolution

    def run(code, *words):
        command = [sys.executable, "-c", code, *words]
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
        return subprocess.check_output(command, cwd=ROOT, text=True, env=os.environ | cache)

    assert run(BESIDE, *words, *sweep) == ""
    assert "'autograd_cache_hit': 1" in run(FOUND, *words, "attention=se", "location=last")
    assert "'autograd_cache_miss': 1" in run(FOUND, *words, "attention=se", "location=first")
    assert not (tmp_path / "runs").exists()
