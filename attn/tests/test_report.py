"""Tables and groups from a few made-up runs."""

import json

import numpy as np
import pandas as pd
import pytest

from attn.report import score_figures, tables
from attn.report.collect import collect, groups

NOISE = tables.definitions()["noise"]


def run(root, seed, accuracy, **changes):
    """A finished run folder of the post's noisy baseline, or of what the changes say."""
    summary = {
        "backbone": "mobilenet_v2",
        "attention": "none",
        "location": "none",
        "stages": "all",
        "data": "rgb_noise",
        "recipe": "post",
        "seed": seed,
        "test_accuracy": accuracy,
        "parameters": 1000,
        "multiply_adds": 5000,
        "train_seconds": 60.0,
        "source": "archive",
        "fingerprint": "f" * 64,
        "numerics": 1,
        "configuration": "c0",
        "recipe_key": "r0",
    } | changes
    name = "-".join(str(summary[k]) for k in ("configuration", "source", "recipe_key", "seed"))
    folder = root / name
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    (folder / "summary.json").write_text(json.dumps({"run": name, **summary}))
    metrics = pd.DataFrame({"epoch": [0], "test_accuracy": [accuracy], "test_images": [10_000]})
    metrics["train_loss"] = 1.5
    metrics.to_csv(folder / "metrics.csv", index=False)
    return folder


def one_group(root):
    (group,) = groups(collect(root))
    return group


def test_a_table_has_n_mean_sd_every_seed_and_what_was_published(tmp_path):
    run(tmp_path, 0, 0.8301)
    run(tmp_path, 1, 0.8402)
    first = {"attention": "cbam_channel", "location": "first", "configuration": "c1"}
    run(tmp_path, 0, 0.8507, **first)
    frame = tables.table(one_group(tmp_path), NOISE).set_index("model")
    noisy = frame.loc["RGB + 3 noise channels"]
    assert (noisy["n"], noisy["published"]) == (2, 83.73)
    assert noisy["mean"] == pytest.approx(83.515) and noisy["sd"] == pytest.approx(0.714178)
    assert noisy["seeds"] == "0: 83.01  1: 84.02"
    attended = frame.loc["RGB + 3 noise channels + attention at first"]
    assert (attended["n"], attended["published"]) == (1, 84.34) and pd.isna(attended["sd"])
    assert frame.loc["RGB baseline", "seeds"] == "not run"
    assert pd.isna(frame.loc["RGB + attention at first (our control)", "published"])


ELSE = [
    {"recipe": "quick"},
    {"recipe": "post+lr=0.1"},
    {"backbone": "resnet20"},
    {"source": "synthetic"},
]


@pytest.mark.parametrize("changes", ELSE)
def test_what_is_not_the_posts_experiment_has_no_published_column(tmp_path, changes):
    run(tmp_path, 0, 0.5, **changes)
    group = one_group(tmp_path)
    assert "published" not in tables.table(group, NOISE).columns
    if "backbone" not in changes:
        assert "not of the post's" in tables.caption(group, "the command")


@pytest.mark.parametrize("key", ["source", "fingerprint", "numerics", "recipe_key"])
def test_runs_that_cannot_be_compared_are_in_groups_of_their_own(tmp_path, key):
    other = {"source": "images", "fingerprint": "e" * 64, "numerics": 2, "recipe_key": "r1"}[key]
    run(tmp_path, 0, 0.5)
    run(tmp_path, 1, 0.6)
    run(tmp_path, 2, 0.7, **{key: other}, configuration="c2")
    large, small = groups(collect(tmp_path))
    assert (large.name, len(large.runs), len(small.runs)) == ("post", 2, 1)
    assert small.name.startswith("post-")


def test_an_edited_yaml_makes_a_row_of_its_own(tmp_path):
    run(tmp_path, 0, 0.5)
    run(tmp_path, 0, 0.6, configuration="c9")
    models = tables.table(one_group(tmp_path), NOISE)["model"].tolist()
    assert models[1:3] == ["RGB + 3 noise channels [c0]", "RGB + 3 noise channels [c9]"]


@pytest.mark.parametrize(("source", "published"), [("archive", True), ("synthetic", False)])
def test_the_score_figure_has_every_seed_and_the_posts_scores(
    tmp_path, monkeypatch, source, published
):
    changes = {"attention": "cbam_channel", "location": "first", "source": source}
    for seed in (0, 1):
        folder = run(tmp_path, seed, 0.8, **changes)
        np.savez(folder / "predictions.npz", example=np.zeros((6, 8, 8), np.uint8))
        scores = [
            {
                "module": "seams.input",
                "channel": c,
                "epoch": 0,
                "images": n,
                "mean": 0.1 * c,
                "sd": 0.05,
            }
            for n in (64, 1000, 10_000)
            for c in range(6)
        ]
        pd.DataFrame(scores).to_csv(folder / "scores.csv", index=False)
    drawn = []
    monkeypatch.setattr(score_figures, "finish", lambda figure, *rest: drawn.append(figure))
    assert len(score_figures.of_group(one_group(tmp_path), tmp_path)) == 1
    below = drawn[0].axes[-1]
    labels = below.get_legend_handles_labels()[1]
    assert ("the post's" in labels) == published
    assert len(below.containers) == 4  # two seeds, over 64 images and over all
    titles = [axes.get_title() for axes in drawn[0].axes[:6]]
    assert titles[0] == "R\n0.000" and titles[5] == "noise 3\n0.500"


def test_gate_health_is_what_the_scores_say(tmp_path):
    """Two places of two channels; untrained, then the last of two epochs, on all images."""
    folder = run(tmp_path, 0, 0.8, attention="se", location="per_block")
    rows = [
        {"module": f"layer{place}.se", "channel": c, "epoch": epoch, "images": n, "mean": mean}
        for place in (1, 2)
        for c in (0, 1)
        for epoch, n, mean in (
            (-1, 250, 0.5),
            (0, 1000, 0.6),
            (1, 64, 0.9),
            (1, 10_000, 0.2 * place),
        )
    ]
    frame = pd.DataFrame(rows).assign(sd=0.1, saturated=0.25)
    frame.to_csv(folder / "scores.csv", index=False)
    (row,) = tables.gates(one_group(tmp_path)).to_dict("records")
    assert (row["attention"], row["score"], row["first"]) == ("se", "gate", 0.5)
    assert row["last"] == pytest.approx(0.3)
    assert row["moved"] == pytest.approx(0.2)  # by 0.3 at one place, by 0.1 at the other
    assert (row["spread"], row["saturated"], row["loss at last"]) == (0.1, 0.25, 1.5)


def test_synthetic_is_never_without_its_name(tmp_path):
    run(tmp_path, 0, 0.5, source="synthetic")
    group = one_group(tmp_path)
    assert group.name == "post-synthetic" and "SYNTHETIC" in group.title


def test_markdown_leaves_empty_what_is_not_there():
    frame = pd.DataFrame({"a": [1.0, None], "n": [12345, 1], "b": ["x", None]})
    assert tables.markdown(frame).splitlines()[2:] == ["| 1.00 | 12,345 | x |", "|  | 1 |  |"]
