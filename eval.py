"""Finished runs -> accuracy tables and figures, a folder for each recipe and dataset.

python eval.py                  runs/ -> runs/_report/
python eval.py publish=true     runs/ -> results/
"""

import sys
from pathlib import Path

import hydra

from attn import config

config.register()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(cfg):
    from attn.report import report

    runs = Path(cfg.runs)
    with config.one_line_errors():
        report(runs, Path("results") if cfg.publish else runs / "_report")


if __name__ == "__main__":
    config.check_words(sys.argv[1:], config.Eval)
    main()
