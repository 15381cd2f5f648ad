"""The naive loop, tuned: workers, bf16, channels_last, torch.compile, and no loss read in an epoch.

python scripts/strong.py recipe=quick backbone=resnet20 seeds=2     a line of JSON an epoch
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from naive import accuracy, loader

from attn.compute.kernels.library import without_kernels
from attn.compute.precision import autocast, computed_in
from attn.config import cli, sweep
from attn.config.check import check, choose_device, chosen_seeds
from attn.data import load
from attn.network.build import build
from attn.training.schedule import learning_rates


def fit(cfg, data, seed, device):
    recipe, epochs = cfg.recipe, cfg.recipe.epochs
    options = {"num_workers": max(2, len(os.sched_getaffinity(0)) - 2), "persistent_workers": True}
    options["pin_memory"] = device.type == "cuda"
    batches = loader(cfg, data, "train", recipe.images, recipe.batch_size, **options)
    torch.backends.cudnn.benchmark = True
    network = build(cfg, seed).to(device, memory_format=torch.channels_last)
    forward = torch.compile(network)
    with without_kernels():  # which this loop does not have
        precision, _ = computed_in(network, device, "bf16")
    numbers = recipe.lr, recipe.momentum, 0, recipe.weight_decay
    optimizer = torch.optim.SGD(network.parameters(), *numbers, fused=True)
    rates = iter(learning_rates(recipe, epochs * len(batches)).tolist())
    for epoch in range(epochs):
        began, total = time.time(), torch.zeros((), device=device)
        network.train()
        for x, y in batches:
            optimizer.param_groups[0]["lr"] = next(rates)
            x = x.to(device, non_blocking=True, memory_format=torch.channels_last)
            with autocast(device, precision):
                whole = len(x) == recipe.batch_size  # a smaller last one is not compiled for
                logits = forward(x) if whole else network(x)
                loss = F.cross_entropy(logits, y.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        row = {"images": len(batches.dataset), "loss": total.item() / len(batches)}
        row |= {"train_seconds": time.time() - began, "precision": precision}
        tested = None if epoch + 1 == epochs else recipe.test_images
        with autocast(device, precision):
            test = loader(cfg, data, "test", tested, 250, num_workers=options["num_workers"])
            row["test_accuracy"] = accuracy(network, test, device)
        print(json.dumps({"seed": seed, **row, "seconds": time.time() - began}), flush=True)


if __name__ == "__main__":
    with cli.stoppable():
        cfg = sweep.plain(sys.argv[1:], __doc__)
        data = load(cfg.data.source, cfg.data.root)
        for seed in chosen_seeds(cfg):
            fit(check(cfg), data, seed, choose_device(cfg))
