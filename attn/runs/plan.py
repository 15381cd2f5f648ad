"""The runs that a command line asks for, where nothing is trained."""

from pathlib import Path

from attn.config import sweep
from attn.config.check import Impossible, check, choose_device, chosen_seeds
from attn.runs.folder import Run


def plan(words: list[str], fingerprint) -> tuple[list[Run], list[tuple[str, str]], bool]:
    """Returns a sweep's runs, its impossible cells with the reasons, and whether a CPU trains it.

    fingerprint(cfg): returns the fingerprint of the data.
    """
    runs, impossible = {}, []
    every = sweep.split(words)
    for cell, cfg in zip(every, sweep.all_composed(every), strict=True):
        try:
            configuration = check(cfg, fingerprint(cfg))
        except Impossible as error:
            impossible.append((" ".join(cell), str(error)))
            continue
        for seed in chosen_seeds(cfg):
            run = Run(configuration, seed, Path(cfg.runs))
            runs[run.name] = run
    # A machine that only asks may have no GPU itself.
    on_cpu = cfg.device != "cuda" and choose_device(cfg).type == "cpu"
    return list(runs.values()), impossible, on_cpu


def fingerprint_of_data(cfg) -> str:
    """Reads the data, and returns their fingerprint, on which the runs' names depend."""
    from attn.data import load

    return load(cfg.data.source, cfg.data.root, fetch=False).fingerprint
