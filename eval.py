"""Finished runs -> accuracy tables and figures, a folder for each recipe and dataset.

python eval.py                           runs/ -> runs/_report/
python eval.py publish=true              runs/ -> results/
python eval.py checkpoint=runs/NAME      one network: accuracy by class, scores at every place
"""

import sys
from pathlib import Path

import hydra

from attn import config

config.register()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(cfg):
    runs = Path(cfg.runs)
    out = Path("results") if cfg.publish else runs / "_report"
    with config.one_line_errors():
        device = config.choose_device(cfg)

        from attn.report import report, report_checkpoint

        if cfg.checkpoint is None:
            report(runs, out)
        else:
            report_checkpoint(Path(cfg.checkpoint), out, device)


if __name__ == "__main__":
    if not config.is_question(sys.argv[1:]):
        config.check_words(sys.argv[1:], config.Eval)
    main()
