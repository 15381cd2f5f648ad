"""Batches as a network takes them: gathered, normalised and joined with noise, on the device."""

import itertools

import torch

from attn.data import noise
from attn.data.augment import crop_and_flip
from attn.data.resize import resize
from attn.draws import FIXED_SEED, Draws

# Of CIFAR-10's training images.
MEAN = (0.4914, 0.4822, 0.4465)
SD = (0.2470, 0.2435, 0.2616)
# How standardised noise is shown as a grey picture: (mean, sd) on a scale from 0 to 1.
LOOKS = {"uniform": (0.5, 12**-0.5), "gaussian": (0.5, 0.2)}


class Inputs:
    """One split on a device: resized once, kept as uint8, each channel normalised by mean and sd.

    extra: the contents of the channels beside RGB (channels, kind, size; see `attn.data.noise`). In
    training the contents are new for every image and epoch, from the seed's draws; in testing they
    are fixed, the same for every network. augment: none or crop_flip, in training alone.
    """

    def __init__(self, images, labels, size, extra, device, memory_format, augment="none"):
        self.images = resize(images.to(device), size)  # (N, 3, size, size) uint8
        self.labels = labels.to(device)
        self.extra, self.augment = extra, augment
        self.memory_format = memory_format
        self.scale = torch.tensor(255.0, device=device)  # CUDA has x * (1 / 255) for x / 255.0
        self.mean = torch.tensor(MEAN, device=device)[:, None, None]
        self.sd = torch.tensor(SD, device=device)[:, None, None]
        self.fixed = Draws(FIXED_SEED)
        self.others = self.images  # from which noise of the kind image is taken

    def __call__(self, samples, draws: Draws | None = None):
        """Returns inputs (B, C, size, size) float32 and labels (B,) for the positions (B,).

        Without draws the inputs are for testing.
        """
        samples = samples.to(self.images.device, torch.int64)
        images = self.images.index_select(0, samples)  # (B, 3, size, size) uint8
        if draws is None:
            draws = self.fixed
            draws.at(0, samples)
        elif self.augment == "crop_flip":
            images = crop_and_flip(images, draws)
        x = self._standardise(images)
        if self.extra.channels:
            x = torch.cat([x, self._noise(x, samples, draws)], dim=1)
        return x.contiguous(memory_format=self.memory_format), self.labels.index_select(0, samples)

    def of(self, images):
        """Returns images of one's own (N, 3, s, s) uint8 as the network takes them in testing.

        The result is (N, C, size, size) float32, resized, normalised and joined with noise. Raises
        ValueError where the images have another form.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images {tuple(images.shape)} {images.dtype}: (N, 3, s, s) uint8")
        if images.shape[2] != images.shape[3]:
            raise ValueError(f"images {tuple(images.shape)}: crop them to squares")
        labels = torch.zeros(len(images), dtype=torch.int64)
        size, device = self.images.shape[-1], self.images.device
        own = Inputs(images, labels, size, self.extra, device, self.memory_format)
        own.others = self.images
        return own(torch.arange(len(images), device=device))[0]

    def _standardise(self, images):
        """Normalises to the bit as torchvision's ToTensor and Normalize: last bits decide ReLUs."""
        return (images / self.scale - self.mean) / self.sd

    def _noise(self, x, samples, draws):
        """Returns the channels beside RGB, (B, extra channels, size, size)."""
        size = self.images.shape[-1]
        kind, channels = self.extra.kind, self.extra.channels
        if kind == "image":
            others = noise.other_images(channels, samples, draws, len(self.others))  # (B, images)
            drawn = [self._standardise(self.others.index_select(0, o)) for o in others.unbind(1)]
            return torch.cat(drawn, dim=1)[:, :channels]
        if kind == "copy":
            return noise.corrupted(x, channels, draws)
        return noise.enlarge(noise.draw(kind, channels, self.extra.size or size, draws), size)

    def pictures(self, sample: int):
        """Returns one image's channels as they look, (C, size, size) uint8."""
        x, _ = self(torch.tensor([sample], device=self.images.device))
        mean, sd = self._look()[:, :, None, None]  # each (C, 1, 1)
        return ((x[0].cpu() * sd + mean).clamp(0, 1) * 255).round().to(torch.uint8)

    def _look(self):
        """Returns (2, C): the mean and sd that show each channel on a scale from 0 to 1."""
        colours = list(zip(MEAN, SD, strict=True))
        kind = self.extra.kind
        looks = itertools.cycle([LOOKS[kind]] if kind in LOOKS else colours)
        return torch.tensor([*colours, *itertools.islice(looks, self.extra.channels)]).T
