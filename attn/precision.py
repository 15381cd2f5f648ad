"""In which numbers a network computes, and how its tensors lie in memory."""

import torch

from attn.schema import Recipe


def autocast(device: torch.device, recipe: Recipe):
    """bf16 where the recipe says so; weights, normalisation statistics and loss stay in fp32."""
    enabled = recipe.precision == "bf16"
    # Inside a capture the cache of cast weights would outlive the weights' updates.
    return torch.autocast(device.type, torch.bfloat16, enabled, cache_enabled=False)


def set_float32(recipe: Recipe):
    """PyTorch's own default on a GPU is TF32 for convolutions: say which, always."""
    choice = "tf32" if recipe.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = choice
    torch.backends.cudnn.conv.fp32_precision = choice


def memory_format(device: torch.device, recipe: Recipe):
    """channels_last, but for fp32 above 64 pixels on a CPU: MobileNetV2 is far slower there."""
    slow = device.type == "cpu" and recipe.precision != "bf16" and recipe.size > 64
    return torch.contiguous_format if slow else torch.channels_last
