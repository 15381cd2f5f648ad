"""What several tests share: configurations from configs/, small data, the real programs."""

import csv
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from attn.config.catalogue import read
from attn.config.cli import register
from attn.config.schema import arguments
from attn.data import load, subset
from attn.data.sources import _look
from attn.modules import MECHANISMS
from attn.tests import forked

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "recipe=quick",
    "backbone=resnet20",
    "recipe.images=160",
    "recipe.test_images=100",
    "recipe.epochs=2",
    "data.source=synthetic",
    "device=cpu",
]
NOISY = ["data=rgb_noise", "location=first"]


def real_data() -> bool:
    root = os.environ.get("CIFAR10_ROOT")
    return bool((root and _look(Path(root))) or _look(ROOT / "data"))


needs_cifar10 = pytest.mark.skipif(
    not real_data(), reason="no CIFAR-10 here: set CIFAR10_ROOT to a folder that has it"
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the programs' threads would wait for each other
register()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture(autouse=True)
def one_thread():
    """As the programs train on a CPU: the number of threads changes the last bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def synthetic():
    return load("synthetic")


@pytest.fixture(scope="session")
def few(synthetic):
    """400 training and 500 test images of the synthetic data, which are resized in a moment."""
    parts = {"images": {}, "labels": {}}
    for split, count in {"train": 400, "test": 500}.items():
        chosen = subset(synthetic.labels[split], count)
        for kind, part in parts.items():
            part[split] = getattr(synthetic, kind)[split][chosen]
    return replace(synthetic, **parts)


@pytest.fixture(scope="session")
def real():
    """CIFAR-10, for tests marked needs_cifar10."""
    return load(fetch=False)


def numbers(mechanism: str) -> dict:
    """What a mechanism's YAML gives its constructor."""
    return arguments(read("attention", mechanism))


def convolution(channels, groups=1, stride=1, activation=nn.ReLU):
    """What a mechanism at the seam `conv` replaces."""
    conv = nn.Conv2d(channels, channels, 3, stride, 1, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), activation(inplace=True))


class Standing(nn.Module):
    """A mechanism as a module of one argument, whatever its seam: `fuse` gets x and a shortcut."""

    def __init__(self, mechanism: str, channels: int, **changes):
        super().__init__()
        kind = MECHANISMS[mechanism]
        what = convolution(channels) if kind.seam == "conv" else channels
        self.module = kind(what, **numbers(mechanism) | changes)
        self.fuses = kind.seam == "fuse"

    def forward(self, x):
        return self.module(x, x.flip(1)) if self.fuses else self.module(x)


def folders(root):
    """The run folders there, by name."""
    return sorted(path.parent for path in root.glob("*/config.yaml"))


TIMES = ("images_per_second", "seconds")  # what differs between two runs of the same thing


def rows(path):
    """A CSV's rows but for the times, every value as it is written."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Two seeds of two configurations on synthetic data, and what train.py printed."""
    root = tmp_path_factory.mktemp("runs")
    sweep = ["experiment=noise", "data=rgb_noise", "seeds=2", f"runs={root}"]
    return root, program("train.py", *TINY, *sweep)


def program(*words: str, env=None, **options) -> subprocess.CompletedProcess:
    """Runs one of the programs from the repository's root; stdout and stderr are text.

    What is no file of ours, or has options, gets a Python of its own.
    """
    words = [str(word) for word in words]
    if options or not words[0].endswith(".py"):
        pipes = {"capture_output": True, "text": True, **options}
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, **pipes)
    with tempfile.TemporaryDirectory() as out:
        return forked.run(words, dict(env or os.environ), ROOT, Path(out))
