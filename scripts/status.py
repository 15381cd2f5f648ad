"""Every run of a sweep: done, running, partial, failed, missing or impossible, and the time left.

python scripts/status.py experiment=noise                    the plan and where it stands
python scripts/status.py experiment=noise recipe=quick backbone=resnet20 seeds=2
python scripts/status.py location=first,last seeds=3         a sweep without an experiment
"""

import functools
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hydra.errors import HydraException

from attn import cells, command, config, workers
from attn.errors import UserError


def state(run) -> tuple[str, str]:
    """(state, what there is to say about it)."""
    epochs = run.config.recipe.epochs
    if run.finished:
        done = summary(run.folder / "summary.json")
        return "done", f"{done['test_accuracy']:.2%} in {duration(done['train_seconds'])}"
    if run.holder:
        return "running", f"{run.epochs_done}/{epochs} epochs, {run.holder}"
    if run.failure:
        return "failed", f"{run.failure} ({run.folder / 'error.txt'})"
    if (run.folder / "config.yaml").exists():
        return "partial", f"{run.epochs_done}/{epochs} epochs"
    return "missing", ""


def summary(path: Path) -> dict:
    """A finished run's results; empty where the file is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        return {}


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def known_seconds(root: Path) -> dict:
    """{(recipe, backbone, device): the mean seconds of a finished run}, whatever its sweep."""
    known = defaultdict(list)
    for path in root.glob("*/summary.json"):
        done = summary(path)
        if done:
            known[done["recipe"], done["backbone"], done["device"] == "cpu"].append(
                done["train_seconds"]
            )
    return {key: sum(values) / len(values) for key, values in known.items()}


def time_left(runs: list, on_cpu: bool) -> str:
    """One configuration after another; on a GPU a run's seconds are its share."""
    known = known_seconds(runs[0].root)
    shares = defaultdict(list)  # configuration: the part that each unfinished run has before it
    for run in runs:
        if not run.finished:
            shares[run.config.key].append(1 - run.epochs_done / run.config.recipe.epochs)
    seconds = 0.0
    labels = {run.config.key: run.config.labels for run in runs}
    for key, parts in shares.items():
        a_run = known.get((labels[key]["recipe"], labels[key]["backbone"], on_cpu))
        if a_run is None:
            return "time left: unknown until a run of that recipe and backbone is finished here"
        side_by_side = min(len(parts), workers.processors()) if on_cpu else 1
        seconds += a_run * max(max(parts), sum(parts) / side_by_side)
    return f"time left: about {duration(seconds)}"


def main(words: list[str]):
    words = [word for word in words if word not in ("-m", "--multirun")]
    if command.is_question(words):
        print(__doc__)
        return
    config.register()
    config.check_words(words)
    from attn.data import load
    from attn.runs import Run

    fingerprint = functools.cache(lambda *where: load(*where, fetch=False).fingerprint)
    seen, impossible = {}, []
    for cell in cells.split(words):
        cfg = cells.composed(cell)
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
        print(time_left(list(seen.values()), config.choose_device(cfg).type == "cpu"))


if __name__ == "__main__":
    try:
        with command.stoppable():
            main(command.expand_home(sys.argv[1:]))
    except (UserError, HydraException) as error:
        sys.exit(str(error))
