"""Times a step in both memory formats, which settles attn.compute.precision.MEMORY_FORMAT.

python scripts/memory_format.py [words of train.py]
    -> results/bench/<machine>/formats.csv and formats.md

On a CPU the step runs on one thread, on a GPU it is captured. The images are drawn at random, as
speed does not depend on them.
"""

import itertools
import sys
import time

sys.path.insert(1, f"{sys.path[0]}/..")

import pandas as pd
import torch
from bench import ROOT, machine_name

from attn.compute.precision import set_backends
from attn.config import cli, sweep
from attn.config.check import check, choose_device
from attn.data import load, subset
from attn.data.inputs import Inputs
from attn.draws import Draws
from attn.formats import markdown
from attn.network.build import build
from attn.runs import files
from attn.training.trainer import Trainer, run_epoch

NETWORKS = ("mobilenet_v2", "resnet18", "resnet20")
FORMATS = (torch.contiguous_format, torch.channels_last)
STEPS = 6


def milliseconds(cfg, data, device, form) -> float:
    """Returns the median milliseconds of STEPS steps, after an epoch that is not timed."""
    set_backends(cfg.recipe.precision, cfg.strict)
    draws, samples = Draws(0), subset(data.labels["train"], cfg.recipe.images)
    images, labels = data.images["train"][samples], data.labels["train"][samples]
    inputs = Inputs(images, labels, cfg.recipe.size, cfg.data.noise, device, form)
    order = torch.arange(len(samples))
    trainer = Trainer(build(cfg, 0, draws), inputs, order, cfg.recipe, draws)
    trainer.precision = cfg.recipe.precision  # to see what it would cost, too
    trainer.begin(0)
    run_epoch([trainer])  # allocates, chooses algorithms
    times = []
    for step in range(STEPS):
        if step % trainer.steps == 0:  # 200 images are few batches of a large size
            trainer.begin(0)
        began = time.perf_counter()
        trainer.advance(step % trainer.steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return sorted(times)[STEPS // 2] * 1e3


def main():
    torch.set_num_threads(1)
    sweep.single(sys.argv[1:], __doc__)
    for word in sys.argv[1:]:
        if word.startswith(("backbone=", "recipe.size=", "recipe.precision=")):
            raise SystemExit(f"{word}: every backbone, size and precision is timed; leave it out")
    data, rows = load("synthetic"), []
    for backbone, size, precision in itertools.product(NETWORKS, (32, 112), ("fp32", "bf16")):
        words = [f"backbone={backbone}", f"recipe.size={size}", f"recipe.precision={precision}"]
        cfg = sweep.composed([*words, "location=none", "recipe.images=200", *sys.argv[1:]])
        device, cfg = choose_device(cfg), check(cfg)
        took = {str(f).removeprefix("torch."): milliseconds(cfg, data, device, f) for f in FORMATS}
        row = {"backbone": backbone, "size": size, "precision": precision}
        rows.append({**row, **{f: round(ms, 2) for f, ms in took.items()}})
        print(rows[-1], flush=True)
    write(pd.DataFrame(rows), ROOT / "results" / "bench" / machine_name(device), cfg)


def write(frame, out, cfg):
    out.mkdir(parents=True, exist_ok=True)
    files.write_csv(out / "formats.csv", frame)
    title = f"### Milliseconds a step of {cfg.recipe.batch_size} images: {out.name}"
    files.write(out / "formats.md", f"{title}\n\n{markdown(frame)}")


if __name__ == "__main__":
    with cli.stoppable():
        main()
