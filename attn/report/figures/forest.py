"""Draws claims: each seed's difference, their mean and interval, and where the claim lies."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.transforms import blended_transform_factory

from attn.evidence.claims import METRICS, Claim
from attn.evidence.judged import Judged
from attn.report.figures.style import BOUND, VERDICTS, finish
from attn.stats import CONTRADICTED, REPRODUCED


def of_claims(judged: list[Judged], heading: str, path: Path) -> list[Path]:
    """Draws a line for each claim: every seed's difference, their mean and its 95% interval.

    Each line also marks the claimed bound, and the published difference where it is known. The
    figure has a panel for each unit in which differences are counted.
    """
    shown = [one for one in judged if one.found.n > 1]  # what is counted has n = 1
    if not shown:
        return []
    units = {unit: [] for unit in METRICS.values()}
    for one in shown:
        units[METRICS[one.claim.metric]].append(one)
    panels = [(claims, unit or "score") for unit, claims in units.items() if claims]
    heights = [len(p) + 0.8 for p, _ in panels]
    size = (11, 0.5 * sum(heights) + 1.6)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, height_ratios=heights)
    for axis, (claims, unit) in zip(axes[:, 0], panels, strict=True):
        _forest_panel(axis, claims, unit)
    handles = _forest_legend(any(_published(one) for one in shown))
    above = blended_transform_factory(figure.transFigure, axes[0, 0].transAxes)
    place = {"loc": "lower left", "bbox_to_anchor": (0.01, 1), "bbox_transform": above}
    axes[0, 0].legend(handles=handles, ncols=4, **place)
    note = "An arrow: seeds, or an end of an interval, beyond the panel's edge."
    return [finish(figure, f"Claims with two pairs or more\n{heading}", path, note)]


def _forest_panel(axis, judged: list[Judged], unit: str):
    names = [f"{textwrap.shorten(one.claim.statement, 110)} (n={one.found.n})" for one in judged]
    most = 1.1 * _most(judged)
    axis.set_xlim(-most, most)
    for y, one in enumerate(judged):
        _forest_line(axis, y, one, most)
    axis.axvline(0, color="black", linewidth=0.8)
    lines = [textwrap.fill(name, 52, break_on_hyphens=False) for name in names]
    axis.set_yticks(range(len(names)), lines, fontsize=7.5)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x")
    kinds = {True: "treatment minus control", False: "above what it is held against"}
    paired = {one.claim.control is not None for one in judged}
    axis.set_xlabel(f"{unit}, {' or '.join(kinds[kind] for kind in sorted(paired, reverse=True))}")


def _most(judged: list[Judged]) -> float:
    """Returns the half-range of a panel.

    It covers every mean, bound and published number; of decided claims the intervals and all seeds,
    of others nine of ten seeds.
    """
    told = [(one.found.mean, _bound(one.claim), *_published(one)) for one in judged]
    decided = [one for one in judged if one.verdict in (REPRODUCED, CONTRADICTED)]
    told += [(one.found.low, one.found.high, *one.differences) for one in decided]
    seeds = [np.abs(one.differences) for one in judged if one not in decided]
    told += [(np.quantile(np.concatenate(seeds), 0.9),)] if seeds else []
    return max(abs(value) for values in told for value in values)


def _forest_line(axis, y: int, one: Judged, most: float):
    colour, found, claim = VERDICTS[one.verdict], one.found, one.claim
    axis.plot(one.differences, np.full(len(one.differences), y + 0.24), "|", color="0.45", ms=6)
    axis.plot([found.low, found.high], [y, y], color=colour, linewidth=2.5, solid_capstyle="butt")
    ends = [(found.low, y, colour), (found.high, y, colour)]
    for x, height, shade in [*ends, *((x, y + 0.24, "0.45") for x in one.differences)]:
        if abs(x) > most:
            marker, edge = (">", most) if x > 0 else ("<", -most)
            axis.plot(edge, height, marker, color=shade, ms=6, clip_on=False)
    axis.plot(found.mean, y, "o", color=colour, ms=6)
    for published in _published(one):
        axis.plot(published, y, "D", color="black", mfc="none", ms=6)
    axis.plot(_bound(claim), y, "|", color=BOUND, ms=12, mew=1.5)
    where = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axis.annotate(one.text, (1.01, y), **where, fontsize=8, color=colour)


def _published(one: Judged) -> list[float]:
    return [] if one.published is None else [one.published]


def _bound(claim: Claim) -> float:
    """Returns the smallest effect of interest on the claimed side, or -margin for no_worse."""
    return claim.bound if claim.direction == "more" else -claim.bound


def _forest_legend(published: bool) -> list:
    def mark(marker, colour, text, **style):
        return plt.Line2D([], [], marker=marker, color=colour, label=text, **style)

    number = mark("D", "black", "published", linestyle="", mfc="none")
    return [
        mark("|", "0.45", "a seed", linestyle=""),
        mark("o", "0.2", "mean, 95% interval"),
        *([number] if published else []),
        mark("|", BOUND, "smallest effect of interest, or margin", linestyle="", ms=12, mew=1.5),
    ]
