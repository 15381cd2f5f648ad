"""The benchmark's table and chart, from its CSV."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from attn.formats import markdown
from attn.report.figures.style import MUTED, NUMBER, finish
from attn.runs import files

COLUMNS = {
    "way": "way",
    "images_per_second": "images/s",
    "seconds_per_run": "seconds a run",
    "ratio": "times naive",
    "peak_mib": "peak MiB",
    "epochs_measured": "epochs measured",
    "mode": "mode",
}


def report(folder: Path):
    """Writes bench.md and bench.png beside bench.csv, and prints the table."""
    rows = pd.read_csv(folder / "bench.csv").sort_values("seconds_per_run", ascending=False)
    naive = rows.loc[rows["way"] == "naive", "seconds_per_run"]
    rows["ratio"] = (naive.iloc[0] / rows["seconds_per_run"]).round(2) if len(naive) else None
    first = rows.iloc[0]
    caption = f"{first['device']}, `{first['words']}`, torch {first['torch']}"
    table = markdown(rows[list(COLUMNS)].rename(columns=COLUMNS))
    text = f"### Seconds a run: {folder.name}\n\n{caption}\n\n{table}\n{_notes(rows)}"
    files.write(folder / "bench.md", text)
    _bars(rows, f"Seconds a run, start to summary: {folder.name}\n{first['words']}", folder)
    print(text)


def _notes(rows) -> str:
    notes = (
        "A run's share of the whole command: start, compilation and every evaluation included.\n"
    )
    if (rows["epochs_measured"] < rows["epochs"]).any():
        notes += (
            f"Where fewer than {rows['epochs'].iloc[0]} epochs were measured the others are "
            "estimated at the last one's speed.\n"
        )
    return notes


def _bars(rows, heading: str, folder: Path):
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(rows) + 1.4))
    ours = rows["way"].str.startswith("ours")
    bars = axis.barh(
        rows["way"],
        rows["seconds_per_run"],
        color=[MUTED[0] if own else NUMBER for own in ours],
    )
    ratios = [
        f"{r.seconds_per_run:g} s" + (f", {r.ratio:g}x" if r.ratio else "")
        for r in rows.itertuples()
    ]
    axis.bar_label(bars, ratios, padding=4)
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set_xlabel("seconds a run")
    finish(figure, heading, folder / "bench.png")
