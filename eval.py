"""Finished runs -> verdicts on the published claims, tables, figures and one page of all of it.

python eval.py                           runs/ -> runs/_report/: report.html, a folder a recipe
python eval.py publish=true              runs/ -> results/
python eval.py checkpoint=runs/NAME      one network: accuracy by class, scores at every place
python eval.py checkpoint=all            first looks into every network that was not looked into yet
"""

import sys
from pathlib import Path

import hydra
from attn.config.words import check_words

from attn.config import cli
from attn.config.check import choose_device
from attn.config.cli import one_line_errors, register
from attn.config.schema import Eval

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(cfg):
    with one_line_errors():
        runs = Path(cfg.runs)
        out = Path("results") if cfg.publish else runs / "_report"
        cli.check_writable(out, "publish=true" if cfg.publish else f"runs={cfg.runs}")
        device = choose_device(cfg)

        if cfg.checkpoint:
            from attn.report.checkpoint import find, inspect_all, report_checkpoint

            if cfg.checkpoint != "all":
                report_checkpoint(find(cfg.checkpoint, runs), out, device)
                return
            inspect_all(runs, device)

        from attn.report.report import report

        report(runs, out, cfg.publish)


if __name__ == "__main__":
    sys.argv[1:] = words = cli.expand_home(sys.argv[1:])
    with cli.stoppable():
        if not cli.is_question(words):
            check_words(words, Eval)
            if cli.is_sweep(words):
                raise SystemExit("eval.py makes one report; leave -m out")
        main()
