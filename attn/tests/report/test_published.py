"""What is published: kept when others publish, and made again from its data files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from attn.data import load as load_data
from attn.errors import RunError
from attn.evidence.claims_file import load
from attn.evidence.collect import collect
from attn.evidence.group import ARRAYS, FRAMES, Group, named, published
from attn.report.explorer import write_explorer
from attn.report.page import write_page
from attn.report.report import remake_of, report
from attn.report.section import write_tables, write_verdicts
from attn.tests.conftest import ROOT
from attn.tests.made_up import made_up_runs, run

TABLES, CLAIMS = load()


@pytest.mark.slow
def test_publishing_keeps_the_runs_of_others(tmp_path):
    run(tmp_path / "here", 0, 0.83)
    run(tmp_path / "there", 1, 0.84)
    run(tmp_path / "there", 0, 0.5, recipe="quick")
    out = tmp_path / "results"
    report(tmp_path / "there", out, publish=True)
    report(tmp_path / "here", out, publish=True)
    post, quick = published(out)
    assert post.runs["test_accuracy"].tolist() == [0.83, 0.84] and len(quick.runs) == 1
    assert post.epochs["run"].nunique() == 2
    shutil.rmtree(tmp_path / "here")
    run(tmp_path / "here", 0, 0.83, train_seconds=70.0)  # the same run, trained anew
    report(tmp_path / "here", out, publish=True)
    assert published(out)[0].runs["train_seconds"].tolist() == [70, 60]
    (out / "stale").mkdir()
    shutil.copy(out / "quick" / "runs.csv", out / "stale" / "runs.csv")
    report(tmp_path / "here", out, publish=True)  # the same runs in a folder of another name
    assert {path.parent.name for path in out.glob("*/runs.csv")} == {"post", "quick"}
    report(tmp_path / "here", tmp_path / "mine")  # without publishing, what is there alone
    assert len(published(tmp_path / "mine")[0].runs) == 1


@pytest.mark.slow
def test_a_run_that_is_published_with_another_result_stays_as_it_is(tmp_path, capsys):
    out, here, there = (tmp_path / name for name in ("out", "here", "there"))
    for seed in (0, 1):
        run(there, seed, 0.83, environment="machine A")
        run(here, seed, 0.84 - 0.01 * seed, environment="machine B" if seed else "machine A")
    run(here, 2, 0.85, environment="machine B")
    report(there, out, publish=True)
    report(here, out, publish=True)
    told = [line for line in capsys.readouterr().out.splitlines() if "not published" in line]
    assert len(told) == 2  # another accuracy, another machine
    assert told[0].startswith("not published: post/runs.csv has another result of c0-archive-")
    assert "-0 (83.00%, machine A; this is 84.00%, machine A). Delete its line there" in told[0]
    (post,) = published(out)
    assert post.runs["test_accuracy"].tolist() == [0.83, 0.83, 0.85]
    assert post.epochs.groupby("run").size().tolist() == [2, 2, 2]
    lines = (out / "post" / "runs.csv").read_text().splitlines(keepends=True)
    (out / "post" / "runs.csv").write_text("".join(lines[:1] + lines[2:]))
    report(here, out, publish=True)
    assert published(out)[0].runs["test_accuracy"].tolist() == [0.84, 0.83, 0.85]


def test_two_folders_of_one_run_are_told_apart_from_a_copy(tmp_path):
    first = run(tmp_path, 0, 0.83, environment="machine A")
    shutil.copytree(first, tmp_path / "copy")
    other = run(tmp_path / "elsewhere", 0, 0.84, environment="machine B")
    shutil.copytree(other, tmp_path / "from-b")
    found = collect(tmp_path)
    assert found.groups[0].runs["test_accuracy"].tolist() == [0.83]
    copy, differs = found.left_out
    assert copy == f"copy: it is a copy of {first.name}"
    assert differs == (
        "from-b: it is the same run with another result (84.00%, machine B; there 83.00%, "
        f"machine A): keep one of them, under the name {first.name}"
    )


@pytest.mark.slow
def test_two_that_publish_at_once_lose_nothing(tmp_path):
    for seed in range(4):
        run(tmp_path / str(seed), seed, 0.83)
    words = [sys.executable, "eval.py", "publish=true", f"out={tmp_path / 'out'}"]
    every = [subprocess.Popen([*words, f"runs={tmp_path / str(n)}"], cwd=ROOT) for n in range(4)]
    assert [process.wait(timeout=120) for process in every] == [0] * 4
    (group,) = published(tmp_path / "out")
    assert group.runs["seed"].tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_publishing_again_changes_nothing(tmp_path):
    made_up_runs(tmp_path / "runs")
    out = tmp_path / "out"
    report(tmp_path / "runs", out, publish=True)
    post = out / "post"
    unfinished = {"run": "x", "backbone": "mobilenet_v2", "data": "rgb_noise", "seed": 9}
    unfinished |= {"attention": "none", "location": "none", "stages": "all", "state": "unfinished"}
    pd.DataFrame([unfinished | {"reason": ""}]).to_csv(post / "unfinished.csv", index=False)
    report(out, out, publish=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in SAME}
    report(out, out, publish=True)
    assert {path: path.read_bytes() for path in before} == before
    assert len(pd.read_csv(post / "unfinished.csv")) == 1


@pytest.mark.slow
def test_a_users_own_page_says_what_makes_it(tmp_path):
    made_up_runs(tmp_path)
    report(tmp_path, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"<code>python eval.py runs={tmp_path}</code> makes this table" in page
    assert "publish=true" not in page


SAME = (".csv", ".md", ".html", ".json", ".png")


def texts(folder):
    """Every derived text file below a folder, by path."""
    data = set(FRAMES)
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".md", ".csv", ".html")
        and path.stem not in {*data, "recipe-search", "README"}
        and not {"bench", "zoo", "_report"} & set(path.parts)
    }


@pytest.fixture(params=["committed", "made up"])
def results(request, tmp_path):
    """The committed results, where any run is published, and some that are always there."""
    if request.param == "committed":
        return ROOT / "results"
    made_up_runs(tmp_path / "runs")
    report(tmp_path / "runs", tmp_path / "published", publish=True)
    return tmp_path / "published"


def test_what_is_published_is_made_again_from_its_data_to_the_byte(results, tmp_path):
    copy, groups = tmp_path / "copy", named(published(results))
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("_report"))
    committed = texts(copy)
    assert bool(committed) == bool(groups)  # no table without the runs behind it
    for path in committed:
        (copy / path).unlink()
    if not groups:
        return
    remake = remake_of(Path("results"), publish=True)
    sections = [write_tables(group, TABLES, CLAIMS, copy, remake) for group in groups]
    write_verdicts(sections, CLAIMS, copy)
    for section in sections:  # the page in the order in which the figures were drawn
        section.figures = _figures_in_order(results / "report.html", section, copy)
    skipped = copy / "skipped.json"
    impossible = json.loads(skipped.read_text()) if skipped.exists() else []
    write_page(sections, CLAIMS, impossible, copy)
    write_explorer([section.group for section in sections], copy)
    made = texts(copy)
    assert made.keys() == committed.keys()
    differing = [path for path in committed if made[path] != committed[path]]
    assert not differing


@pytest.mark.slow
def test_figures_are_drawn_again_as_they_were(results, tmp_path):
    again = shutil.copytree(results, tmp_path / "again")
    if published(results):
        report(again, again, publish=True)
    for path in _figures(results):
        assert not compare_images(results / path, again / path, tol=1)


@pytest.mark.slow
def test_a_figure_of_other_numbers_is_noticed(tmp_path):
    made_up_runs(tmp_path / "runs")
    report(tmp_path / "runs", tmp_path / "right", publish=True)
    wrong = shutil.copytree(tmp_path / "right", tmp_path / "wrong")
    for path in [*wrong.glob("*/runs.csv"), *wrong.glob("*/epochs.csv")]:
        frame = pd.read_csv(path)
        frame.assign(test_accuracy=frame["test_accuracy"] / 2).to_csv(path, index=False)
    report(wrong, wrong, publish=True)
    drawn = [path for path in _figures(wrong) if path.parent.name == "post"]
    drawn = [path for path in drawn if path.name.startswith(("noise", "claims", "parameters"))]
    assert len(drawn) >= 3
    for path in drawn:
        assert compare_images(tmp_path / "right" / path, wrong / path, tol=1)


def _figures(folder):
    """The figures of the groups there, by their paths from it."""
    groups = [path.parent for path in folder.glob("*/runs.csv")]
    return [path.relative_to(folder) for group in groups for path in group.glob("*.png")]


def test_packed_predictions_are_the_runs_own(trained, tmp_path):
    """Every published accuracy can be counted again, image by image."""
    (group,) = collect(trained[0]).groups
    group.write(tmp_path)
    back, labels = Group.read(tmp_path), load_data("synthetic").labels["test"].numpy()
    assert set(back.predictions) == set(back.runs["run"]) and len(back.runs) == 4
    for run_ in back.runs.itertuples():
        classes = back.predictions[run_.run]
        assert classes.dtype == np.uint8
        assert (classes == labels).mean() == pytest.approx(run_.test_accuracy, abs=1e-12)


def _figures_in_order(page, section, copy):
    text, name = page.read_text(), section.group.name
    stems = [part.split('"')[0] for part in text.split(f'<figure id="{name}-figure-')[1:]]
    pictures = {path.stem for path in (copy / name).glob("*.png")}
    assert set(stems) == pictures
    return [copy / name / f"{stem}.png" for stem in stems]


def test_data_files_come_back_as_they_were(tmp_path):
    made_up_runs(tmp_path / "runs")
    for group in named(collect(tmp_path / "runs").groups):
        group.write(tmp_path / group.name)
        back = Group.read(tmp_path / group.name)
        for name in FRAMES:
            frame, other = getattr(group, name), getattr(back, name)
            if len(frame):
                pd.testing.assert_frame_equal(frame, other, check_dtype=False, check_exact=True)
        assert back.key == group.key
        for name in ARRAYS:
            arrays, others = getattr(group, name), getattr(back, name)
            assert arrays.keys() == others.keys()
            assert all(np.array_equal(others[key], array) for key, array in arrays.items())


def _in_conflict(path):
    head, first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, "<<<<<<< HEAD\n", first, *rest]))


def _without(column):
    return lambda path: pd.read_csv(path).drop(columns=column).to_csv(path, index=False)


def _with(column, value):
    def damage(path):
        frame = pd.read_csv(path).astype({column: object})
        frame.loc[1, column] = value
        frame.to_csv(path, index=False)

    return damage


def _first_lines(count):
    return lambda path: path.write_text("".join(path.read_text().splitlines(True)[:count]))


def _doubled(path):
    head, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *rest, *rest]))


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("runs.csv", lambda path: path.write_text(""), r"runs\.csv is damaged \(No columns"),
        ("epochs.csv", _in_conflict, r"epochs\.csv is damaged \(a line has nothing but '<<<<<<< "),
        ("runs.csv", _without("seed"), r"runs\.csv is damaged \(it has no column seed"),
        ("runs.csv", _without("multiply_adds"), "it has no column multiply_adds"),
        ("runs.csv", _first_lines(1), "it has no runs"),
        ("runs.csv", _doubled, "line 8 stands twice"),
        ("runs.csv", _with("seed", "x"), "its column seed has 'x', which is no number"),
        ("runs.csv", _with("seed", 1.5), "its column seed has a number that is not whole"),
        ("runs.csv", _with("seed", None), "its column seed has an empty cell"),
        ("runs.csv", _with("test_accuracy", "25%"), "its column test_accuracy has '25%', which"),
        ("runs.csv", _with("source", "foo"), "its column source has 'foo': choose of archive"),
        ("scores.csv", _doubled, "stands twice"),
        ("scores.csv", _with("mean", "high"), "its column mean has 'high', which is no number"),
        ("pictures.npz", lambda path: path.write_bytes(path.read_bytes()[:-40]), "pictures.npz is"),
        ("../skipped.json", lambda path: path.write_text(""), r"skipped\.json is damaged"),
    ],
)
def test_a_damaged_file_of_published_data_is_named(tmp_path, file, damage, reason):
    made_up_runs(tmp_path / "runs")
    out = tmp_path / "out"
    collect(tmp_path / "runs").groups[0].write(out / "post")
    for other in ("skipped.json", "verdicts.csv"):  # of the report that wrote it
        (out / other).write_text("[]")
    damage(out / "post" / file)
    with pytest.raises(RunError, match=reason):
        report(out, out, publish=True)
