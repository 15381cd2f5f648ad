"""Times steps of several seeds as streams, and stacked in one network.

python scripts/stacked.py [words of train.py]     -> results/bench/<machine>/stacked.md

As streams each seed has a network of its own, as train.py has it. Stacked, torch.func.vmap computes
all seeds at once: a convolution becomes one grouped convolution of all seeds' channels. On a GPU
both are captured and neither is compiled; on a CPU both run on one thread. Stacked seeds share one
dropout mask, keep their learning rate, and count no hits, which costs them a little less. So this
measurement decides whether stacking is worth building; it is no way to train.
"""

import sys
import time

sys.path.insert(1, f"{sys.path[0]}/..")

import pandas as pd
import torch
from bench import ROOT, WORDS, machine_name
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from attn.compute.graph import capture, in_turn, may_capture
from attn.compute.precision import autocast, computed_in, set_backends
from attn.config import cli, sweep
from attn.config.check import check, choose_device
from attn.data import load, subset
from attn.draws import ORDER, Draws, permutation
from attn.evaluation.predict import split_inputs
from attn.formats import markdown
from attn.network.build import build
from attn.runs import files
from attn.training.trainer import Trainer

SEEDS = (1, 2, 5, 10)
STEPS = {"cuda": 200, "cpu": 3}


class Stacked:
    """Networks of several seeds (S) in training, stacked in one."""

    def __init__(self, cfg, inputs, samples, seeds: int):
        device = inputs.images.device
        self.inputs, self.batch_size = inputs, cfg.recipe.batch_size
        self.draws = [Draws(seed) for seed in range(seeds)]
        networks = [build(cfg, draws.seed, draws) for draws in self.draws]
        networks = [n.to(device, memory_format=inputs.memory_format) for n in networks]
        for network in networks:
            network.train()
            for name, _ in list(network.named_buffers()):
                if name.endswith("num_batches_tracked"):  # as in the trainer: a kernel each
                    network.get_submodule(name.rpartition(".")[0]).num_batches_tracked = None
        self.network = networks[0]
        self.precision, _ = computed_in(self.network, device, cfg.recipe.precision)
        self.parameters, self.buffers = stack_module_state(networks)  # each (S, ...)
        self.optimizer = torch.optim.SGD(
            self.parameters.values(),
            lr=cfg.recipe.lr,
            momentum=cfg.recipe.momentum,
            weight_decay=cfg.recipe.weight_decay,
            fused=True,
        )
        self.orders = [permutation(d.seed, 0, samples.to(device), ORDER) for d in self.draws]
        self.window = torch.arange(self.batch_size, device=device)
        self.start = torch.zeros(1, dtype=torch.int64, device=device)
        self.loss = torch.zeros(seeds, device=device)  # of the last step

    def _batch(self, order, draws):
        samples = order.index_select(0, self.start + self.window)  # (B,)
        draws.at(0, samples)
        return self.inputs(samples, draws)

    def _losses(self, parameters, buffers, x, labels):
        """Returns one seed's loss; vmap makes it that of all seeds, (S,)."""
        logits = functional_call(self.network, (parameters, buffers), (x,))  # (B, classes)
        return functional.cross_entropy(logits.float(), labels)

    def step(self, size: int):
        batches = zip(*map(self._batch, self.orders, self.draws), strict=True)
        x, labels = (torch.stack(part) for part in batches)  # (S, B, C, H, W), (S, B)
        with autocast(x.device, self.precision):
            losses = vmap(self._losses)(self.parameters, self.buffers, x, labels)  # (S,)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self.loss.copy_(losses.detach())
        self.start += size

    def state(self) -> list:
        return [*self.parameters.values(), *self.buffers.values(), self.start, self.loss]


def stacked_step(cfg, inputs, samples, seeds: int):
    """Returns a function that takes one step of stacked seeds, captured on a GPU."""
    stacked = Stacked(cfg, inputs, samples, seeds)
    size = stacked.batch_size
    if not may_capture(samples.device):
        return lambda: stacked.step(size)
    stream = torch.cuda.Stream()
    with in_turn(stream):  # gradients' accumulators keep the stream of their first step
        stacked.step(size)  # makes the momenta
    return capture(stacked.step, [size], stacked.state(), stream)[size].replay


def streams_step(cfg, inputs, samples, seeds: int):
    """Returns a function that takes one step of each seed, as train.py would."""
    trainers = []
    for draws in map(Draws, range(seeds)):
        network = build(cfg, draws.seed, draws)
        trainers.append(Trainer(network, inputs, samples, cfg.recipe, draws))
        trainers[-1].begin(0)
    return lambda: [trainer.advance(0) for trainer in trainers]


def milliseconds(step, device) -> float:
    """Returns the milliseconds of a step, after as many steps that are not timed."""
    for _ in range(2):
        began = time.perf_counter()
        for _ in range(STEPS[device.type]):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS[device.type] * 1e3


def main():
    device = choose_device(sweep.single(sys.argv[1:], __doc__))
    words = WORDS[device.type] + sys.argv[1:]
    cfg = check(sweep.composed(words))
    data = load(cfg.data.source, cfg.data.root)
    samples = subset(data.labels["train"], cfg.recipe.images)
    least = (2 * STEPS[device.type] + 4) * cfg.recipe.batch_size
    if len(samples) < least:
        raise SystemExit(f"recipe.images={cfg.recipe.images}: the measurement takes {least:,}")
    torch.set_num_threads(1)
    set_backends(cfg.recipe.precision, cfg.strict)
    inputs, samples = split_inputs(cfg, data, "train", device), samples.to(device)
    out = ROOT / "results" / "bench" / machine_name(device)
    out.mkdir(parents=True, exist_ok=True)
    title = f"### Milliseconds of a step of {cfg.recipe.batch_size} images of each seed"
    rows = []
    for seeds in SEEDS:
        took = {
            way: round(milliseconds(make(cfg, inputs, samples, seeds), device), 2)
            for way, make in {"streams": streams_step, "stacked": stacked_step}.items()
        }
        rows.append({"seeds": seeds, **took})
        print(rows[-1], flush=True)
        table = markdown(pd.DataFrame(rows))  # at once: the time may be up before the next row
        files.write(out / "stacked.md", f"{title}: `{' '.join(words)}`\n\n{table}")


if __name__ == "__main__":
    with cli.stoppable():
        main()
