"""eval.py on what train.py left: reports, single networks, damage."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import attn
from attn.errors import RunError
from attn.evaluation.inspect import Inspection
from attn.report.network import report_checkpoint
from attn.runs import look
from attn.runs.load import CPU, find, read_run
from attn.runs.look import inspect_all, look_into
from attn.tests.conftest import folders, needs_cifar10, program, rows


def test_eval_makes_the_report_and_leaves_out_what_is_damaged(trained, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(trained[0], root)
    damaged, unfinished = folders(root)[1], folders(root)[3]
    (damaged / "summary.json").write_text("{")
    (unfinished / "summary.json").unlink()
    (unfinished / "error.txt").write_text("non-finite loss at step 3\n")
    done = program("eval.py", f"runs={root}")
    assert done.returncode == 0, done.stderr
    assert f"left out: {damaged.name}: its summary.json is damaged" in done.stdout
    assert f"left out: {unfinished.name}: failed: non-finite loss at step 3" in done.stdout
    report = next((root / "_report").glob("*-synthetic"))
    for name in ("noise.md", "configurations.md"):
        text = (report / name).read_text()
        assert "SYNTHETIC" in text and "published |" not in text
    assert "`python train.py experiment=noise` trains them" in (report / "noise.md").read_text()
    table = rows(report / "noise.csv")
    assert [row["n"] for row in table] == ["0", "1", "1", "0"]
    baseline = rows(folders(root)[2] / "metrics.csv")[-1]["test_accuracy"]
    assert float(table[1]["mean"]) == pytest.approx(100 * float(baseline), rel=1e-5)
    missing = "RGB + 3 noise channels, seeds 1: failed (non-finite loss at step 3)"
    assert missing in table[1]["missing"]
    (verdict,) = (
        row
        for row in rows(root / "_report" / "verdicts.csv")
        if row["claim"] == "attention-recovers-noise" and row["n"] == "1"
    )
    assert missing in verdict["missing"] and verdict["published_experiment"] == "False"
    assert "not run: python train.py experiment=accuracy" in done.stdout
    page = (root / "_report" / "report.html").read_text()
    assert "non-finite loss at step 3" in page and "SYNTHETIC" in page


@pytest.mark.slow
def test_eval_reads_a_folder_that_it_may_not_write_and_prints_the_scores(trained, tmp_path):
    root, out = tmp_path / "runs", tmp_path / "out"
    shutil.copytree(trained[0], root)
    before = sorted(root.rglob("*"))
    done = program("eval.py", f"runs={root}", f"out={out}")
    assert done.returncode == 0, done.stderr
    assert sorted(root.rglob("*")) == before and (out / "report.html").exists()
    (folder,) = out.glob("*-synthetic")
    means = {row["channel"]: float(row["score"]) for row in rows(folder / "inputs.csv")}
    (line,) = re.findall(r"^resnet20, rgb_noise, cbam_channel +2 (.*)", done.stdout, re.M)
    assert line.split()[:6] == [f"{value:.3f}" for value in means.values()]
    (told,) = rows(folder / "separation.csv")
    auc, gap = (float(told[name]) for name in ("noise_auc", "score_gap"))
    assert line.split()[6:] == [f"{auc:.3f}", f"{gap:+.3f}".replace("-", "\N{MINUS SIGN}")]
    refused = program("eval.py", f"runs={root}", "out=/proc/here")
    assert "out=/proc/here: /proc cannot be written to; name another folder" in refused.stderr


def test_eval_of_nothing_says_so(tmp_path):
    done = program("eval.py", f"runs={tmp_path}")
    assert done.returncode == 1
    assert f"no finished run in {tmp_path}" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_eval_of_one_checkpoint(trained, tmp_path):
    """A copy of one run folder, alone: accuracy, classes and scores are those of the run."""
    original = folders(trained[0])[0]  # attention at first
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    done = program("eval.py", f"checkpoint={folder}", f"runs={tmp_path}", "device=cpu")
    assert done.returncode == 0, done.stderr
    accuracy = json.loads((folder / "summary.json").read_text())["test_accuracy"]
    assert f"test accuracy {accuracy:.2%}" in done.stdout
    out = tmp_path / "_report" / f"checkpoint-{folder.name}"
    classes = rows(out / "classes.csv")
    assert sum(int(row["images"]) for row in classes) == 2000
    mean = sum(float(row["accuracy"]) for row in classes) / 10  # as many images in each
    assert mean == pytest.approx(100 * accuracy)
    ours = [row["mean"] for row in rows(out / "scores.csv") if row["images"] == "2000"]
    logged = [row["mean"] for row in rows(folder / "scores.csv") if row["images"] == "2000"]
    assert ours == logged
    confusion = rows(out / "confusion.csv")
    for row, counted in zip(confusion, classes, strict=True):
        counts = {key: int(value) for key, value in row.items() if key != "class"}
        right = counts.pop(row["class"])
        assert float(counted["accuracy"]) == pytest.approx(100 * right / int(counted["images"]))
        assert right + sum(counts.values()) == int(counted["images"])
        assert int(counted["so often"]) == max(counts.values())
    for name in ("confusion", "places", "layers", "scores-input", "scores-classes"):
        assert (out / f"{name}.png").stat().st_size > 10_000
    folded = attn.build("backbone=resnet20", "attention=none", "data=rgb_noise").eval()
    folded.load_state_dict(torch.load(out / "folded.pt"))
    with torch.no_grad():
        x, labels = attn.load_run(folder).inputs(torch.arange(2000))
        right = (folded(x).argmax(1) == labels).double().mean().item()
    (frozen, *_) = rows(folder / "frozen.csv")
    assert frozen["module"] == "all" and 100 * right == pytest.approx(
        float(frozen["frozen"]), abs=0.5
    )
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    again = program("eval.py", f"checkpoint={folder}", f"runs={tmp_path}")
    assert again.returncode == 1 and "no whole checkpoint.pt there" in again.stderr


def test_a_checkpoint_is_found_by_its_runs_name_and_near_ones_are_named(trained):
    root, name = trained[0], folders(trained[0])[0].name
    assert find(name, root) == find(str(root / name), Path()) == root / name
    with pytest.raises(RunError, match="no such run folder; did you mean") as error:
        find(name[:-1], root)
    assert str(root / name) in str(error.value)


def test_a_mechanism_that_is_gone_is_named(trained, tmp_path):
    folder = tmp_path / folders(trained[0])[0].name
    shutil.copytree(folders(trained[0])[0], folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("name: cbam_channel", "name: mine"))
    with pytest.raises(RunError, match="the mechanism mine is no longer here"):
        read_run(folder)
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(values | {"attention": "se"}))
    with pytest.raises(RunError, match=r"config\.yaml is damaged \("):
        read_run(folder)


@pytest.mark.slow
def test_eval_of_a_network_without_attention(trained, tmp_path):
    baseline = folders(trained[0])[2]
    done = program("eval.py", f"checkpoint={baseline}", f"runs={tmp_path}", "device=cpu")
    assert done.returncode == 0, done.stderr
    (out,) = (tmp_path / "_report").iterdir()
    assert {f.suffix for f in out.iterdir()} == {".csv", ".md", ".png"}
    assert {f.stem for f in out.iterdir()} == {"classes", "confusion"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "{", "config.yaml is damaged"),
        (lambda text: "nothing", "config.yaml is damaged"),
        (lambda text: text.replace("lr: 0.05", "lr: 0.5"), "is not what this run was trained with"),
    ],
)
def test_a_config_that_was_changed_is_refused(trained, tmp_path, change, message):
    folder = shutil.copytree(folders(trained[0])[0], tmp_path / "run")
    before = (folder / "config.yaml").read_text()
    assert read_run(folder)[1] == 0
    (folder / "config.yaml").write_text(change(before))
    assert change(before) != before
    with pytest.raises(RunError, match=message):
        read_run(folder)


@pytest.mark.slow
def test_eval_looks_into_every_network_once(trained, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(trained[0], root)
    first = folders(root)[0]
    shutil.rmtree(folders(root)[1])
    done = program("eval.py", "checkpoint=all", f"runs={root}", "device=cpu")
    assert done.returncode == 0, done.stderr
    importance = pd.read_csv(first / "importance.csv")
    assert importance["channel"].tolist() == list(range(6)) and importance["images"].eq(2000).all()
    classes = pd.read_csv(first / "classes.csv")
    assert len(classes) == 60 and set(classes["class"]) == set(range(10))
    report = next((root / "_report").glob("*-synthetic"))
    (row,) = rows(report / "meaning.csv")
    assert (row["n"], row["channels"], row["module"]) == ("1", "6", "seams.input")
    drawn = [path.name.split("-")[0] for path in report.glob("*.png")]
    assert {"importance", "classes", "scores"} <= set(drawn)
    (row,) = rows(report / "content.csv")
    assert (row["n"], row["attention"]) == ("1", "cbam_channel")
    before = (first / "classes.csv").stat().st_mtime_ns
    assert program("eval.py", "checkpoint=all", f"runs={root}").returncode == 0
    assert (first / "classes.csv").stat().st_mtime_ns == before


SEEN = Inspection(
    classes=[{"module": "seams.input", "channel": 0, "class": c, "score": 0.5} for c in range(10)],
    importance=[
        {"module": "seams.input", "channel": 0, "score": 0.5, "sd": 1.0, "lost": 2.0, "images": 9}
    ],
    maps={},
)


def test_a_look_from_before_a_file_was_known_is_completed(trained, tmp_path, monkeypatch):
    original = folders(trained[0])[0]  # attention at first
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    for name in ("classes.csv", "importance.csv"):
        (folder / name).write_text("as it was\n")
    monkeypatch.setattr(look, "inspect", lambda *args: pytest.fail("looked at again"))
    inspect_all(tmp_path, CPU)
    assert len(pd.read_csv(folder / "swap.csv")) == 9 * 6
    assert (folder / "classes.csv").read_text() == "as it was\n"
    inspect_all(tmp_path, CPU)
    (folder / "importance.csv").unlink()  # as a person does who is told that it is damaged
    monkeypatch.setattr(look, "inspect", lambda predictor: SEEN)
    inspect_all(tmp_path, CPU)
    assert pd.read_csv(folder / "importance.csv")["lost"].tolist() == [2.0]


@pytest.mark.slow
def test_an_unfinished_run_is_shown_and_its_folder_stays_as_it_is(
    trained, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(folders(trained[0])[0], tmp_path / folders(trained[0])[0].name)
    (folder / "summary.json").unlink()
    before = sorted(folder.iterdir())
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr(look, "inspect", lambda predictor: SEEN)
    report_checkpoint(look_into(folder, CPU, tmp_path / "aside"), tmp_path / "out")
    printed = capsys.readouterr().out
    assert "Points lost without a channel" in printed
    assert "Scores where two input channels are exchanged" in printed
    assert "noise slot holding a colour" in printed and "| B | noise 3 |" in printed
    assert sorted(folder.iterdir()) == before
    assert (
        rows(tmp_path / "out" / f"checkpoint-{folder.name}" / "classes.csv")[0]["images"] == "200"
    )


@needs_cifar10
def test_on_real_cifar10_the_post_goes_through_whole(tmp_path):
    """Every part of the post's own recipe but its length and size."""
    small = ["recipe.size=32", "recipe.epochs=1", "recipe.images=100", "recipe.test_images=50"]
    noisy = ["data=rgb_noise", "location=first"]
    done = program("train.py", *small, *noisy, "device=cpu", f"runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    (folder,) = folders(tmp_path)
    assert json.loads((folder / "summary.json").read_text())["source"] in ("archive", "images")
    done = program("eval.py", f"runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("_report/*/scores-mobilenet_v2*.png"))
