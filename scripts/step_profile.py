"""Profiles one training step, in the naive loop and in ours.

python scripts/step_profile.py [words of train.py]     -> results/bench/<machine>/profile.md

On a GPU the profile has the kernels, their time, the ten longest, and the gaps between them. On a
CPU it has the same of operators, on one thread. Beside it stands the least time that an H200's
memory traffic allows: 7.2 s a run of the post's recipe, 0.23 ms a step, with everything fused, at
4.3 TB/s. That figure is an estimate.
"""

import sys
import time
from functools import partial

sys.path.insert(1, f"{sys.path[0]}/..")

import pandas as pd
import torch
from bench import ROOT, WORDS, machine_name
from naive import loader, update
from torch.profiler import ProfilerActivity, profile

from attn.compute.precision import is_compiled, set_backends
from attn.config import cli, sweep
from attn.config.check import check, choose_device
from attn.data import load, subset
from attn.draws import Draws
from attn.evaluation.predict import split_inputs
from attn.formats import markdown
from attn.network.build import build, outline
from attn.runs import files
from attn.training.trainer import Trainer

STEPS = 10
FLOOR = 0.23  # ms


def naive_step(cfg, data, device):
    """Returns a function that takes one step of scripts/naive.py, its workers included."""
    network = build(cfg, 0).to(device)
    optimizer = torch.optim.SGD(network.parameters(), cfg.recipe.lr, cfg.recipe.momentum)
    batches = iter(
        loader(cfg, data, "train", cfg.recipe.images, cfg.recipe.batch_size, num_workers=2)
    )

    def step():
        x, y = next(batches)
        update(network, optimizer, x.to(device), y.to(device)).item()

    return step


def our_step(cfg, data, device, compiled=False):
    set_backends(cfg.recipe.precision, cfg.strict)
    draws, samples = Draws(0), subset(data.labels["train"], cfg.recipe.images)
    inputs = split_inputs(cfg, data, "train", device)
    trainer = Trainer(build(cfg, 0, draws), inputs, samples, cfg.recipe, draws, compiled)
    for note in trainer.notes:
        print(note)
    trainer.begin(0)
    return lambda: trainer.advance(0)


def measure(step, device) -> tuple[float, pd.DataFrame]:
    """Returns (milliseconds a step without the profiler, a row for each kernel or operator)."""

    def several():
        for _ in range(STEPS):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    several()
    began = time.perf_counter()
    several()
    wall = (time.perf_counter() - began) / STEPS * 1e3
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as profiled:
        several()
    spent = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = [
        {"name": e.key[:90], "calls": e.count / STEPS, "ms": getattr(e, spent) / STEPS / 1e3}
        for e in profiled.key_averages()
    ]
    frame = pd.DataFrame(rows, columns=["name", "calls", "ms"])
    return wall, frame[frame["ms"] > 0].sort_values("ms", ascending=False)


def describe(name: str, wall: float, frame: pd.DataFrame, what: str) -> str:
    if frame.empty:  # a driver may keep its counters from who is not its administrator
        return f"#### {name}\n\n{wall:.2f} ms a step; the profiler saw no {what} here.\n"
    busy = frame["ms"].sum()
    return (
        f"#### {name}\n\n{wall:.2f} ms a step: {frame['calls'].sum():.0f} {what} in {busy:.2f} ms, "
        f"{max(0.0, wall - busy):.2f} ms between them.\n\n{markdown(frame.head(10))}"
    )


def main():
    words = sys.argv[1:]
    device = choose_device(sweep.single(words, __doc__))
    words = WORDS[device.type] + words
    asked = sweep.composed(words)
    cfg = check(asked)
    data = load(cfg.data.source, cfg.data.root)
    torch.set_num_threads(1)
    what = "kernels" if device.type == "cuda" else "operators"
    parts = [f"### One step of {cfg.recipe.batch_size} images: `{' '.join(words)}`\n"]
    ways = {"naive": naive_step, "ours": our_step}
    images = len(subset(data.labels["train"], cfg.recipe.images))
    if images < (least := 3 * STEPS * cfg.recipe.batch_size):
        raise SystemExit(f"recipe.images={cfg.recipe.images}: the profile takes {least:,} images")
    if is_compiled(asked.compile, device, cfg, images, outline(cfg)):
        ways["ours, compiled"] = partial(our_step, compiled=True)
    for name, make in ways.items():
        wall, frame = measure(make(cfg, data, device), device)
        parts.append(describe(name, wall, frame, what))
    if device.type == "cuda":
        parts.append(
            f"An H200's memory allows {FLOOR} ms a step of the post's recipe at best (estimated): "
            f"ours alone takes {wall / FLOOR:.1f} times that, and several seeds together share it."
        )
    out = ROOT / "results" / "bench" / machine_name(device)
    out.mkdir(parents=True, exist_ok=True)
    files.write(out / "profile.md", "\n".join(parts) + "\n")
    print("\n".join(parts))


if __name__ == "__main__":
    with cli.stoppable():
        main()
