"""Which runs may stand in one table, and where each group's tables lie."""

import shutil
from dataclasses import asdict

import pandas as pd
import pytest
import yaml

from attn.config.sweep import configuration
from attn.errors import RunError
from attn.evidence.claims_file import load
from attn.evidence.collect import collect
from attn.evidence.group import named
from attn.evidence.verdicts import judge
from attn.report.report import PUBLISHED, report
from attn.tests.made_up import ATTENDED, SCORES, group_of, made_up_runs, run

NOISE = next(table for table in load()[0] if table.id == "noise")


@pytest.mark.parametrize("key", ["source", "fingerprint", "numerics", "recipe_key"])
def test_runs_that_cannot_be_compared_are_in_groups_of_their_own(tmp_path, key):
    other = {"source": "images", "fingerprint": "e" * 64, "numerics": 2, "recipe_key": "r1"}[key]
    run(tmp_path, 0, 0.5)
    run(tmp_path, 1, 0.6)
    run(tmp_path, 2, 0.7, **{key: other})
    large, small = named(collect(tmp_path).groups)
    assert (large.name, len(large.runs), len(small.runs)) == ("post", 2, 1)
    assert small.name.startswith("post-")
    report(tmp_path, tmp_path / "out")
    assert {path.parent.name for path in tmp_path.glob("out/*/runs.csv")} == {"post", small.name}


def test_a_recipe_that_was_edited_between_seeds_is_named(tmp_path, capsys):
    run(tmp_path, 0, 0.5)
    run(tmp_path, 1, 0.6, recipe_key="r1")
    report(tmp_path, tmp_path / "out")
    said = [line for line in capsys.readouterr().out.splitlines() if "edited between" in line]
    assert said == [
        "recipe post: its YAML was edited between runs, 1 and 1 of them; they are never compared. "
        "Train all seeds with one version"
    ]


def test_three_groups_of_a_recipe_have_three_folders(tmp_path):
    """Also where lossless images have the very pixels of the archive."""
    for seed in range(3):
        run(tmp_path, seed, 0.5, fingerprint="e" * 64)
    run(tmp_path, 0, 0.6)
    run(tmp_path, 0, 0.7, source="images")
    report(tmp_path, tmp_path / "out")
    counts = [len(pd.read_csv(path)) for path in tmp_path.glob("out/*/runs.csv")]
    assert sorted(counts) == [1, 1, 3]


def test_a_published_group_keeps_its_folder_where_a_larger_one_comes(tmp_path):
    """Else a disk that is full in between would leave neither."""
    run(tmp_path / "first", 0, 0.8)
    report(tmp_path / "first", tmp_path / "out", publish=True)
    before = (tmp_path / "out" / "post" / "runs.csv").read_text()
    for seed in range(3):
        run(tmp_path / "second", seed, 0.5, fingerprint="e" * 64)
    report(tmp_path / "second", tmp_path / "out", publish=True)
    assert (tmp_path / "out" / "post" / "runs.csv").read_text() == before
    counts = [len(pd.read_csv(path)) for path in tmp_path.glob("out/post-*/runs.csv")]
    assert counts == [3]


def test_published_data_of_somebody_joins_ours_though_its_folder_has_the_same_name(tmp_path):
    for root, fingerprint in (("ours", "f"), ("theirs", "e")):
        run(tmp_path / root, 0, 0.8, fingerprint=64 * fingerprint)
        report(tmp_path / root, tmp_path / f"{root}-published", publish=True)
    before = (tmp_path / "ours-published" / "post" / "runs.csv").read_text()
    report(tmp_path / "theirs-published", tmp_path / "ours-published", publish=True)
    assert (tmp_path / "ours-published" / "post" / "runs.csv").read_text() == before
    assert len(list(tmp_path.glob("ours-published/post-*/runs.csv"))) == 1


def test_published_runs_whose_first_line_is_damaged_are_not_written_over(tmp_path):
    run(tmp_path / "runs", 0, 0.8)
    report(tmp_path / "runs", tmp_path / "out", publish=True)
    path = tmp_path / "out" / "post" / "runs.csv"
    path.write_text(path.read_text().replace(",", ";"))  # as a spreadsheet saves it
    run(tmp_path / "more", 1, 0.8)
    with pytest.raises(RunError, match=r"post/runs\.csv would go: it is damaged, or not ours"):
        report(tmp_path / "more", tmp_path / "out", publish=True)
    assert path.read_text().startswith("run;backbone")


def test_a_folder_of_gone_runs_stays_where_somebody_keeps_files_in_it(tmp_path, capsys):
    run(tmp_path / "runs", 0, 0.8)
    report(tmp_path / "runs", tmp_path / "out", publish=True)
    backup = shutil.copytree(tmp_path / "out" / "post", tmp_path / "out" / "backup")
    (backup / "notes.txt").write_text("mine")
    report(tmp_path / "runs", tmp_path / "out", publish=True)
    assert (backup / "notes.txt").exists() and "left alone" in capsys.readouterr().out


def test_tables_of_runs_that_are_gone_go_too(tmp_path):
    made = [run(tmp_path, seed, 0.8, **ATTENDED) for seed in range(2)]
    run(tmp_path, 0, 0.8)
    report(tmp_path, tmp_path / "out")
    table = tmp_path / "out" / "post" / "noise.md"
    kept = tmp_path / "out" / "post" / "notes.csv"
    kept.write_text("of a person's own\n")
    assert table.exists()
    for folder in made:
        shutil.rmtree(folder)
    report(tmp_path, tmp_path / "out")
    assert not list(table.parent.glob("noise.*")) and kept.exists()


def test_a_folder_that_holds_somebodys_page_is_refused(tmp_path):
    made_up_runs(tmp_path / "runs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    with pytest.raises(RunError, match=r"report\.html there would go; name an empty folder"):
        report(tmp_path / "runs", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text() == "mine"


def test_a_folder_of_somebody_elses_stays_and_so_does_what_is_published(tmp_path):
    run(tmp_path / "runs", 0, 0.8)
    mine = tmp_path / "out" / "thesis" / "runs.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("my,notes\n")
    report(tmp_path / "runs", tmp_path / "out")
    assert mine.exists()
    with pytest.raises(RunError, match="what is published there would go; publish=true keeps it"):
        report(tmp_path / "runs", PUBLISHED)


def test_a_strict_run_is_a_row_of_its_own_in_every_table(tmp_path):
    for seed in range(2):
        run(tmp_path / "runs", seed, 0.8)
        run(tmp_path / "runs", seed, 0.83, scores=SCORES, **ATTENDED)
    strict = ATTENDED | {"configuration": "c2", "strict": True}
    run(tmp_path / "runs", 0, 0.84, scores=SCORES, **strict)
    report(tmp_path / "runs", tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "post" / "noise.csv").set_index("model")
    model = NOISE.rows[2].model
    assert frame.loc[[model, f"{model} [strict]"], "n"].tolist() == [2, 1]
    for name in ("configurations", "separation", "inputs", "gates"):
        rows = pd.read_csv(tmp_path / "out" / "post" / f"{name}.csv")
        counts = rows[rows["attention"] == "cbam_channel"].groupby("variant", dropna=False)["n"]
        assert counts.first().tolist() == [1, 2], name
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data=rgb_noise recipe=post strict=true seeds=[0]" in page.replace("location=first ", "")


def test_a_group_that_was_computed_in_several_numbers_says_so(tmp_path):
    run(tmp_path, 0, 0.5, precision="fp32")
    assert named([group_of(tmp_path)])[0].title == "recipe post, CIFAR-10"
    run(tmp_path, 1, 0.6, precision="bf16")
    title = named([group_of(tmp_path)])[0].title
    assert title == "recipe post, CIFAR-10, computed in 2 environments"


def at_the_end(folder):
    """Makes the scores of a run those of its final features."""
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace("seams.input", "seams.features"))


def test_an_unfinished_run_of_another_recipe_is_in_no_group(tmp_path):
    for seed in range(2):
        run(tmp_path, seed, 0.83)
    for recipe in ("post", "short"):
        config = configuration("data=rgb_noise", "location=none", f"recipe={recipe}")
        values = asdict(config) | {"fingerprint": "f" * 64, "numerics": 1, "seed": 2}
        (tmp_path / recipe).mkdir()
        (tmp_path / recipe / "config.yaml").write_text(yaml.safe_dump(values))
    assert group_of(tmp_path).unfinished["run"].tolist() == ["post"]


def test_a_run_that_is_unfinished_here_stays_as_it_was_published(tmp_path):
    for seed in range(2):
        at_the_end(run(tmp_path / "there", seed, 0.8, scores=SCORES, **ATTENDED))
    older = group_of(tmp_path / "there")
    at_the_end(run(tmp_path / "here", 2, 0.81, scores=SCORES, **ATTENDED))
    newer = group_of(tmp_path / "here")
    name = older.runs["run"].iloc[0]
    newer.unfinished = pd.DataFrame([{"run": name, "state": "unfinished"}, {"run": "other"}])
    joined = newer.joined(older)
    assert joined.runs["seed"].tolist() == [0, 1, 2]
    assert joined.unfinished["run"].tolist() == ["other"]
    for frame in (joined.epochs, joined.health):
        assert set(frame["run"]) == set(joined.runs["run"])
    assert joined.ranked.keys() == set(joined.runs["run"])
    assert older.joined(newer).runs["seed"].tolist() == [0, 1, 2]


def test_pictures_of_a_run_that_is_refused_go_with_it(tmp_path):
    run(tmp_path, 0, 0.8, scores=SCORES, **ATTENDED)
    run(tmp_path, 0, 0.8, scores=SCORES, **ATTENDED | {"configuration": "c5", "data": "rgb"})
    group = group_of(tmp_path)
    assert group.pictures.keys() == {"example/c1", "example/c5"}
    gone = set(group.runs["run"][group.runs["configuration"] == "c1"])
    assert group.without(gone).pictures.keys() == {"example/c5"}


def test_variants_on_one_kind_of_data_leave_the_others_their_scores(tmp_path, capsys):
    first = {"attention": "cbam_channel", "location": "first"}
    run(tmp_path, 0, 0.83, scores=SCORES, **ATTENDED)
    for key, strict in (("c2", True), ("c3", False)):
        words = first | {"configuration": key, "strict": strict, "data": "rgb"}
        run(tmp_path, 0, 0.84, scores=SCORES[:3], **words)
    report(tmp_path, tmp_path / "out")
    lines = [line for line in capsys.readouterr().out.splitlines() if "0.910" in line]
    assert len(lines) == 3 and sum("strict" in line for line in lines) == 1
    assert [line for line in lines if "rgb_noise" in line and "1.000" in line]


def test_a_mechanism_whose_yaml_was_edited_between_rows_is_named(tmp_path):
    """Rows of other stages have other names: none of them has a variant."""
    level = {"backbone": "resnet20", "data": "rgb", "recipe": "short"}
    for stage, reduction in ((1, 4), (3, 8)):
        words = level | {"attention": "se", "location": "per_block", "stages": str(stage)}
        folder = run(tmp_path, 0, 0.8, configuration=f"s{stage}", **words)
        chosen = ["backbone=resnet20", "attention=se", f"attention.reduction={reduction}"]
        values = asdict(configuration(*chosen, "location=per_block", f"stages=[{stage}]"))
        (folder / "config.yaml").write_text(yaml.safe_dump(values | {"seed": 0}))
    group = group_of(tmp_path)
    assert group.runs["settings"].tolist() == ["attention.reduction=4", "attention.reduction=8"]
    assert set(group.runs["variant"]) == {""}
    (found,) = [one for one in judge(group, load()[1]) if one.found.n]
    assert found.claim.id == "late-stage-gains-most"
    assert "se: attention.reduction is 4 and 8, as its YAML was edited between runs" in [
        note for note in found.missing if "YAML" in note
    ]


def test_scores_are_of_one_seed_but_at_the_input_and_not_of_the_final_features(tmp_path):
    inside = ATTENDED | {"location": "per_block", "configuration": "c5", "data": "rgb"}
    last = ATTENDED | {"location": "last", "configuration": "c6", "data": "rgb"}
    for seed in (3, 1):
        run(tmp_path, seed, 0.8, scores=SCORES, **ATTENDED)
        for words, name in ((inside, "layer1.0.seams.refine"), (last, "seams.features")):
            path = run(tmp_path, seed, 0.8, scores=SCORES, **words) / "scores.csv"
            path.write_text(path.read_text().replace("seams.input", name))
    group = group_of(tmp_path)
    lower, upper = (group.without(set(group.runs["run"][group.runs["seed"] == s])) for s in (3, 1))
    for kept in (group, upper.joined(lower)):
        seeds = kept.scores.merge(kept.runs, on="run").groupby("module")["seed"].unique()
        found = {module: sorted(of) for module, of in seeds.items()}
        assert found == {"seams.input": [1, 3], "layer1.0.seams.refine": [1]}
        assert len(kept.ranked) == 2
