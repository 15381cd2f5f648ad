"""Compiles the next configuration's step while the current one's runs train, in a sweep on a GPU.

Inductor keeps its kernels on disk, where the process that trains finds them. For ResNet-20 at 32
pixels compilation then takes 2 s instead of 37 (C++, CPU, 2 cores). A GPU would be idle meanwhile.
Two things have not been measured on a GPU: the gain there, and whether Triton chooses as well where
it times kernels beside other work.
"""

import os
from contextlib import contextmanager
from pathlib import Path

import torch

from attn.compute.precision import is_compiled
from attn.config import sweep
from attn.config.check import Impossible, check, chosen_seeds
from attn.config.cli import register
from attn.config.schema import Config
from attn.data import Dataset, load, subset
from attn.draws import Draws
from attn.errors import plain
from attn.network.build import build, outline
from attn.runs.folder import Run
from attn.training import workers
from attn.training.shared import Shared

# Bytes of a GPU's memory that must be free: for the images and a network here, and as much for the
# runs that train. An estimate, not measured.
ENOUGH = 20e9
PATIENCE = 300  # seconds after which whoever waits compiles by himself


@contextmanager
def compiling(running: Config, after: list[list[str]], device: torch.device):
    """Compiles, while the context is open, for the next cell that has a run to train.

    On leaving, the context waits until that is done, PATIENCE seconds at most.
    running: the configuration that trains in the context. after: the words of the cells that train
    after it in this process.
    """
    process = _started(running, after, device) if after else None
    try:
        yield
        if process:
            process.join(PATIENCE)  # else the same would be compiled twice at once
    finally:
        if process:
            process.terminate()


def _started(running: Config, after: list[list[str]], device: torch.device):
    try:
        workers.start()
        process = workers.process(_work, (running.key, after, device))
        process.start()
        return process
    except OSError as error:  # no reason not to train
        _explain(error)


def _explain(error: Exception):
    print(f"the next configuration is not compiled ahead: {plain(error) or repr(error)}")


def _work(running: str, after: list[list[str]], device: torch.device):
    """Runs in the process that compiles ahead."""
    workers.end_with_parent()
    compile_first(running, after, device)


def compile_first(running: str, cells: list[list[str]], device: torch.device):
    """Compiles for the first of the cells that has a run to train.

    running: the key of the configuration that trains meanwhile, which is passed over. An error here
    is printed and stops nothing. The same error occurs again where the run trains, and stops the
    run there.
    """
    register()
    try:
        if device.type == "cuda":
            os.nice(19)  # who trains, or compiles for what trains now, goes first
            if torch.cuda.mem_get_info(device)[0] < ENOUGH:
                return
        _compile_first(running, cells, device)
    except Exception as error:
        _explain(error)


def _compile_first(running: str, cells: list[list[str]], device: torch.device):
    for words in cells:
        cfg = sweep.composed(words)
        try:
            data = load(cfg.data.source, cfg.data.root)
            configuration = check(cfg, data.fingerprint)
        except Impossible:
            continue
        if configuration.key == running:
            continue
        runs = [Run(configuration, seed, Path(cfg.runs)) for seed in chosen_seeds(cfg)]
        left = [run for run in runs if not run.finished]
        if left:
            _compile(left[0], data, device, cfg.compile)
            return


def _compile(run: Run, data: Dataset, device: torch.device, asked: bool | None):
    images = len(subset(data.labels["train"], run.config.recipe.images))
    if is_compiled(asked, device, run.config, images, outline(run.config)):
        shared = Shared(run.config, data, device, compiled=True)
        shared.captured = False  # a graph stays in its process
        draws = Draws(run.seed)
        shared.trainer(build(run.config, run.seed, draws, shared.weights), draws)
