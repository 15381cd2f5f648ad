"""Published rows that are honest pass; rows that were tampered with are found, as far as can be."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from attn.evidence.collect import collect
from attn.evidence.group import Group, named
from attn.evidence.verify import NEAR, OTHER, SAME, UNKNOWN, compared, inconsistent
from attn.tests.conftest import ROOT, TINY, program
from attn.tests.made_up import SPREAD, run

LABELS = np.arange(10_000) // 1000


@pytest.fixture
def honest(tmp_path):
    """Twenty rows of two configurations, as training leaves them."""
    root = tmp_path / "runs"
    for seed in range(10):
        for gain, words in ((0, {}), (0.01, {"location": "last", "attention": "se"})):
            accuracy = round(0.8 + gain + SPREAD[seed], 4)
            key = words.get("attention", "none")
            folder = run(root, seed, accuracy, data="rgb", configuration=key, **words)
            taken = LABELS.copy()
            wrong = np.random.default_rng(seed + 100 * len(words)).permutation(10_000)
            taken[wrong[: round((1 - accuracy) * 10_000)]] += 1
            np.savez(folder / "predictions.npz", logits=np.eye(10)[taken % 10])
            summary = folder / "summary.json"
            summary.write_text(summary.read_text().replace(folder.name, name(key, seed)))
            folder.rename(root / name(key, seed))
    (group,) = named(collect(root).groups)
    group.write(tmp_path / "published")
    return Group.read(tmp_path / "published")


def name(key, seed):
    return f"mobilenet_v2-{key}-s{seed}-{key}"


def test_twenty_honest_rows_pass(honest):
    assert len(honest.runs) == 20 and len(honest.predictions) == 20
    assert inconsistent(honest) == {}
    assert {compared(honest, run, honest)[0] for run in honest.runs["run"]} == {SAME}


def raised(group, run):
    group.runs.loc[group.runs["run"] == run, "test_accuracy"] += 0.015


def raised_everywhere(group, run):
    """Also in the last epoch, and with as many more right predictions: made up with care."""
    raised(group, run)
    group.epochs.loc[group.epochs["run"] == run, "test_accuracy"] += 0.015
    taken = group.predictions[run]
    wrong = np.flatnonzero(taken != LABELS)[:150]
    taken[wrong] = LABELS[wrong]


def logs_of_another(group, run):
    other = group.runs["run"][group.runs["run"] != run].iloc[0]
    rows = group.epochs[group.epochs["run"] == other].assign(run=run)
    group.epochs = pd.concat([group.epochs[group.epochs["run"] != run], rows])


def predictions_of_another(group, run):
    other = group.runs["run"][group.runs["run"] != run].iloc[0]
    group.predictions[run] = group.predictions[other]


def seed_renamed(group, run):
    group.runs.loc[group.runs["run"] == run, "seed"] += 100


def seed_renamed_everywhere(group, run):
    new = re.sub(r"-s(?=\d)", "-s1", run)
    for frame in (group.runs, group.epochs):
        frame.loc[frame["run"] == run, "run"] = new
    group.runs.loc[group.runs["run"] == new, "seed"] += 10
    group.predictions[new] = group.predictions.pop(run)
    return new


def cheaper(group, run):
    group.runs.loc[group.runs["run"] == run, "parameters"] -= 1


BY_FILES = (raised, logs_of_another, predictions_of_another, seed_renamed, cheaper)


@pytest.mark.parametrize("row", [0, 7, 13, 19])
@pytest.mark.parametrize("tamper", BY_FILES)
def test_twenty_rows_that_were_tampered_with_are_found_by_their_files(honest, tamper, row):
    run = honest.runs["run"].iloc[row]
    tamper(honest, run)
    found = inconsistent(honest)
    assert run in found and all(found[run])
    assert len(found) <= 2  # and whose predictions it has


@pytest.mark.parametrize("row", [0, 19])
def test_what_was_made_up_with_care_is_found_by_training_again(honest, tmp_path, row):
    again, run = Group.read(tmp_path / "published"), honest.runs["run"].iloc[row]
    raised_everywhere(honest, run)
    assert inconsistent(honest) == {}
    verdict, reason = compared(honest, run, again)
    assert verdict == OTHER and reason == "other test accuracy and predictions and accuracy"


def test_another_environment_has_an_interval(honest, tmp_path):
    again = Group.read(tmp_path / "published")
    again.runs["environment"] = "another machine"
    runs = honest.runs["run"]
    assert {compared(honest, run, again)[0] for run in runs} == {NEAR}
    again.runs["test_accuracy"] += 0.004  # two sds of these seeds: 0.19 points each
    verdict, reason = compared(honest, runs.iloc[0], again)
    assert verdict == NEAR and reason.startswith("+0.40 points of 0.5")
    again.runs["test_accuracy"] += 0.003  # outside of one comparison's interval, not of twenty's
    assert compared(honest, runs.iloc[0], again)[0] == OTHER
    assert compared(honest, runs.iloc[0], again, count=20)[0] == NEAR
    again.runs["test_accuracy"] -= 0.003
    raised_everywhere(honest, runs.iloc[0])
    verdict, reason = compared(honest, runs.iloc[0], again)
    assert verdict == OTHER and "-1.10 points of" in reason
    single = honest.without(set(runs.iloc[1:]))
    assert compared(single, runs.iloc[0], again)[0] == UNKNOWN


def test_words_that_train_another_run_are_found(honest, tmp_path):
    run = honest.runs["run"].iloc[0]
    new = seed_renamed_everywhere(honest, run)
    assert inconsistent(honest) == {}
    again = Group.read(tmp_path / "published").without({run})
    verdict, reason = compared(honest, new, again)
    assert verdict == OTHER and "which is another run" in reason


def verify(*words):
    command = [sys.executable, "scripts/verify.py", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
def test_the_script_trains_published_runs_again(tmp_path):
    """Real runs: the same bits; then with a row whose accuracy was raised, and other words."""
    words = [*TINY, "attention=se", "location=last", "seeds=2", f"runs={tmp_path / 'runs'}"]
    assert program("train.py", *words).returncode == 0
    out = tmp_path / "results"
    published = program("eval.py", f"runs={tmp_path / 'runs'}", "publish=true", f"out={out}")
    assert published.returncode == 0, published.stderr
    asked = ["--results", out, "--runs", tmp_path / "again", "--train", 2]
    done = verify(*asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 published runs: files agree" in done.stdout
    assert done.stdout.count(": the same bits") == 2
    (path,) = out.glob("*/runs.csv")
    frame = pd.read_csv(path, dtype=str)
    changed = frame.assign(test_accuracy=frame["test_accuracy"].astype(float) + 0.015)
    changed.to_csv(path, index=False)
    done = verify(*asked)  # the runs that were trained again are there still
    assert done.returncode == 1 and "files do NOT agree" in done.stdout
    assert done.stdout.count("NOT THE SAME  other accuracy") == 2
    frame.assign(attention="cbam").to_csv(path, index=False)
    done = verify("--results", out)
    assert done.returncode == 1 and "its words are those of configuration" in done.stdout


def test_nothing_published_is_said(tmp_path):
    done = verify("--results", tmp_path)
    assert done.returncode == 1 and "no folder with a runs.csv there" in done.stderr
