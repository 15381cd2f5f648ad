"""What attention gains where: every mechanism that stands at several places, seed by seed."""

import zlib

import pytest

from attn.evidence import placement
from attn.formats import MINUS
from attn.report.figures import places
from attn.report.tables import by_place
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


def test_the_places_of_a_mechanism_are_compared_on_the_seeds_that_they_share(root):
    sweep(root)
    sweep(root, "cbam", {"last": (0.02,), "per_block": (0.01, 0.09)})
    sweep(root, "sk", {"per_block": (0.3, 0.3)})  # at one place alone: no comparison of places
    table = placement.table(group_of(root))
    frame = table.set_index(["attention", "location"])
    assert list(frame.index) == [
        *(("cbam", "last"), ("cbam", "per_block")),
        *(("se", "first"), ("se", "per_block")),
    ]
    assert frame["n"].tolist() == [1, 1, 2, 2]
    assert frame["difference"].tolist() == pytest.approx([2, 1, 2, -1])
    se = frame.loc["se", "per_block"]
    assert se["high"] + 1 == pytest.approx(-1 - se["low"]) and len(se["runs"].split()) == 2
    shown = by_place(table)
    assert shown.columns.tolist()[4:] == ["n", "first", "last", "per_block"]
    assert shown.to_numpy()[:, 3:].tolist() == [
        ["cbam", 1, "", "+2.00", "+1.00"],
        ["se", 2, "+2.00", "", f"{MINUS}1.00"],
    ]


def test_stages_data_and_backbones_are_rows_of_their_own(root):
    sweep(root)
    sweep(root, stages="1+2")
    for seed in range(3):
        run(root, seed, 0.7)
    sweep(root, data="rgb_noise")
    for gains in ({"none": (0.0, 0.0)}, GAINS):
        sweep(root, "none" if "none" in gains else "se", gains, backbone="resnet20")
    sweep(root, backbone="resnet18")  # which was not run without attention
    shown = by_place(placement.table(group_of(root)))
    assert shown[["backbone", "data", "stages"]].to_numpy().tolist() == [
        *(["mobilenet_v2", "rgb", stages] for stages in ("1+2", "all")),
        ["mobilenet_v2", "rgb_noise", "all"],
        ["resnet20", "rgb", "all"],
    ]
    assert shown["first"].tolist() == ["+2.00", "+2.00", "+12.50", "+2.00"]
    assert len(places.figures(group_of(root), root)) == 3


def test_of_several_configurations_of_a_name_the_largest_is_shown(root):
    """As where a YAML was edited between two sweeps."""
    sweep(root)
    sweep(root, gains={"per_block": (0.5,)}, settings="attention.reduction=8")
    shown = by_place(placement.table(group_of(root)))
    assert shown["per_block"].tolist() == [f"{MINUS}1.00"]


def test_the_median_is_of_the_mechanisms_that_stand_at_every_place(root, monkeypatch):
    gains = {"se": (0.01, 0.04), "cbam": (0.02, 0.06), "cse": (0.06, 0.05)}
    for attention, (first, last) in gains.items():
        sweep(root, attention, {"first": (first,), "last": (last,)})
        shown = by_place(placement.table(group_of(root))).to_string()
        assert ("median" in shown) == (attention == "cse")
    sweep(root, "static", {"first": (0.3,), "last": (0.3,)})  # a control
    sweep(root, "cbam+kernel=3", {"first": (0.3,), "per_stage": (0.3,)})  # a variant
    shown = by_place(placement.table(group_of(root)))
    median = ["mobilenet_v2", "rgb", "", "median of 3", "", "+2.00", "+5.00", ""]
    assert shown.iloc[-1].tolist() == median
    drawn = []
    monkeypatch.setattr(places, "finish", lambda *drawing: drawn.append(drawing))
    places.figures(group_of(root), root)
    ((figure, _, _, note),) = drawn
    dotted = [
        [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":"]
        for panel in figure.axes
    ]
    assert dotted == [[pytest.approx(2)], [pytest.approx(5)], []]
    assert "Dotted: median of 3 mechanisms" in note
    sweep(root, "sse", {"last": (0.3,), "per_block": (0.3,)})  # now nothing stands everywhere
    assert "median" not in by_place(placement.table(group_of(root))).to_string()


def test_what_has_no_baseline_has_no_row(tmp_path):
    sweep(tmp_path)
    assert placement.table(group_of(tmp_path)).empty
    assert places.figures(group_of(tmp_path), tmp_path) == []


def test_the_figure_has_a_panel_a_place_and_says_what_is_chance(root, monkeypatch):
    sweep(root)
    sweep(root, "cbam", {"last": (0.02, 0.0), "per_block": (0.01, 0.03)})
    drawn = []
    monkeypatch.setattr(places, "finish", lambda *drawing: drawn.append(drawing))
    places.figures(group_of(root), root)
    ((figure, _, path, note),) = drawn
    assert path.name == "placement-mobilenet_v2-rgb.png"
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["first", "last", "per_block"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["cbam", "se"]
    ticks = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [sorted(x) for x in ticks] == [pytest.approx([1, 3])]
    sd = 2**0.5  # each cell's two seeds are a point from their mean
    half = 2.7764 * sd / 2**0.5  # Student's t with four degrees of freedom
    assert f"sd of {sd:.2f} points over all 4 cells" in note
    assert f"±{half:.1f} points, where over 90% of means of 2 seeds" in note
    band = figure.axes[0].patches[0].get_extents()
    to_data = figure.axes[0].transData.inverted()
    assert to_data.transform(band)[:, 0] == pytest.approx([-half, half], rel=1e-4)


def test_a_seed_alone_does_not_tell_what_is_chance(root, monkeypatch):
    sweep(root, gains={"first": (0.01,), "last": (0.02,)})
    notes = []
    monkeypatch.setattr(places, "finish", lambda *drawing: notes.append(drawing[-1]))
    places.figures(group_of(root), root)
    assert "One seed alone does not tell" in notes[0] and "Grey" not in notes[0]


def test_a_mean_far_away_is_an_arrow_with_its_number(root, monkeypatch):
    gains = {"first": (0.01, 0.02), "last": (0.02, 0.01), "per_block": (-0.14, -0.15)}
    for attention in ("se", "cbam", "bam", "scse"):  # one cell in twelve is far away
        sweep(root, attention, gains if attention == "se" else gains | {"per_block": (0.01, 0.0)})
    drawn = []
    monkeypatch.setattr(places, "finish", lambda *drawing: drawn.append(drawing))
    places.figures(group_of(root), root)
    panel = drawn[0][0].axes[-1]
    assert panel.get_xlim()[0] > -10
    assert [text.get_text().strip() for text in panel.texts] == ["\N{MINUS SIGN}14.5"]


def test_places_of_a_mechanism_whose_yaml_was_edited_are_not_compared(root):
    sweep(root)
    group = group_of(root)
    assert set(placement.table(group)["attention"]) == {"se"}
    edited = group.runs["location"].map({"first": "attention.reduction=4, recipe.lr=1"})
    group.runs["settings"] = edited.fillna("attention.reduction=8")
    assert placement.table(group).empty
    group.runs["settings"] = "attention.reduction=4"
    assert set(placement.table(group)["attention"]) == {"se+reduction=4"}
