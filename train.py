"""Trains one configuration with any number of seeds; an experiment is many configurations.

python train.py                                          the post's best model of its first table
python train.py experiment=noise                         a whole table
python train.py recipe=quick backbone=resnet20 seeds=2   minutes on a CPU
"""

import shlex
import sys
from contextlib import suppress
from pathlib import Path

import hydra

from attn.config import cli, sweep
from attn.config.check import Impossible, check, choose_device, chosen_seeds
from attn.config.cli import one_line_errors, register
from attn.config.launchers import find_code_in_jobs, with_defaults
from attn.training import workers
from attn.training.cells import Cells

BUSY = 75  # the exit status where other processes train some of the runs: ask again later

register()
cells = Cells()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg):
    with one_line_errors():
        if sweep.beside_others() and cells.elsewhere():
            workers.take_gpu()
            workers.end_with_launcher()
        seeds, device = chosen_seeds(cfg), choose_device(cfg)

        from attn.data import load
        from attn.runs.folder import Run
        from attn.training import ahead
        from attn.training.launch import launch

        data = load(cfg.data.source, cfg.data.root)
        if (configuration := checked(cfg, data.fingerprint)) is None:
            return
        check_fit(configuration, data)
        runs = [Run(configuration, seed, Path(cfg.runs)) for seed in seeds]
        cell = sweep.number()
        compiling = ahead.compiling(configuration, cells.after(cell), device)
        with cli.stopped_by_sigterm():
            launch(runs, device, cfg.compile, compiling, cells, cell)


def check_fit(configuration, data):
    """Raises UserError where the data do not fit, or where pretrained weights are missing."""
    from attn.config.values import check_last_batch
    from attn.data import check_count, subset
    from attn.network import pretrained

    pretrained.weights(configuration)
    samples = subset(data.labels["train"], configuration.recipe.images)
    check_last_batch(configuration, len(samples))
    check_count(data.labels["test"], configuration.recipe.test_images)


def check_data_of_all(words: list[str]):
    """Raises UserError where any cell asks for data that do not fit, before the first one trains.

    The jobs of a launcher look at the data of their own machines.
    """
    if any(word.startswith("hydra/launcher=") for word in words):
        return
    from attn.data import load

    for cfg in sweep.all_composed(cells.commands):
        data = load(cfg.data.source, cfg.data.root)
        with suppress(Impossible):
            check_fit(check(cfg, data.fingerprint), data)


def checked(cfg, fingerprint: str):
    """Returns the checked configuration, or None for an impossible cell of a sweep.

    An impossible cell is recorded and skipped.
    """
    from attn.runs.folder import note_skipped

    cell = sweep.running()
    try:
        configuration, reason = check(cfg, fingerprint), None
    except Impossible as error:
        if cell is None:
            raise
        configuration, reason = None, str(error)
    if cell is not None:
        note_skipped(Path(cfg.runs), cell, reason)
    if reason:
        print(f"\n{cells.place(sweep.number())}skipped: {cell}: {reason}")
    return configuration


def busy(words: list[str]) -> bool:
    """Returns whether other processes train some of the runs. A launcher's jobs are asked anew."""
    if not any(word.startswith("hydra/launcher=") for word in words):
        return bool(cells.busy)

    from attn.errors import DataError
    from attn.runs.plan import fingerprint_of_data, plan

    try:
        runs, _, _ = plan([word for word in words if word not in cli.SWEEPS], fingerprint_of_data)
    except DataError:  # the jobs' machines have the data, on which the runs' names depend
        return False
    return any(run.holder for run in runs)


if __name__ == "__main__":
    words = with_defaults(cli.expand_home(sys.argv[1:]))
    words.sort(key=lambda word: word not in cli.SWEEPS)  # which Hydra takes first alone
    sys.argv[1:] = words
    with cli.stoppable():
        if not cli.is_question(words):
            if "device=cuda" not in words:
                workers.start()
            cells = Cells(sweep.check_all(words))
            check_data_of_all(words)
            find_code_in_jobs()
        main()
        if cells.commands:
            runs = [word for word in words if word.startswith("runs=")]
            print("\nnext: " + shlex.join(["python", "eval.py", *runs[-1:]]))
            if busy(words):
                print("other processes train some of the runs; ask again later", file=sys.stderr)
                sys.exit(BUSY)
