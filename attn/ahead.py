"""In a sweep on a GPU: the next configuration's step is compiled while this one's runs train.

Inductor keeps what it makes on disk, where the process that trains finds it: 2 s instead of 37 for
ResNet-20 at 32 pixels (C++, CPU, 2 cores; not measured on a GPU), in which the GPU would be idle.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

import torch

from attn import config, workers
from attn.build import build
from attn.data import Dataset, load, subset
from attn.draws import Draws
from attn.errors import plain
from attn.precision import is_compiled
from attn.runs import Run
from attn.training import Shared

# Of a GPU's bytes, for a second process beside the one that trains: its images and a network. With
# less it could take the memory that a run needs. Reckoned, not measured.
ENOUGH = 20e9


@contextmanager
def compiling(words: list[str], cell: int | None, device: torch.device):
    """Beside what is done meanwhile: for the first cell after this one that has a run to train.

    words: a sweep's command line; cell: the number of the one that is running, from 0; None where
    there is no sweep, and nothing comes next.
    """
    if cell is None:
        yield
        return
    workers.start()
    process = workers.CONTEXT.Process(target=_work, args=(words, cell, device), daemon=True)
    process.start()
    try:
        yield
        process.join()  # else the same would be compiled twice at once
    finally:
        process.terminate()


def _work(words: list[str], cell: int, device: torch.device):
    """The body of the process."""
    workers.end_with_parent()
    compile_after(words, cell, device)


def compile_after(words: list[str], cell: int, device: torch.device):
    """For the first cell after this one, -1 for the first of all, that has a run to train.

    What fails here fails again, and stops a run, where it trains.
    """
    config.register()
    try:
        if device.type == "cpu" or torch.cuda.get_device_properties(device).total_memory > ENOUGH:
            _compile_first(config.cells(words)[cell + 1 :], device)
    except Exception as error:
        print(f"the next configuration is not compiled ahead: {plain(error) or repr(error)}")


def _compile_first(cells: list[list[str]], device: torch.device):
    for words in cells:
        cfg = config.composed(words)
        try:
            configuration = config.check(cfg)
        except config.Impossible:
            continue
        data = load(cfg.data.source, cfg.data.root)
        configuration.fingerprint = data.fingerprint
        runs = [Run(configuration, seed, Path(cfg.runs)) for seed in config.seeds(cfg)]
        left = [run for run in runs if not run.finished]
        if left:
            _compile(left[0], data, device, cfg.compile)
            return


def _compile(run: Run, data: Dataset, device: torch.device, asked: bool | None):
    images = len(subset(data.labels["train"], run.config.recipe.images))
    if is_compiled(asked, device, run.config, images):
        shared = Shared(run.config, data, device, compiled=True)
        draws = Draws(run.seed)
        shared.trainer(build(run.config, run.seed, draws, shared.weights), draws)


if __name__ == "__main__":  # python -m attn.ahead WORDS, beside a sweep that comes before
    compile_after(sys.argv[1:], -1, torch.device("cuda"))
