"""The figures of accuracy: over epochs, and by class."""

from pathlib import Path

import matplotlib.pyplot as plt

from attn.report.collect import Group
from attn.report.style import COLOURS, STYLE, finish
from attn.report.tables import select


def accuracy_over_epochs(group: Group, definitions: dict, path: Path) -> list[Path]:
    """A panel for each table that has runs: a seed is a thin line, the seeds' mean a thick one."""
    shown = [d for d in definitions.values() if _any_runs(group, d)]
    if not shown:
        return []
    with plt.rc_context(STYLE):
        size = (5 * len(shown), 4)
        figure, panels = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False)
        for panel, definition in zip(panels[0], shown, strict=True):
            for colour, row in zip(COLOURS, definition["rows"], strict=False):
                _curves(panel, group, select(group.runs, row), row["model"], colour)
            panel.set_title(definition["title"], loc="left")
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.3)
            panel.legend(frameon=False, fontsize=8)
        panels[0][0].set_ylabel("test accuracy, %")
        finish(figure, f"Accuracy over epochs\n{group.title}{_tested(group)}", path)
    return [path]


def _any_runs(group, definition) -> bool:
    return any(len(select(group.runs, row)) for row in definition["rows"])


def _tested(group) -> str:
    """On how many test images, where that is not always the same number."""
    fewest, most = group.epochs["test_images"].min(), group.epochs["test_images"].max()
    if fewest == most:
        return ""
    return f"\nLast epoch: all {most:,} test images; before it: always the same {fewest:,}."


def _curves(panel, group, runs, model, colour):
    """One model's curves; backbones are told apart by the line's style."""
    styles = ["-", "--", ":", "-."]
    several = group.runs["backbone"].nunique() > 1
    for style, (backbone, seeds) in zip(styles, runs.groupby("backbone"), strict=False):
        curves = group.epochs[group.epochs["run"].isin(seeds["run"])]
        wide = 100 * curves.pivot(index="epoch", columns="run", values="test_accuracy")
        epochs = wide.index + 1
        panel.plot(epochs, wide, style, color=colour, marker=".", linewidth=0.7, alpha=0.5)
        name = f"{model}, {backbone}" if several else model
        mean = wide.mean(axis=1)
        label = f"{name} (n={len(seeds)})"
        panel.plot(epochs, mean, style, color=colour, marker="o", label=label, linewidth=2)


def class_accuracy(classes, title: str, path: Path):
    """A bar for each class: columns class and accuracy."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 4))
        bars = axes.barh(classes["class"][::-1], classes["accuracy"][::-1], color=COLOURS[0])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set_xlim(0, 105)
        axes.set_xlabel("test accuracy, %")
        finish(figure, f"Accuracy by class\n{title}", path)
