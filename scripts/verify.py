"""Checks published runs: by their own files, and by training some of them again here.

python scripts/verify.py                                  every run's files; trains none
python scripts/verify.py --train 2 --draw 7               and two runs, drawn by that number
python scripts/verify.py --results FOLDER --runs FOLDER   of published data elsewhere

Where this machine computes as the published run was computed, a run that was trained again has the
same bits. Elsewhere its accuracy lies in the interval for the difference of two runs. The same
command goes on with what is not trained yet. The exit status is 1 where anything does not agree.
"""

import argparse
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attn.config import cli, sweep
from attn.config.schema import NUMERICS
from attn.errors import UserError
from attn.evidence.claims import words_of
from attn.evidence.collect import collect
from attn.evidence.group import Group, published
from attn.evidence.verify import OTHER, compared, inconsistent
from attn.formats import counted
from attn.training.cells import duration

ROOT = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=int, default=0, metavar="N", help="how many runs (0)")
    parser.add_argument("--draw", type=int, default=0, help="the seed of the draw of runs (0)")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="published data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "_verify", help="for runs")
    return parser.parse_args()


def named_wrong(group: Group) -> dict[str, list[str]]:
    """Returns, by run, a note where its words are not the configuration that its hash says."""
    found, known = {}, {}
    if int(group.key[-1]) != NUMERICS:
        print(
            f"{group.name}: of an earlier numerics={group.key[-1]}, whose hashes are not made anew"
        )
        return found
    for run in group.runs.to_dict("records"):
        words = tuple(words_of(run))
        if words not in known:
            try:
                made = sweep.configuration(*words)
                known[words] = replace(made, fingerprint=run["fingerprint"]).key
            except UserError as error:
                known[words] = str(error)
        if known[words] != run["configuration"]:
            found[run["run"]] = [f"its words are those of configuration {known[words]}"]
    return found


def check_files(groups: list[Group]) -> bool:
    """Prints what does not agree in the published files, and returns whether all agrees."""
    whole = True
    for group in groups:
        notes, named = inconsistent(group), named_wrong(group)
        for run in group.runs["run"]:
            for note in [*notes.get(run, ()), *named.get(run, ())]:
                print(f"{run}: {note}")
                whole = False
    runs = sum(len(group.runs) for group in groups)
    print(f"{counted(runs, 'published run')}: files {'agree' if whole else 'do NOT agree'}")
    return whole


def train_again(groups: list[Group], count: int, draw: int, root: Path) -> bool:
    """Trains some runs again, and returns whether each agrees with what is published of it."""
    every = [(group, run) for group in groups for run in group.runs.to_dict("records")]
    chosen = random.Random(draw).sample(every, min(count, len(every)))
    seconds = sum(run["train_seconds"] for _, run in chosen)
    print(f"training {counted(len(chosen), 'run')} again; that took {duration(seconds)} before")
    rows = []
    for group, run in chosen:
        words = [*words_of(run), f"seeds=[{run['seed']}]", f"runs='{root}'"]
        words += ["device=cpu"] if run["device"] == "cpu" else []
        done = subprocess.run([sys.executable, "train.py", *words], cwd=ROOT)
        if done.returncode:
            sys.exit(done.returncode)
        trained = collect(root).groups
        same = [one for one in trained if run["run"] in set(one.runs["run"])]
        verdict, reason = compared(group, run["run"], (same or trained)[0], len(chosen))
        rows.append({"run": run["run"], "trained again": verdict, "": reason})
    print("\n" + "\n".join(f"{r['run']}: {r['trained again']}  {r['']}".rstrip() for r in rows))
    return all(row["trained again"] != OTHER for row in rows)


def main():
    asked = parse()
    if "CIFAR10_ROOT" in os.environ:  # train.py runs in the root
        os.environ["CIFAR10_ROOT"] = str(Path(os.environ["CIFAR10_ROOT"]).resolve())
    groups = published(asked.results)
    if not groups:
        raise UserError(f"--results {asked.results}: no folder with a runs.csv there")
    if asked.train < 0:
        raise UserError(f"--train {asked.train}: a number of runs, from 0")
    whole = check_files(groups)
    if asked.train:
        whole &= train_again(groups, asked.train, asked.draw, asked.runs.resolve())
    sys.exit(not whole)


if __name__ == "__main__":
    with cli.stoppable():
        main()
