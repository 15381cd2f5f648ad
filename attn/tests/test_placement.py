"""What attention gains where: every mechanism that stands at several places, seed by seed."""

import zlib

import numpy as np
import pytest

from attn.report import placement
from attn.tests.made_up import group_of, run

GAINS = {"first": (0.01, 0.03), "per_block": (-0.02, 0.0, 0.05)}


def sweep(root, attention="se", gains=GAINS, **changes):
    """Runs of a mechanism at places, a gain each seed; the baseline has three."""
    for place, values in gains.items():
        for seed, gain in enumerate(values):
            settings = {"attention": attention, "location": place, "data": "rgb", **changes}
            key = f"{zlib.crc32(repr(settings).encode()):08x}"
            run(root, seed, 0.8 + 0.01 * seed + gain, configuration=key, **settings)


@pytest.fixture
def root(tmp_path):
    for seed in range(3):
        run(tmp_path, seed, 0.8 + 0.01 * seed, data="rgb")
    return tmp_path


def test_a_row_has_each_places_mean_difference_and_pairs(root):
    sweep(root)
    sweep(root, "cbam", {"last": (0.02,), "per_block": (0.01, 0.01)})
    sweep(root, "sk", {"per_block": (0.3, 0.3)})  # at one place alone: no comparison of places
    table = placement.table(group_of(root))
    frame = table.set_index(["attention", "location"])
    assert list(frame.index) == [
        *(("cbam", "last"), ("cbam", "per_block")),
        *(("se", "first"), ("se", "per_block")),
    ]
    assert frame["n"].tolist() == [1, 2, 2, 3]
    assert frame["difference"].tolist() == pytest.approx([2, 1, 2, 1])
    se = frame.loc["se", "per_block"]
    assert se["high"] - 1 == pytest.approx(1 - se["low"]) and len(se["runs"].split()) == 3
    shown = placement.words(table).set_index("attention")
    assert shown.loc["se"].tolist()[-3:] == ["+2.00 (n=2)", "", "+1.00 (n=3)"]
    assert shown.loc["cbam"].tolist()[-3:] == ["", "+2.00 (n=1)", "+1.00 (n=2)"]


def test_variants_stages_and_data_are_rows_of_their_own(root):
    for changes in ({}, {"stages": "1+2"}, {"settings": "backbone.refine_at=projection"}):
        sweep(root, **changes)
    for seed in range(3):
        run(root, seed, 0.7)
    sweep(root, data="rgb_noise")
    table = placement.table(group_of(root))
    shown = placement.words(table)
    assert shown["data"].tolist() == ["rgb"] * 3 + ["rgb_noise"]
    assert len(shown[["stages", "variant"]].drop_duplicates()) == 3
    noisy = table[(table["data"] == "rgb_noise") & (table["location"] == "first")]
    assert noisy["difference"].item() == pytest.approx(12.5)  # against the baseline of its own data


def test_the_median_is_of_the_mechanisms_that_stand_at_every_place(root):
    gains = {"se": (0.01, 0.04), "cbam": (0.02, 0.06), "cse": (0.06, 0.05)}
    for attention, (first, last) in gains.items():
        sweep(root, attention, {"first": (first,), "last": (last,)})
    assert "median" not in placement.words(placement.table(group_of(root)).iloc[:4]).to_string()
    sweep(root, "static", {"first": (0.3,), "last": (0.3,)})  # a control
    shown = placement.words(placement.table(group_of(root)))
    assert shown.iloc[-1].tolist() == [
        *("mobilenet_v2", "rgb", "", "median of 3", ""),
        *("+2.00", "+5.00"),
    ]
    sweep(root, "sse", {"last": (0.3,), "per_block": (0.3,)})  # now nothing stands everywhere
    assert "median" not in placement.words(placement.table(group_of(root))).to_string()


def test_what_has_no_baseline_has_no_row(tmp_path):
    sweep(tmp_path)
    assert placement.table(group_of(tmp_path)).empty
    assert placement.figures(group_of(tmp_path), tmp_path) == []


def test_the_figure_has_a_panel_a_place_and_says_what_is_chance(root, monkeypatch):
    sweep(root)
    sweep(root, "cbam", {"last": (0.02, 0.0), "per_block": (0.01, 0.03)})
    drawn = []
    monkeypatch.setattr(placement, "finish", lambda *drawing: drawn.append(drawing))
    placement.figures(group_of(root), root)
    ((figure, heading, path),) = drawn
    assert path.name == "placement-mobilenet_v2-rgb.png"
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["first", "last", "per_block"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["cbam", "se"]
    ticks = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [sorted(x) for x in ticks] == [pytest.approx([1, 3])]
    # Four cells; three of two seeds, a point each from their mean, one of three.
    sd = np.sqrt((3 * 2 + np.var([-2, 0, 5], ddof=1) * 2) / 5)
    assert f"sd of {sd:.2f} points, over all 4 cells" in heading
    band = figure.axes[0].patches[0].get_extents()
    half = 2.5706 * sd / np.sqrt(2)  # Student's t with five degrees of freedom
    assert f"±{half:.1f} points, where over 90% of means of 2 seeds" in heading
    to_data = figure.axes[0].transData.inverted()
    assert to_data.transform(band)[:, 0] == pytest.approx([-half, half], rel=1e-4)


def test_a_seed_alone_does_not_tell_what_is_chance(root, monkeypatch):
    sweep(root, gains={"first": (0.01,), "last": (0.02,)})
    headings = []
    monkeypatch.setattr(placement, "finish", lambda figure, heading, path: headings.append(heading))
    placement.figures(group_of(root), root)
    assert "One seed alone does not tell" in headings[0] and "Grey" not in headings[0]
