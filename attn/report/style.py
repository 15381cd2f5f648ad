"""How every figure looks, and how it is saved."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, told apart by colour-blind readers and in print.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}


def finish(figure, heading: str, path: Path):
    """Puts the heading above the figure, writes it and forgets it."""
    figure.suptitle(heading, x=0.01, ha="left", fontsize=10)
    figure.savefig(path)
    plt.close(figure)
