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


# Faster at every size and precision but for ResNet-18 at 32 pixels on a CPU (by a tenth slower):
# scripts/formats.py, results/bench/*/formats.md. On a GPU it has not been measured.
MEMORY_FORMAT = torch.channels_last


# On a CPU (one thread of 2 cores) compilation takes 15 to 45 s and changes a step little: ResNet-20
# at 32 pixels 0.09 -> 0.08 s (fp32); MobileNetV2 at 112 pixels 0.47 -> 0.50 s (fp32), 0.50 -> 0.45
# s (bf16). On a GPU neither the gain nor this number of steps has been measured.
STEPS_WORTH_COMPILING = 4000


def worth_compiling(device: torch.device, recipe: Recipe, images: int) -> bool:
    """Whether compilation is expected to pay within a run of so many images an epoch."""
    steps = recipe.epochs * -(-images // recipe.batch_size)
    return device.type == "cuda" and steps >= STEPS_WORTH_COMPILING
