"""Random numbers as a function of (seed, epoch, sample, purpose), with no generator and no state.

Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) turns a 128-bit counter and a
64-bit key into 128 random bits. The counter is (block, sample, epoch, purpose), the key is the
seed. So a seed sees the same numbers alone or beside other seeds, in any batch size and order,
after a resume, on CPU and GPU.
"""

import torch
from torch import nn

from attn.compute.kernels.library import library

# Purposes; a number, once used, keeps its meaning.
ORDER, NOISE, DROPOUT, SUBSET, SYNTHETIC, AUGMENT = range(6)

# The test set's noise and every fixed choice of images: the same for all networks and seeds.
FIXED_SEED = 0x7E57

_MASK = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter, key):
    """Returns four words of 32 random bits for each counter.

    counter has four and key has two integers or int64 tensors in [0, 2^32) that broadcast together.
    The four words are such integers or tensors. int64 holds each 64-bit product exactly up to its
    sign, which the masks remove.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(seed, epoch, samples, purpose, count):
    """Returns `count` numbers in [0, 1) for each of samples (B,) int64, as (B, count) float32.

    The numbers are multiples of 2^-24, so float32 holds them exactly and every device gives the
    same numbers. seed and epoch are integers or int64 scalars (a captured CUDA graph reads them
    from the device).
    """
    samples = samples.to(torch.int64)
    if samples.device.type == "cpu" and not torch.compiler.is_compiling() and library():
        return _by_kernel(seed, epoch, samples, purpose, count)
    blocks = torch.arange(-(-count // 4), device=samples.device)
    # ^ 0 of loaded numbers: Inductor computes a bare arange's product in 32 bits (pytorch#175966).
    blocks = blocks[None, :] ^ (samples[:, None] & 0)  # (B, blocks)
    words = philox((blocks, samples[:, None], epoch, purpose), (seed, 0))  # 4 of (B, blocks)
    bits = torch.stack(words, dim=-1).flatten(1)[:, :count]  # (B, count)
    return (bits >> 8).float() * 2.0**-24


def _by_kernel(seed, epoch, samples, purpose, count):
    """Returns the numbers of `uniform`; on a CPU in a tenth of the time."""
    out, samples = torch.empty(len(samples), count), samples.contiguous()
    where = samples.data_ptr(), len(samples)
    library().uniform(int(seed), int(epoch), *where, purpose, count, out.data_ptr())
    return out


def permutation(seed, epoch, samples, purpose=ORDER):
    """Returns the samples (N,) sorted by a random number that belongs to (seed, epoch, sample)."""
    high, low, _, _ = philox((0, samples, epoch, purpose), (seed, 0))
    return samples[torch.argsort((high << 31) | (low >> 1), stable=True)]


def derive(seed, *part):
    """Returns a seed for torch's own generator that belongs to one part of a network.

    part: integers, such as the number of the part and of a channel of the part.
    """
    high, low, _, _ = philox((*part, 0, 0, 0, 0)[:4], (seed, 1))
    return high << 31 | low >> 1


class Draws:
    """The numbers of one seed at the epoch and the samples (B,) that a training step is at."""

    def __init__(self, seed: int):
        self.seed = seed
        self.epoch = 0
        self.samples = None

    def to(self, device):
        """Puts the seed on the device as a number: a compiled step then serves every seed."""
        self.seed = torch.tensor(self.seed, device=device)

    def at(self, epoch, samples):
        self.epoch, self.samples = epoch, samples

    def uniform(self, purpose: int, count: int):
        """Returns (B, count) float32 in [0, 1)."""
        return uniform(self.seed, self.epoch, self.samples, purpose, count)


class Dropout(nn.Module):
    """torch's Dropout on (B, F), with a mask that is a function of (seed, epoch, sample)."""

    def __init__(self, p: float, draws: Draws):
        super().__init__()
        self.p = p
        self.draws = draws

    def forward(self, x):  # (B, F)
        if not self.training:
            return x
        keep = self.draws.uniform(DROPOUT, x.shape[1]) >= self.p  # (B, F)
        return x * keep / (1 - self.p)


def replace_dropout(network: nn.Module, draws: Draws):
    """Gives every torch Dropout of the network a mask drawn by `draws`; the keys stay."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p, draws))
