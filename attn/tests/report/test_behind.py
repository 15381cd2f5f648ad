"""What stands behind a number on the page: reasons, runs, and the commands that train them."""

import re

import pandas as pd
import pytest

from attn.evidence.claims_file import load
from attn.evidence.group import named
from attn.evidence.judged import INSPECT
from attn.evidence.verdicts import of_own_experiments
from attn.report import network
from attn.report.figures import layers
from attn.report.report import report
from attn.report.section import write_tables
from attn.runs.whole import Damaged
from attn.tests.made_up import ATTENDED, SCORES, group_of, run

TABLES, CLAIMS = load()


def section_of(tmp_path):
    """The tables and verdicts of the only group of the runs there."""
    (group,) = named([group_of(tmp_path / "runs")])
    (tmp_path / "out" / group.name).mkdir(parents=True)
    return write_tables(group, TABLES, CLAIMS, tmp_path / "out", "python eval.py")


def page_of(tmp_path) -> str:
    report(tmp_path / "runs", tmp_path / "out")
    return (tmp_path / "out" / "report.html").read_text()


def own(section, claim: str):
    return next(one for one in of_own_experiments(section.judged, CLAIMS) if one.claim.id == claim)


def test_a_claim_without_pairs_says_why(tmp_path, capsys):
    """Its experiment's command alone would do nothing: every run is there."""
    for seed in range(2):
        run(tmp_path / "runs", seed, 0.83, environment="of one machine")
        run(tmp_path / "runs", seed, 0.84, **ATTENDED | {"environment": "of another"})
    one = own(section_of(tmp_path), "attention-recovers-noise")
    assert one.found.n == 0 and one.missing == ["seeds 0, 1: computed in different environments"]
    page = page_of(tmp_path)
    assert one.missing[0] in page[page.index('id="waiting"') :]
    assert one.missing[0] in (tmp_path / "out" / "verdicts.md").read_text()
    assert one.missing[0] in " ".join(capsys.readouterr().out.split())


def test_a_claim_on_frozen_gates_asks_for_a_look_where_all_is_trained(tmp_path):
    last = {"attention": "cbam_channel", "location": "last", "configuration": "c7", "data": "rgb"}
    run(tmp_path / "runs", 0, 0.84, **last)
    run(tmp_path / "runs", 0, 0.83, data="rgb")
    one = own(section_of(tmp_path), "gate-at-last-is-a-constant")
    assert (one.found.n, one.command) == (0, INSPECT)
    assert "without frozen change" in one.missing[0]


def test_an_interaction_names_all_rows_that_it_takes(tmp_path):
    for seed in range(2):
        for data in ("rgb", "rgb_noise"):
            run(tmp_path / "runs", seed, 0.83, data=data, configuration=f"n-{data}")
            changes = {"data": data, "configuration": f"a-{data}"}
            run(tmp_path / "runs", seed, 0.84, **ATTENDED | changes)
    page = page_of(tmp_path)
    (claim,) = [claim for claim in CLAIMS if claim.interaction and claim.primary]
    card = page[page.index(f"<h4>{claim.statement}") :].partition("</article>")[0]
    less = "less {}, against {}".format(*(row.model for row in claim.interaction))
    assert less in card
    assert len(re.findall("<code>python train.py", card)) == 4
    assert len(set(re.findall(r'href="#([^"]+)"', card))) == 8


def test_a_row_of_several_configurations_has_the_command_of_each(tmp_path):
    """The table of environments, whose rows count attended runs too."""
    for seed, environment in ((0, "of one machine"), (1, "of another")):
        run(tmp_path / "runs", seed, 0.83, environment=environment)
        run(tmp_path / "runs", seed, 0.84, **ATTENDED | {"environment": environment})
    page = page_of(tmp_path)
    table = page[page.index('id="post-environments"') :].partition("</details>")[0]
    behind = re.findall(r"<li>(.*?): <code>(.*?)</code>", table)
    assert len(behind) == 4
    assert [label for label, _ in behind[:2]] == ["mobilenet_v2, rgb_noise, of another"] * 2
    assert sum("location=first" in command for _, command in behind) == 2


def test_blocks_of_one_network_are_named_together(tmp_path):
    level = {"backbone": "resnet20", "data": "rgb"}
    run(tmp_path / "runs", 0, 0.8, configuration="c9", **level)
    for block in (1, 2):
        words = {"attention": "se", "location": "per_block", "stages": f"blocks {block}"}
        run(tmp_path / "runs", 0, 0.81, configuration=f"b{block}", **level | words)
    page = page_of(tmp_path)
    table = page[page.index('id="post-blocks"') :].partition("</details>")[0]
    behind = re.findall(r"<li>(.*?): <code>(.*?)</code>", table)
    assert {label for label, _ in behind} == {
        "resnet20, rgb, se, block 1; resnet20, rgb, se, block 2"
    }
    places = [re.search(r"blocks=\S+|attention=none", command)[0] for _, command in behind]
    assert sorted(places) == ["attention=none", "blocks=[1]", "blocks=[2]"]


def test_a_tables_curves_are_accuracy_whatever_its_name_begins_with(tmp_path):
    for seed in range(2):
        run(tmp_path / "runs", seed, 0.83)
        run(tmp_path / "runs", seed, 0.84, **ATTENDED)
    page = page_of(tmp_path)
    figure = page[page.index('id="post-figure-noise-epochs"') :].partition("</figure>")[0]
    assert "<figcaption>Accuracy over epochs" in figure


def test_variants_of_a_row_stand_in_the_pages_first_table(tmp_path):
    run(tmp_path / "runs", 0, 0.83)
    for key, strict in (("c1", False), ("c2", True)):
        words = ATTENDED | {"configuration": key, "strict": strict}
        run(tmp_path / "runs", 0, 0.84 + 0.01 * strict, **words)
    page = page_of(tmp_path)
    first = page[page.index('id="published"') : page.index('id="verdicts"')]
    assert "84.00 (n=1); 85.00 (n=1) [strict]" in first


@pytest.mark.parametrize("attention", ["cbam_channel+reduction=16", "gc"])
def test_lines_of_one_colour_have_styles_of_their_own(tmp_path, monkeypatch, attention):
    last = {"location": "last", "data": "rgb"}
    for key, name in (("c1", "cbam_channel"), ("c2", attention)):
        words = last | {"attention": name, "configuration": key}
        path = run(tmp_path, 0, 0.8, scores=SCORES, **words) / "scores.csv"
        path.write_text(path.read_text().replace("seams.input", "seams.features"))
    drawn = []
    monkeypatch.setattr(layers, "finish", lambda figure, *rest: drawn.append(figure))
    layers.by_rank(group_of(tmp_path), tmp_path)
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines}
    assert len(looks) == 2


def test_numbers_of_an_edited_recipe_are_not_held_against_published_ones(tmp_path):
    for words in ({}, {"recipe_key": "edited"}):
        run(tmp_path / "runs", 0, 0.83, **words)
        run(tmp_path / "runs", 0, 0.84, scores=SCORES, **ATTENDED | words)
    report(tmp_path / "runs", tmp_path / "out")
    columns = [pd.read_csv(path, nrows=0).columns for path in tmp_path.glob("out/post*/noise.csv")]
    assert sorted("published" in names for names in columns) == [False, True]


@pytest.mark.parametrize("contents", ["", "run,other\na,1\n"])
def test_a_damaged_file_of_a_look_is_named(tmp_path, contents):
    (tmp_path / "classes.csv").write_text("module,channel,class,score\nseams.input,0,0,0.5\n")
    (tmp_path / "frozen.csv").write_text(contents)
    with pytest.raises(Damaged, match=r"its frozen\.csv is damaged .*; delete it, and the same"):
        network._draw_inspection(tmp_path, tmp_path / "out", "a network")
