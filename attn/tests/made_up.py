"""Run folders as training leaves them, with the results that a test asks for."""

import json

import numpy as np
import pandas as pd

from attn.config.catalogue import choices, recipe, recipe_key
from attn.config.schema import Recipe
from attn.evidence.collect import collect

BACKBONE = "mobilenet_v2"
KEYS = {name: recipe_key(Recipe(**recipe(name, BACKBONE)), BACKBONE) for name in choices("recipe")}
SCORES = (0.98, 0.96, 0.91, 0.01, 0.005, 0.006)  # of R, G, B and three noise channels
ATTENDED = {"attention": "cbam_channel", "location": "first", "configuration": "c1"}
SPREAD = (0.0, 0.002, -0.001, 0.003, -0.002, 0.001, 0.0, -0.003, 0.002, -0.001)


def run(root, seed, accuracy, scores=None, norms=None, **changes):
    """A finished run folder of the post's noisy baseline, or of what the changes say.

    scores: of each input channel, at the end; untrained they are 0.5. norms: of its first filters.
    """
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
        "images_per_second": 500.0,
        "device": "cpu",
        "precision": "fp32",
        "source": "archive",
        "fingerprint": "f" * 64,
        "numerics": 1,
        "commit": "a" * 40,
        "dirty": False,
        "configuration": "c0",
        "recipe_key": KEYS.get(changes.get("recipe", "post"), "other"),
    } | changes
    keys = ("configuration", "source", "recipe_key", "numerics", "fingerprint", "data", "seed")
    name = "-".join(str(summary[k])[:9] for k in keys)
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    (folder / "summary.json").write_text(json.dumps({"run": name, **summary}))
    metrics = {"epoch": [0, 1], "test_accuracy": [accuracy / 2, accuracy], "train_loss": [2.0, 1.5]}
    pd.DataFrame(metrics).assign(test_images=10_000).to_csv(folder / "metrics.csv", index=False)
    if summary["attention"] != "none":
        (folder / "scores.csv").write_text("module,channel,epoch,images,mean,sd,saturated\n")
    if norms is not None:
        stem = {"channel": range(len(norms)), "norm": norms}
        pd.DataFrame(stem).to_csv(folder / "stem.csv", index=False)
    if scores is not None:
        rows = [
            {"module": "seams.input", "channel": c, "epoch": epoch, "images": images, "mean": mean}
            for epoch, images in ((-1, 250), (0, 10_000), (1, 64), (1, 10_000))
            for c, score in enumerate(scores)
            for mean in [score if epoch == 1 else 0.5]
        ]
        frame = pd.DataFrame(rows).assign(sd=0.05, saturated=0.0)
        frame.to_csv(folder / "scores.csv", index=False)
        example = np.zeros((len(scores), 8, 8), np.uint8)
        np.savez(folder / "predictions.npz", example=example)
    return folder


def group_of(root):
    """The only group of the runs there."""
    (group,) = collect(root).groups
    return group


def pair_up(root, gain, seeds=10, attended_seeds=None, **changes):
    """The noisy baseline, and attention at first that gains so much; a shared spread over seeds."""
    for seed in range(seeds):
        run(root, seed, 0.83 + SPREAD[seed], **changes)
    for seed in range(seeds if attended_seeds is None else attended_seeds):
        accuracy = 0.83 + gain + SPREAD[seed] + 0.0004 * (seed % 3 - 1)
        run(root, seed, accuracy, scores=SCORES, **ATTENDED | changes)


def made_up_runs(root):
    """Two groups: three seeds of the post's noisy rows, and of synthetic data."""
    for seed in range(3):
        run(root, seed, 0.83 + 0.001 * seed)
        run(root, seed, 0.84 + 0.002 * seed, scores=SCORES, **ATTENDED)
        synthetic = {"recipe": "quick", "source": "synthetic"}
        run(root, seed, 0.82, **synthetic)
        run(root, seed, 0.82, **ATTENDED | synthetic | {"configuration": "c4"})
