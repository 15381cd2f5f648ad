"""The look of every figure: a mechanism has one colour and marker, which all readers tell apart."""

import textwrap
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from attn.config.catalogue import choices
from attn.names import CONTROLS, MECHANISMS
from attn.stats import CONTRADICTED, INCONCLUSIVE, NO_VERDICT, REPRODUCED

# Paul Tol's muted colours, a mechanism each; where they are used up again with another marker.
MUTED = [
    *("#CC6677", "#117733", "#88CCEE", "#882255", "#DDCC77", "#44AA99", "#999933", "#AA4499"),
    "#332288",
]
MARKERS = ["o", "s", "^", "v"]
# The controls, which share a marker.
CONTROL_COLOURS = dict(
    zip(CONTROLS, ("#8C510A", "#543005", "#66A61E", "#E7298A", "#A6761D"), strict=True)
)
LINES = ["-", "--", ":", "-."]
FILLS = ["full", "none", "left", "top"]
BASELINE = "#444444"
# Okabe and Ito's: the input channels.
CHANNELS = {"R": "#D55E00", "G": "#009E73", "B": "#0072B2"}
NOISE = "#8C8C8C"
NUMBER = "#555555"  # a number that stands alone
BOUND = "#E69F00"  # the smallest effect of interest
VERDICTS = {REPRODUCED: "#1B7837", CONTRADICTED: "#762A83"}
VERDICTS |= dict.fromkeys((INCONCLUSIVE, NO_VERDICT), "#6E6E6E")
plt.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "grid.alpha": 0.3,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "savefig.dpi": 120,
        "figure.constrained_layout.use": True,
    }
)


def look(attention: str) -> dict:
    """Returns the colour and marker of a mechanism, by its label or name.

    The label cbam+kernel=3 counts as cbam.
    """
    name = attention.partition("+")[0]
    added = [choice for choice in choices("attention") if choice not in (*MECHANISMS, "none")]
    mechanisms = [name for name in (*MECHANISMS, *added) if name not in CONTROLS]
    if name in CONTROLS:
        return {"color": CONTROL_COLOURS[name], "marker": "D"}
    if name not in mechanisms:
        return {"color": BASELINE, "marker": "o"}
    cycle, hue = divmod(mechanisms.index(name), len(MUTED))
    return {"color": MUTED[hue], "marker": MARKERS[cycle % len(MARKERS)]}


def looks(attentions: list[str]) -> list[dict]:
    """Returns a style for each of several rows, by the mechanism's name or label.

    Rows of the same mechanism share a colour, and differ in line and marker.
    """
    counts, styles = Counter(), []
    for own in map(look, attentions):
        before = counts[own["color"]]
        told = {"linestyle": LINES[before % len(LINES)], "fillstyle": FILLS[before % len(FILLS)]}
        styles.append({**told, **own})
        counts[own["color"]] += 1
    return styles


def channel_colour(name: str) -> str:
    return CHANNELS.get(name, NOISE)


def whole_numbers(axis):
    """Sets the ticks of the x axis to whole numbers, also where there is only one."""
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def finish(figure, heading: str, path: Path, note: str = "") -> Path:
    """Puts the heading above the figure and the note below it, writes it as PNG and closes it.

    The first line of the heading is the PNG file's title, which is its caption on the page.
    """
    _set_lines(figure, figure.suptitle("", x=0.01, ha="left", fontsize=10), heading)
    if note:
        style = {"x": 0.01, "ha": "left", "fontsize": 8, "color": NUMBER}
        _set_lines(figure, figure.supxlabel("", **style), note, given=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    title, _, _ = heading.partition("\n")
    figure.savefig(path, metadata={"Title": title})
    plt.close(figure)
    return path


def _set_lines(figure, text, lines: str, given: int = 2):
    """Sets the lines of a text, and breaks those that are wider than the figure.

    The figure grows by the height of the lines above the number for which it has room.
    """
    broken = []
    for line in lines.split("\n"):
        text.set_text(line)
        share = text.get_window_extent().width / (0.97 * figure.bbox.width)
        # Not all letters are as wide as each other.
        broken += [line] if share <= 1 else textwrap.wrap(line, int(0.95 * len(line) / share))
    text.set_text("\n".join(broken))
    added = max(0, len(broken) - given) * text.get_fontsize() * 1.3 / 72
    figure.set_figheight(figure.get_figheight() + added)
