"""Finished runs -> verdicts on the published claims, tables, figures and one page of all of it.

python eval.py                           runs/ -> runs/_report/: report.html, a folder a recipe
python eval.py publish=true              runs/ -> results/
python eval.py checkpoint=runs/NAME      one network: accuracy by class, scores at every place
python eval.py checkpoint=all            first looks into every network that was not looked into yet
"""

import sys
from pathlib import Path

import hydra

from attn import command, config

config.register()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(cfg):
    with config.one_line_errors():
        runs = Path(cfg.runs)
        out = Path("results") if cfg.publish else runs / "_report"
        command.check_writable(out, "publish=true" if cfg.publish else f"runs={cfg.runs}")
        device = config.choose_device(cfg)

        if cfg.checkpoint:
            from attn.report.checkpoint import find, inspect_all, report_checkpoint

            if cfg.checkpoint != "all":
                report_checkpoint(find(cfg.checkpoint, runs), out, device)
                return
            inspect_all(runs, device)

        from attn.report.report import report

        report(runs, out, cfg.publish)


if __name__ == "__main__":
    sys.argv[1:] = words = command.expand_home(sys.argv[1:])
    with command.stoppable():
        if not command.is_question(words):
            config.check_words(words, config.Eval)
            if command.is_sweep(words):
                raise SystemExit("eval.py makes one report; leave -m out")
        main()
