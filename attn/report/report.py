"""Writes the report of every group of runs."""

from pathlib import Path

import pandas as pd

from attn.errors import RunError
from attn.files import write
from attn.report import figures, score_figures, tables
from attn.report.collect import Group, collect, groups
from attn.runs import skipped
from attn.scores import of_input_channels


def report(root: Path, out: Path):
    """Tables, figures and the data behind them, a folder under `out` for each group of runs.

    Raises RunError where there is no finished run.
    """
    collected = collect(root)
    for reason in collected.left_out:
        print(f"left out: {reason}")
    for cell in skipped(root):
        print(f"skipped as impossible: {cell}")
    if collected.runs.empty:
        raise RunError(
            f"no finished run in {root}: train some first, as with bash scripts/reproduce.sh"
        )
    for group in groups(collected):
        folder = out / group.name
        folder.mkdir(parents=True, exist_ok=True)
        print(f"\n== {group.title}: {len(group.runs)} runs ==\n")
        _write_data(group, folder)
        _write_tables(group, folder)
        for path in _write_figures(group, folder):
            print(f"figure: {path}")
        print(f"tables: {folder}")


def _write_data(group: Group, folder: Path):
    _write_csv(folder / "runs.csv", group.runs)
    _write_csv(folder / "epochs.csv", group.epochs)
    scores = group.scores
    if not scores.empty:  # of a wide feature map the last epoch alone: the rest would be megabytes
        last = scores["epoch"] == scores.groupby("run")["epoch"].transform("max")
        scores = scores[last | scores["module"].map(of_input_channels)]
    _write_csv(folder / "scores.csv", scores)


def _write_tables(group: Group, folder: Path):
    for name, definition in tables.definitions().items():
        frame = tables.table(group, definition)
        command = (
            definition["command"] if group.recipe == "post" else "bash scripts/reproduce.sh post"
        )
        _write_table(folder / name, f"{definition['title']}: {group.title}", frame, command, group)
    frame = tables.configurations(group)
    title = f"Every configuration: {group.title}"
    _write_table(folder / "configurations", title, frame, "bash scripts/reproduce.sh post", group)
    frame = tables.gates(group)
    if not frame.empty:
        _write_csv(folder / "gates.csv", frame)
        text = f"### Gate health: {group.title}\n\n{tables.markdown(frame)}\n{tables.GATES}"
        write(folder / "gates.md", text)
        print(text)


def _write_table(path: Path, title: str, frame: pd.DataFrame, command: str, group: Group):
    _write_csv(path.with_suffix(".csv"), frame)
    text = f"### {title}\n\n{tables.markdown(frame)}\n{tables.caption(group, command)}"
    write(path.with_suffix(".md"), text)
    print(text)


def _write_csv(path: Path, frame: pd.DataFrame):
    write(path, frame.to_csv(index=False, lineterminator="\n"))


def _write_figures(group: Group, folder: Path) -> list[Path]:
    curves = folder / "accuracy-epochs.png"
    return [
        *figures.accuracy_over_epochs(group, tables.definitions(), curves),
        *score_figures.of_group(group, folder),
    ]
