"""The benchmark's chart."""

from pathlib import Path

import matplotlib.pyplot as plt

from attn.report.figures.style import MUTED, NUMBER, finish


def bars(rows, heading: str, path: Path) -> Path:
    """Draws a bar for each way to train, of its seconds a run; rows are those of bench.csv."""
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
    return finish(figure, heading, path)
