"""Lists every experiment's runs and hours, or every run of a sweep and the time left.

python scripts/status.py                                     every experiment: runs, done, hours
python scripts/status.py experiments recipe=quick backbone=resnet20          with other words
python scripts/status.py experiment=noise                    the plan and where it stands
python scripts/status.py experiment=noise recipe=quick backbone=resnet20 seeds=2
python scripts/status.py location=first,last seeds=3         a sweep without an experiment

A run of a sweep is done, damaged, running, partial, failed, waiting or impossible. A run takes the
mean of runs that are finished here, else of published runs, else of the runs that chose the recipe.
Runs of the same attention and location count first, else all of the recipe and backbone; on a CPU a
CPU's, else a GPU's.
"""

import csv
import functools
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from attn.config import cli
from attn.config.catalogue import choices
from attn.config.cli import register
from attn.config.words import check_words
from attn.errors import UserError
from attn.runs.plan import fingerprint_of_data, plan
from attn.training import workers
from attn.training.cells import duration

WIDTH = 2 + max(len(name) for name in choices("experiment"))
RESULTS = Path(__file__).resolve().parents[1] / "results"


@functools.cache
def folders_of_other_names(root: Path) -> dict[str, str]:
    from attn.runs.folder import renamed

    return renamed(root)


def state(run) -> tuple[str, str]:
    """Returns (state, a text about it) of a run."""
    epochs = run.config.recipe.epochs
    if run.finished:
        done = summary(run.folder / "summary.json")
        return "done", f"{done['test_accuracy']:.2%} in {duration(done['train_seconds'])}"
    if run.holder:
        return "running", f"{run.epochs_done}/{epochs} epochs, {run.holder}"
    if damage := run.damage:
        return "damaged", damage
    if run.failure:
        return "failed", f"{run.failure} ({run.folder / 'error.txt'})"
    if (run.folder / "config.yaml").exists():
        return "partial", f"{run.epochs_done}/{epochs} epochs"
    other = folders_of_other_names(run.root).get(run.name)
    return (
        ("damaged", f"its folder is called {other}: rename it back") if other else ("waiting", "")
    )


TIMED = ("recipe", "backbone", "device", "attention", "location", "train_seconds")


def summary(path: Path) -> dict:
    """Returns a finished run's results; empty where the file is damaged."""
    try:
        results = json.loads(path.read_text())
        words = [results[key] for key in TIMED if key != "train_seconds"]
        whole = all(isinstance(word, str) for word in words) and results["train_seconds"] > 0
        return results if whole else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@functools.cache
def known_seconds(root: Path) -> list[dict]:
    """Lists the mean seconds of a run, from three sources.

    The sources are the runs that are finished under root, the published runs, and the runs of the
    search for a recipe.
    """
    finished = [done for path in root.glob("*/summary.json") if (done := summary(path))]
    published, searched = (rows_of(name) for name in ("runs.csv", "recipe-search.csv"))
    searched = [run for run in searched if "train_seconds" in run]
    return [means(finished), means(published), means(searched)]


def rows_of(name: str) -> list[dict]:
    """Returns the rows of all published files with that name."""
    rows = []
    for path in sorted(RESULTS.glob(f"*/{name}")):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    return rows


def means(runs: list[dict]) -> dict:
    """Returns the mean seconds of a run by its kind.

    A kind is recipe, backbone and device; or these with attention and location.
    """
    known = defaultdict(list)
    for run in runs:
        kind = run["recipe"], run["backbone"], run["device"] == "cpu"
        for key in (kind, (*kind, run["attention"], run["location"])):
            known[key].append(float(run["train_seconds"]))
    return {key: sum(values) / len(values) for key, values in known.items()}


class Unknown(Exception):
    """The error that nobody knows the seconds of a run; the message says of which run."""


def seconds_of_a_run(configuration, known: list[dict], on_cpu: bool) -> float:
    """Returns the seconds that a run of a configuration takes. Raises Unknown."""
    labels = configuration.labels
    kind = labels["recipe"], labels["backbone"], on_cpu
    for seconds in known:
        for key in ((*kind, labels["attention"], configuration.location), kind):
            if key in seconds:
                return seconds[key]
    device = "CPU" if on_cpu else "GPU"
    raise Unknown(
        f"no run of recipe {labels['recipe']} with backbone {labels['backbone']} on a {device} "
        "is published"
    )


def seconds_of_all(runs: list, known: list[dict], on_cpu: bool, part) -> float:
    """Returns the seconds that the runs take, one configuration after another.

    part(run): the share of a run that counts; a run without a share takes no time. On a GPU a run's
    seconds are its share of the seconds of all runs that train together. Raises Unknown.
    """
    parts, configurations = defaultdict(list), {}
    for run in runs:
        if part(run):
            parts[run.config.key].append(part(run))
            configurations[run.config.key] = run.config
    total = 0.0
    for key, shares in parts.items():
        side_by_side = min(len(shares), workers.processors()) if on_cpu else 1
        a_run = seconds_of_a_run(configurations[key], known, on_cpu)
        total += a_run * max(max(shares), sum(shares) / side_by_side)
    return total


def left(run) -> float:
    """Returns the part of a run that is still to be trained."""
    return 0.0 if run.finished else 1 - run.epochs_done / run.config.recipe.epochs


def time_left(runs: list, on_cpu: bool) -> str:
    """Says how long the unfinished part of the runs takes."""
    try:
        seconds = seconds_of_all(runs, known_seconds(runs[0].root), on_cpu, left)
    except Unknown as error:
        return f"time left: unknown ({error}, none is finished here)"
    return f"time left: about {duration(seconds)}"


def fingerprint_where_there_are_runs(cfg) -> str:
    """Returns the data's fingerprint where the folder holds any run; else an empty text.

    Where nothing has run, no data are needed: no run is done, whatever the data are.
    """
    return fingerprint_of_data(cfg) if has_runs(Path(cfg.runs)) else ""


@functools.cache
def has_runs(root: Path) -> bool:
    """Returns whether the folder holds any run."""
    return any(root.glob("*/config.yaml"))


def list_experiments(words: list[str]):
    """Prints a line for each experiment, and a line for all experiments together.

    A run that several experiments share counts once in the last line.
    """
    names, every, on_cpu = choices("experiment"), {}, True
    for name in names:
        words_of_it = [f"experiment={name}", *words]
        try:
            check_words(words_of_it)
            runs, impossible, on_cpu = plan(words_of_it, fingerprint_where_there_are_runs)
        except UserError as error:
            print(f"{name:<{WIDTH}}{error}", flush=True)
            continue
        left_out = f"; {len(impossible)} cells are impossible" if impossible else ""
        print(f"{name:<{WIDTH}}{what_it_takes(runs, on_cpu)}{left_out}", flush=True)
        every |= {run.name: run for run in runs}
    print(f"{'together':<{WIDTH}}{what_it_takes(list(every.values()), on_cpu)}")


def what_it_takes(runs: list, on_cpu: bool) -> str:
    """Says how many runs there are, how many are done, and how many hours they take."""
    if not runs:
        return "0 runs"
    done = sum(run.finished for run in runs)
    text = f"{len(runs)} runs, {done} done, "
    known, reason, timed = known_seconds(runs[0].root), "", []
    for run in runs:
        try:
            seconds_of_a_run(run.config, known, on_cpu)
            timed.append(run)
        except Unknown as error:
            reason = str(error)
    if not timed:
        return f"{text}hours: unknown ({reason})"
    whole, rest = (seconds_of_all(timed, known, on_cpu, part) for part in (lambda _: 1, left))
    rest = f", {rest / 3600:.1f} of them left" if 0 < done < len(runs) else ""
    beside = f", without {len(runs) - len(timed)} runs ({reason})" if reason else ""
    return f"{text}about {whole / 3600:.1f} hours here{rest}{beside}"


def list_runs(words: list[str]):
    """Prints a line for each run of a sweep, how many runs are in each state, and the time left."""
    runs, impossible, on_cpu = plan(words, fingerprint_of_data)
    counts = Counter()
    for run in runs:
        word, detail = state(run)
        counts[word] += 1
        print(f"{word:<11}{run.name}  {detail}".rstrip())
    for cell, reason in impossible:
        counts["impossible"] += 1
        print(f"{'impossible':<11}{cell}: {reason}")
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    if counts["done"] < len(runs):
        print(time_left(runs, on_cpu))


def main(words: list[str]):
    words = [word for word in words if word not in ("-m", "--multirun")]
    if cli.is_question(words):
        print(__doc__)
        return
    register()
    if words and "experiments" not in words:
        check_words(words)
        list_runs(words)
        return
    words = [word for word in words if word != "experiments"]
    if any(word.startswith("experiment=") for word in words):
        raise UserError("experiments lists all of them: leave out experiment=, or the word itself")
    list_experiments(words)


if __name__ == "__main__":
    with cli.stoppable():
        main(cli.expand_home(sys.argv[1:]))
