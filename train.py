"""Trains one configuration, any number of seeds; an experiment is many configurations.

python train.py                                          the post's best model of its first table
python train.py experiment=noise                         a whole table
python train.py recipe=quick backbone=resnet20 seeds=2   minutes on a CPU
"""

import sys
from pathlib import Path

import hydra

from attn import cells, command, config, workers

config.register()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg):
    with config.one_line_errors():
        seeds, device = config.seeds(cfg), config.choose_device(cfg)
        configuration = checked(cfg)
        if configuration is None:
            return

        from attn import ahead, pretrained
        from attn.checks import check_last_batch
        from attn.data import check_count, load, subset
        from attn.launch import train_all
        from attn.runs import Run

        pretrained.weights(configuration)  # fetched, or refused, before anything long starts
        data = load(cfg.data.source, cfg.data.root)
        samples = subset(data.labels["train"], cfg.recipe.images)  # refused now, not later
        check_last_batch(configuration, len(samples))
        check_count(data.labels["test"], cfg.recipe.test_images)
        configuration.fingerprint = data.fingerprint
        runs = [Run(configuration, seed, Path(cfg.runs)) for seed in seeds]
        compiling = ahead.compiling(sys.argv[1:], cells.number(), device)
        train_all(runs, device, cfg.compile, compiling)


def checked(cfg):
    """The configuration; None for an impossible cell of a sweep, which is recorded and skipped."""
    from attn.runs import note_skipped

    cell = cells.running()
    try:
        configuration, reason = config.check(cfg), None
    except config.Impossible as error:
        if cell is None:
            raise
        configuration, reason = None, str(error)
    if cell is not None:
        note_skipped(Path(cfg.runs), cell, reason)
    return configuration


if __name__ == "__main__":
    words = command.expand_home(sys.argv[1:])
    words.sort(key=lambda word: word not in ("-m", "--multirun"))  # which Hydra takes first alone
    sys.argv[1:] = words
    with command.stoppable():
        if not command.is_question(words):
            config.check_words(words)
            if "device=cuda" not in words:
                workers.start()
            cells.check(words)
        main()
