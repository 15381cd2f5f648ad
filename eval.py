"""Finished runs -> verdicts on the published claims, tables, figures and one page of all of it.

python eval.py                           runs/ -> runs/_report/: report.html, a folder a recipe
python eval.py publish=true              runs/ -> results/
python eval.py runs=/cluster/runs out=here   what is made goes into another folder
python eval.py checkpoint=runs/NAME      one network: accuracy by class, scores at every place
python eval.py checkpoint=all            first looks into every network that was not looked into yet
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra

from attn.config import cli
from attn.config.check import check_device, choose_device
from attn.config.cli import one_line_errors, register
from attn.config.schema import Eval
from attn.config.words import check_words
from attn.errors import UserError

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(cfg):
    with one_line_errors():
        runs = Path(cfg.runs)
        out = Path(cfg.out or ("results" if cfg.publish else runs / "_report"))
        asked = "publish=true" if cfg.publish else f"runs={cfg.runs}"
        cli.check_writable(out, f"out={cfg.out}" if cfg.out else asked, "out=")
        check_device(cfg.device)

        if cfg.checkpoint:
            device = choose_device(cfg)
            from attn.report.network import report_checkpoint
            from attn.runs.load import find
            from attn.runs.look import inspect_all, look_into, save_folded

            if cfg.checkpoint != "all":
                with TemporaryDirectory() as aside:
                    look = look_into(find(cfg.checkpoint, runs), device, Path(aside))
                    save_folded(look, report_checkpoint(look, out))
                return
            cli.check_writable(runs, f"checkpoint=all runs={cfg.runs}")
            inspect_all(runs, device)

        from attn.report.report import report

        report(runs, out, cfg.publish)


if __name__ == "__main__":
    sys.argv[1:] = words = cli.expand_home(sys.argv[1:])
    with cli.stoppable():
        if not cli.is_question(words):
            check_words(words, Eval)
            if cli.is_sweep(words):
                raise UserError("eval.py makes one report; leave -m out")
        main()
