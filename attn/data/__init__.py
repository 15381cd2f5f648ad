"""CIFAR-10 (or its synthetic stand-in) as uint8 tensors, and batches of them on a device."""

from attn.data.dataset import Dataset, check_count, load, subset

__all__ = ["Dataset", "check_count", "load", "subset"]
