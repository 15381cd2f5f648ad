"""In which numbers a network computes, how its tensors lie in memory, and what may vary."""

import os

import torch

from attn.schema import Recipe

# Strict runs need it, and torch reads it once, at the first product on a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def autocast(device: torch.device, recipe: Recipe):
    """bf16 where the recipe says so; weights, normalisation statistics and loss stay in fp32."""
    enabled = recipe.precision == "bf16"
    # Inside a capture the cache of cast weights would outlive the weights' updates.
    return torch.autocast(device.type, torch.bfloat16, enabled, cache_enabled=False)


def set_backends(recipe: Recipe, strict: bool):
    """Says to torch what the recipe says, where its own defaults say something else.

    Its "fp32" convolutions on a GPU are TF32 unless told. strict: the same bits from the same
    command, so only deterministic kernels, none of them chosen by timing.
    """
    # Inductor reads these older names, and torch refuses a mixture with the newer ones.
    torch.backends.cuda.matmul.allow_tf32 = recipe.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"
    torch.backends.cudnn.benchmark = not strict
    torch.backends.cudnn.deterministic = strict
    torch.use_deterministic_algorithms(strict)
    torch.utils.deterministic.fill_uninitialized_memory = False


def memory_format(device: torch.device, recipe: Recipe):
    """channels_last, but for fp32 above 64 pixels on a CPU: MobileNetV2 is far slower there."""
    slow = device.type == "cpu" and recipe.precision != "bf16" and recipe.size > 64
    return torch.contiguous_format if slow else torch.channels_last


# CPU, one thread of 2 cores: for MobileNetV2 at 112 pixels compilation takes 25 to 45 s and saves
# 0.3 of 0.7 s a step (fp32) or 0.05 of 0.5 s (bf16); for ResNet-20 at 32 pixels it takes 15 to
# 35 s and saves 0.009 of 0.09 s. On a GPU the number has not been measured.
STEPS_WORTH_COMPILING = 4000


def worth_compiling(recipe: Recipe, images: int) -> bool:
    """Whether compilation pays within a run of so many images an epoch."""
    return recipe.epochs * -(-images // recipe.batch_size) >= STEPS_WORTH_COMPILING
