"""A network's precision, its tensors' layout in memory, and whether its results may vary."""

from contextlib import contextmanager

import torch
from torch import nn

from attn.compute.kernels.layers import has_amx, has_kernel
from attn.config.schema import Config


def computed_in(network: nn.Module, device: torch.device, allowed: str) -> tuple[str, str]:
    """Returns the precision (bf16, tf32 or fp32), and why it is not the allowed precision, or "".

    The recipe says how coarsely layers may round. A CPU that has to emulate such rounding is slower
    for it, and computes in fp32. A step of ResNet-20 at 32 pixels takes 78 ms in fp32 and 44 ms in
    bf16 with AMX. Without AMX (oneDNN told to do without AMX) the step takes 76 and 100 ms with
    bf16 dot products, 73 and 220 ms with AVX-512 alone, and 108 and 995 ms with AVX2. torch's
    depthwise convolutions are slower in bf16 with AMX too: with them a step of MobileNetV2 at 32
    pixels takes 76 ms in fp32 and 170 ms in bf16.
    """
    if device.type != "cpu" or allowed == "fp32":
        return allowed, ""
    if allowed == "tf32":
        return "fp32", "a CPU has no TF32"
    if not has_amx():
        return "fp32", "without AMX this CPU is slower in bf16"
    if any(_is_depthwise(m) and not has_kernel(m) for m in network.modules()):
        return "fp32", "without kernels of ours depthwise convolutions are slower in bf16 on a CPU"
    return "bf16", ""


def _is_depthwise(module: nn.Module) -> bool:
    convolution = isinstance(module, nn.Conv2d)
    return convolution and 1 < module.groups == module.in_channels == module.out_channels


def _has_depthwise(network: nn.Module) -> bool:
    return any(_is_depthwise(module) for module in network.modules())


def autocast(device: torch.device, precision: str):
    """Returns a context in which layers compute in bf16 where `precision` is bf16.

    Weights, normalisation statistics and loss stay in fp32.
    """
    enabled = precision == "bf16"
    # Inside a capture the cache of cast weights would outlive the weights' updates.
    return torch.autocast(device.type, torch.bfloat16, enabled, cache_enabled=False)


def set_backends(precision: str, strict: bool):
    """Sets torch's backends to what a run computes in, where torch's defaults say something else.

    torch's "fp32" convolutions on a GPU are TF32 unless torch is told otherwise. strict: the same
    command gives the same bits, so torch takes only deterministic kernels, and chooses none of the
    kernels by timing.
    """
    # Inductor reads these older names, and torch refuses a mixture with the newer ones.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = not strict
    torch.backends.cudnn.deterministic = strict
    torch.use_deterministic_algorithms(strict)
    torch.utils.deterministic.fill_uninitialized_memory = False


@contextmanager
def untimed():
    """Makes cuDNN take the kernel that it thinks best, without timing, while the block lasts.

    The block is for shapes that are too rare to time all kernels for.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


# Faster at every size and precision but for ResNet-18 at 32 pixels on a CPU (by a tenth slower):
# scripts/memory_format.py, results/bench/*/formats.md. On a GPU it has not been measured.
MEMORY_FORMAT = torch.channels_last


# Steps from which compilation is expected to pay. On a CPU (2 cores, two runs side by side) it
# takes 30 to 60 s. In fp32 it never pays: without AMX (AMD EPYC, AVX2) a step of MobileNetV2 at 64
# pixels takes 454 ms compiled and 355 with kernels of ours, of ResNet-20 at 32 pixels 291 and 300.
# In bf16 (Intel Xeon with AMX) a step of ResNet-20 with SE in every block takes 162 ms compiled and
# 200 with kernels of ours, without attention 122 and 100; of MobileNetV2 580 and 165.
# On a GPU neither the gain nor this number of steps has been measured.
STEPS_WORTH_COMPILING = {"cpu": 20_000, "cuda": 4_000}


def is_compiled(
    asked: bool | None, device: torch.device, config: Config, images: int, network: nn.Module
) -> bool:
    """Returns whether a network is compiled: as `asked`, else where compilation is expected to pay.

    Compilation is expected to pay within a run of enough steps; on a CPU where layers compute in
    bf16, attention adds small operators, and no convolution is depthwise. images: the number of
    images in an epoch.
    """
    if asked is not None:
        return asked
    steps = config.recipe.epochs * -(-images // config.recipe.batch_size)
    if config.strict or steps < STEPS_WORTH_COMPILING[device.type]:
        return False
    if device.type == "cuda":
        return True
    precision, _ = computed_in(network, device, config.recipe.precision)
    small_operators = config.location in ("per_block", "per_stage")
    return precision == "bf16" and small_operators and not _has_depthwise(network)
