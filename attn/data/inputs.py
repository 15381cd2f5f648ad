"""Batches as a network takes them: gathered, normalised and joined with noise, on the device."""

import torch

from attn.data.resize import resize
from attn.draws import FIXED_SEED, NOISE, Draws

# Of CIFAR-10's training images; noise is uniform in [0, 1).
MEAN = (0.4914, 0.4822, 0.4465)
SD = (0.2470, 0.2435, 0.2616)
NOISE_MEAN, NOISE_SD = 0.5, 12**-0.5


class Inputs:
    """One split on a device: resized once, kept as uint8, each channel normalised by mean and sd.

    Noise is drawn at the input's size: in training new for every image and epoch, from the
    seed's draws; in testing fixed, the same for every network.
    """

    def __init__(self, images, labels, size, noise_channels, device, memory_format):
        self.images = resize(images.to(device), size)  # (N, 3, size, size) uint8
        self.labels = labels.to(device)
        self.noise_channels = noise_channels
        self.memory_format = memory_format
        self.mean = torch.tensor(MEAN, device=device)[:, None, None] * 255
        self.sd = torch.tensor(SD, device=device)[:, None, None] * 255
        self.fixed = Draws(FIXED_SEED)

    def __call__(self, samples, draws: Draws | None = None):
        """Positions (B,) -> inputs (B, C, size, size) float32, labels (B,).

        Without draws they are for testing."""
        if draws is None:
            draws = self.fixed
            draws.at(0, samples)
        x = (self.images.index_select(0, samples) - self.mean) / self.sd  # (B, 3, size, size)
        if self.noise_channels:
            size = x.shape[-1]
            noise = draws.uniform(NOISE, self.noise_channels * size * size)
            noise = noise.view(len(x), -1, size, size)  # (B, noise channels, size, size)
            x = torch.cat([x, (noise - NOISE_MEAN) / NOISE_SD], dim=1)
        return x.contiguous(memory_format=self.memory_format), self.labels.index_select(0, samples)

    def pictures(self, sample: int):
        """One image's channels as they look, (C, size, size) uint8."""
        device = self.images.device
        x, _ = self(torch.tensor([sample], device=device))
        noise = x[0, 3:] * NOISE_SD + NOISE_MEAN
        return torch.cat([self.images[sample], (noise * 256).to(torch.uint8)]).cpu()
