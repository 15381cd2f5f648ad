"""The loop that everybody knows: torchvision's transforms, a DataLoader, eager steps.

Network, weights, recipe and images are train.py's; torch draws the order of images and the noise.
python scripts/naive.py recipe=quick backbone=resnet20 seeds=2     a line of JSON an epoch
"""

import json
import sys
import time

sys.path.insert(1, f"{sys.path[0]}/..")

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import Compose, Normalize, Resize, ToPILImage, ToTensor

from attn.config import cli, sweep
from attn.config.check import check, choose_device, chosen_seeds
from attn.data import load, subset
from attn.data.inputs import MEAN, SD
from attn.evaluation.predict import fixed_test_order
from attn.network.build import build
from attn.training.schedule import learning_rates


class CIFAR10(torch.utils.data.Dataset):
    def __init__(self, cfg, data, split):
        self.images, self.labels = data.images[split], data.labels[split]
        self.noise, size = cfg.data.noise.channels, cfg.recipe.size
        self.transform = Compose([ToPILImage(), Resize(size), ToTensor(), Normalize(MEAN, SD)])

    def __getitem__(self, i):
        x = self.transform(self.images[i])
        noise = (torch.rand(self.noise, *x.shape[1:]) - 0.5) * 12**0.5
        return torch.cat([x, noise]), self.labels[i]


def loader(cfg, data, split, images, batch_size, **options):
    labels = data.labels[split]
    few = subset(labels, images) if split == "train" else fixed_test_order(len(labels))[:images]
    chosen = Subset(CIFAR10(cfg, data, split), few.tolist())
    return DataLoader(chosen, batch_size, shuffle=split == "train", **options)


def update(network, optimizer, x, y):
    loss = cross_entropy(network.train()(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@torch.no_grad()
def accuracy(network, batches, device):
    network.eval()
    hits = [(network(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in batches]
    return sum(hits) / len(batches.dataset)


def fit(cfg, data, seed, device):
    recipe, network = cfg.recipe, build(cfg, seed).to(device)
    batches = loader(cfg, data, "train", recipe.images, recipe.batch_size, num_workers=2)
    sgd = torch.optim.SGD(network.parameters(), recipe.lr, recipe.momentum, 0, recipe.weight_decay)
    rates = iter(learning_rates(recipe, recipe.epochs * len(batches)).tolist())
    for epoch in range(recipe.epochs):
        began, losses = time.time(), []
        for x, y in batches:
            sgd.param_groups[0]["lr"] = next(rates)
            losses.append(update(network, sgd, x.to(device), y.to(device)).item())
        row = {"images": len(batches.dataset), "loss": sum(losses) / len(losses)}
        row["train_seconds"] = time.time() - began
        tested = None if epoch + 1 == recipe.epochs else recipe.test_images
        test = loader(cfg, data, "test", tested, 250, num_workers=2)
        row["test_accuracy"] = accuracy(network, test, device)
        print(json.dumps({"seed": seed, **row, "seconds": time.time() - began}), flush=True)


if __name__ == "__main__":
    with cli.stoppable():
        cfg = sweep.plain(sys.argv[1:], __doc__)
        for seed in chosen_seeds(cfg):
            fit(check(cfg), load(cfg.data.source, cfg.data.root), seed, choose_device(cfg))
