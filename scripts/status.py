"""Every run of a sweep: done, running, partial, failed, missing or impossible, and the time left.

python scripts/status.py experiment=noise                    the plan and where it stands
python scripts/status.py experiment=noise recipe=quick backbone=resnet20 seeds=2
python scripts/status.py location=first,last seeds=3         a sweep without an experiment
"""

import functools
import json
import os
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

from attn import config, workers  # noqa: E402
from attn.errors import UserError  # noqa: E402


def state(run) -> tuple[str, str]:
    """(state, what there is to say about it)."""
    epochs = run.config.recipe.epochs
    if run.finished:
        summary = json.loads((run.folder / "summary.json").read_text())
        return "done", f"{summary['test_accuracy']:.2%} in {duration(summary['train_seconds'])}"
    if run.holder:
        return "running", f"{run.epochs_done}/{epochs} epochs, {run.holder}"
    if run.failure:
        return "failed", f"{run.failure} ({run.folder / 'error.txt'})"
    if run.epochs_done:
        return "partial", f"{run.epochs_done}/{epochs} epochs"
    return "missing", ""


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def seconds_a_run(run) -> float | None:
    """The mean of the finished runs of that recipe and backbone, whatever sweep they belong to."""
    known = []
    for path in run.root.glob("*/summary.json"):
        summary = json.loads(path.read_text())
        if all(summary[key] == run.config.labels[key] for key in ("recipe", "backbone")):
            known.append(summary["train_seconds"])
    return sum(known) / len(known) if known else None


def time_left(runs: list) -> str:
    """For one machine that trains as many at once as it has processors."""
    left, unknown = 0.0, 0
    for run in runs:
        if not run.finished:
            seconds = seconds_a_run(run)
            share = 1 - run.epochs_done / run.config.recipe.epochs
            unknown += seconds is None
            left += (seconds or 0) * share
    if unknown:
        return "time left: unknown until a run of that recipe and backbone is finished"
    return (
        f"time left on {workers.processors()} processors: {duration(left / workers.processors())}"
    )


def main(words: list[str]):
    config.register()
    config.check_words(words)
    from attn.data import load
    from attn.runs import Run

    fingerprint = functools.cache(lambda *where: load(*where).fingerprint)

    seen, impossible = {}, []
    for cell in config.cells(words):
        cfg = config.composed(cell)
        try:
            configuration = config.check(cfg)
        except config.Impossible as error:
            impossible.append((" ".join(cell), str(error)))
            continue
        configuration.fingerprint = fingerprint(cfg.data.source, cfg.data.root)
        for seed in config.seeds(cfg):
            run = Run(configuration, seed, Path(cfg.runs))
            seen[run.name] = run
    counts = Counter()
    for name, run in seen.items():
        word, detail = state(run)
        counts[word] += 1
        print(f"{word:<11}{name}  {detail}".rstrip())
    for cell, reason in impossible:
        counts["impossible"] += 1
        print(f"{'impossible':<11}{cell}: {reason}")
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    if counts["done"] < len(seen):
        print(time_left(list(seen.values())))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, config.ConfigError) as error:
        sys.exit(str(error))
