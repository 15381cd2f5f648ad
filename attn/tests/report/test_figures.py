"""Figures from a few made-up runs: what is drawn, and in which colours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attn.evidence.claims_file import load
from attn.evidence.classes import confusion_of
from attn.evidence.verdicts import judge
from attn.modules import MECHANISMS
from attn.report.figures import accuracy, channels, forest, layers, style
from attn.tests.made_up import ATTENDED, group_of, run

TABLES, CLAIMS = load()


@pytest.fixture(autouse=True)
def closed():
    """Closes the figures that a test keeps open, of which pyplot complains from twenty on."""
    yield
    style.plt.close("all")


@pytest.mark.parametrize(("source", "drawn"), [("archive", True), ("synthetic", False)])
def test_the_score_figures_have_every_seed_and_the_posts_scores(
    tmp_path, monkeypatch, source, drawn
):
    for seed in (0, 1):
        run(tmp_path, seed, 0.8, scores=[0.1 * c for c in range(6)], source=source, **ATTENDED)
    figures = []
    monkeypatch.setattr(channels, "finish", lambda figure, *rest: figures.append(figure))
    assert len(channels.of_inputs(group_of(tmp_path), TABLES, tmp_path)) == 2
    beside, epochs = figures
    below = beside.axes[-1]
    labels = below.get_legend_handles_labels()[1]
    assert ("the post's" in labels) == drawn
    assert len(below.containers) == 4  # two seeds, over 64 images and over all
    titles = [axes.get_title() for axes in beside.axes[:6]]
    assert titles[0] == "R\n0.000" and titles[5] == "noise 3\n0.500"
    curves = {line.get_label(): line for line in epochs.axes[0].lines if line.get_linewidth() > 2}
    assert list(curves) == ["R", "G", "B", "noise 1", "noise 2", "noise 3"]
    assert curves["B"].get_ydata().tolist() == pytest.approx([0.5, 0.5, 0.2])


def test_the_forest_has_every_seeds_point_and_the_published_number(tmp_path, monkeypatch):
    gains = [0.004, 0.006, 0.009]
    for seed, gain in enumerate(gains):
        run(tmp_path, seed, 0.83)
        run(tmp_path, seed, 0.83 + gain, **ATTENDED)
    drawn = []
    monkeypatch.setattr(forest, "finish", lambda figure, *rest: drawn.append(figure))
    judged = judge(group_of(tmp_path), CLAIMS)
    forest.of_claims(judged, "heading", Path("unused"))
    (axis,) = drawn[0].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "With noise channels attention on the input beats\nnone. (n=3)"
    ]
    points = [line.get_xdata() for line in axis.lines]
    assert any(np.allclose(x, np.multiply(gains, 100)) for x in points if len(x) == 3)
    assert any(np.allclose(x, 0.61) for x in points if len(x) == 1)
    assert axis.get_xlim()[0] < 0.61 < axis.get_xlim()[1]
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert "published" in legend


def test_a_forest_without_published_numbers_explains_none(tmp_path, monkeypatch):
    for seed in range(3):
        run(tmp_path, seed, 0.83, recipe="quick")
        run(tmp_path, seed, 0.84, recipe="quick", **ATTENDED)
    drawn = []
    monkeypatch.setattr(forest, "finish", lambda figure, *rest: drawn.append(figure))
    forest.of_claims(judge(group_of(tmp_path), CLAIMS), "heading", Path("unused"))
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert legend == ["a seed", "mean, 95% interval", "smallest effect of interest, or margin"]


def test_a_seed_far_away_is_an_arrow_and_leaves_the_others_room(tmp_path, monkeypatch):
    gains = [0.004, 0.006, 0.009, 0.005, 0.004, 0.007, 0.006, 0.005, 0.008, 0.006, -0.3]
    for seed, gain in enumerate(gains):
        run(tmp_path, seed, 0.5)
        run(tmp_path, seed, 0.5 + gain, **ATTENDED)
    drawn = []
    monkeypatch.setattr(forest, "finish", lambda figure, *rest: drawn.append(figure))
    forest.of_claims(judge(group_of(tmp_path), CLAIMS), "heading", Path("unused"))
    (axis,) = drawn[0].axes
    low, high = axis.get_xlim()
    assert -30 < low < -2.2 and 0.9 < high < 30  # the mean is -2.2
    arrows = [line for line in axis.lines if line.get_marker() in ("<", ">")]
    ends = [line.get_xdata().item() for line in arrows]
    assert ends == [low, high, low]  # both ends of the interval, and the seed


def test_the_scores_of_the_final_features_are_a_line_for_every_run(tmp_path, monkeypatch):
    means = {0: [0.2, 0.9, 0.5], 1: [0.4, 0.1, 0.8]}
    last = ATTENDED | {"location": "last", "configuration": "c7", "data": "rgb"}
    for seed, scores in means.items():
        path = run(tmp_path, seed, 0.8, scores=scores, **last) / "scores.csv"
        path.write_text(path.read_text().replace("seams.input", "seams.features"))
    figures = []
    monkeypatch.setattr(layers, "finish", lambda figure, *rest: figures.append(figure))
    group = group_of(tmp_path)
    assert len(layers.by_rank(group, tmp_path)) == 1
    lines = [line.get_ydata().tolist() for line in figures[0].axes[0].lines]
    assert lines == [pytest.approx(sorted(m, reverse=True), abs=1e-3) for m in means.values()]
    group.write(tmp_path / "group")
    assert group.read(tmp_path / "group").ranked.keys() == set(group.runs["run"])


def test_many_heat_maps_are_several_figures(tmp_path, monkeypatch):
    inside = {"location": "per_block", "data": "rgb"}
    for number in range(layers.MOST_PANELS + 1):
        name = {"configuration": f"k{number}", "attention": f"se+reduction={number + 1}"}
        run(tmp_path, 0, 0.8, scores=[0.5, 0.6], **ATTENDED | inside | name)
    panels = []
    monkeypatch.setattr(layers, "heat_maps", lambda some, title, path: panels.append(some) or path)
    paths = layers.by_layer(group_of(tmp_path), tmp_path)
    assert [len(some) for some in panels] == [layers.MOST_PANELS, 1]
    assert [path.stem[-2:] for path in paths] == ["-1", "-2"]


def test_every_curve_has_a_band_from_three_seeds_on(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(accuracy, "finish", lambda figure, *rest: drawn.append(figure))
    for seed in range(3):
        run(tmp_path, seed, 0.83 + 0.01 * seed)
        if seed < 2:
            run(tmp_path, seed, 0.84, **ATTENDED)
    group = group_of(tmp_path)
    third = group.epochs[group.epochs["epoch"] == 1].assign(epoch=2)
    group.epochs = pd.concat([group.epochs, third])
    accuracy.over_epochs(group, TABLES, tmp_path)
    (axis,) = drawn[0].axes
    assert len(axis.collections) == 1 and len(axis.lines) == 3 + 1 + 2 + 1
    labels = [line.get_label() for line in axis.lines if line.get_linewidth() == 2]
    assert labels == [
        "RGB + 3 noise channels (n=3)",
        "RGB + 3 noise channels + attention at first (n=2)",
    ]


def test_strict_runs_are_a_curve_of_their_own(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(accuracy, "finish", lambda figure, *rest: drawn.append(figure))
    run(tmp_path, 0, 0.8)
    for strict, key in ((False, "c1"), (True, "c2")):
        run(tmp_path, 0, 0.83, **ATTENDED | {"configuration": key, "strict": strict})
    accuracy.over_epochs(group_of(tmp_path), TABLES, tmp_path)
    labels = drawn[0].axes[0].get_legend_handles_labels()[1]
    model = "RGB + 3 noise channels + attention at first"
    assert labels[1:] == [f"{model} (n=1)", f"{model} [strict] (n=1)"]


@pytest.mark.parametrize("count", [1, 2])
def test_few_epochs_are_error_bars_side_by_side(tmp_path, monkeypatch, count):
    drawn = []
    monkeypatch.setattr(accuracy, "finish", lambda figure, *rest: drawn.append(figure))
    for seed in range(3):
        run(tmp_path, seed, 0.83 + 0.01 * seed)
        run(tmp_path, seed, 0.84, **ATTENDED)
    group = group_of(tmp_path)
    group.epochs = group.epochs[group.epochs["epoch"] < count]
    accuracy.over_epochs(group, TABLES, tmp_path)
    (axis,) = drawn[0].axes
    low, high = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1, 2][:count]
    assert all(container.has_yerr for container in axis.containers)
    means = [container.lines[0].get_ydata().tolist() for container in axis.containers]
    assert means == [pytest.approx([42, 84][:count])] * 2
    seeds = [line.get_ydata() for line in axis.lines if line.get_marker() == "."]
    assert len(seeds) == 6 and {len(values) for values in seeds} == {count}


def test_four_rows_of_one_mechanism_look_different():
    styles = style.looks(["se", "se+reduction=4", "se", "se"])
    assert len({own["linestyle"] for own in styles}) == 4
    assert len({own["fillstyle"] for own in styles}) == 4  # points have no lines


def test_two_mechanisms_of_one_colour_have_lines_of_their_own():
    first, second = style.looks(["cbam_channel", "gc"])
    assert first["color"] == second["color"] and first["linestyle"] != second["linestyle"]


def test_a_long_heading_is_broken_and_the_figure_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(style.plt, "close", lambda figure: None)
    figure = style.plt.figure(figsize=(4, 3))
    style.finish(figure, "short\n" + "a-run-of-a-long-name+epochs1" * 3, tmp_path / "a.png")
    figure.canvas.draw()  # at the figure's own resolution again
    heading = figure.get_suptitle().split("\n")
    assert heading[0] == "short" and len(heading) > 2
    assert figure._suptitle.get_window_extent().x1 < figure.bbox.width
    assert figure.get_figheight() > 3.1


def test_one_colour_for_one_thing():
    looks = {tuple(style.look(name).values()) for name in MECHANISMS}
    assert len(looks) == len(MECHANISMS)
    assert style.look("cbam+kernel=3") == style.look("cbam") != style.look("none")
    kinds = [
        {style.look(name)["color"] for name in (*MECHANISMS, "none")},
        set(style.CHANNELS.values()),
        set(style.VERDICTS.values()),
        {style.NOISE, style.BOUND, style.NUMBER},
    ]
    assert len(set().union(*kinds)) == sum(len(kind) for kind in kinds)


def test_what_classes_are_taken_for_is_counted_from_the_stored_logits(tmp_path, monkeypatch):
    for seed in (0, 1):
        run(tmp_path, seed, 0.8)
        run(tmp_path, seed, 0.8, **ATTENDED)
    group = group_of(tmp_path)
    right = np.repeat(np.arange(10, dtype=np.uint8), 4)  # four images a class, in order
    _, second = group.runs.loc[group.runs["location"] == "none", "run"]
    group.predictions = dict.fromkeys(group.runs["run"], right)
    group.predictions[second] = np.where(right == 3, 5, right)
    counts = confusion_of(group.predictions[second])
    assert counts[3].tolist() == [0] * 5 + [4] + [0] * 4 and counts.sum() == 40
    assert confusion_of(right).tolist() == (4 * np.eye(10)).tolist()
    figures = []
    monkeypatch.setattr(
        accuracy, "finish", lambda figure, _, path, __: figures.append((figure, path))
    )
    accuracy.confusions(group, TABLES, tmp_path)
    ((figure, path),) = [found for found in figures if "noise" in found[1].stem]
    assert path.name == "confusion-noise-mobilenet_v2.png"
    panel, attended = figure.axes
    assert {text.get_text() for text in attended.texts} == {"0", "4"}
    texts = {text.get_position(): text.get_text() for text in panel.texts}
    assert texts[3, 3] == "2" and texts[5, 3] == "2" and texts[5, 5] == "4"  # means of two runs
