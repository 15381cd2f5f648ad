"""Trains one configuration, any number of seeds; an experiment is many configurations.

python train.py                                          the post's best model of its first table
python train.py experiment=noise                         a whole table
python train.py recipe=quick backbone=resnet20 seeds=2   minutes on a CPU
"""

import sys
from pathlib import Path

import hydra

from attn import config, workers

config.register()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg):
    if cfg.device != "cuda":
        workers.start()
    with config.one_line_errors():
        configuration, seeds = config.check(cfg), config.seeds(cfg)
        device = config.choose_device(cfg)

        from attn.data import load, subset
        from attn.launch import train_all
        from attn.runs import Run

        data = load(cfg.data.source, cfg.data.root)
        subset(data.labels["train"], cfg.recipe.images)  # refuses now what it would refuse later
        configuration.fingerprint = data.fingerprint
        train_all([Run(configuration, seed, Path(cfg.runs)) for seed in seeds], device)


if __name__ == "__main__":
    config.check_words(sys.argv[1:])
    main()
