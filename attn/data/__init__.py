"""CIFAR-10 (or its synthetic stand-in) as uint8 tensors, and batches of them on a device."""

from attn.data.dataset import CLASSES, Dataset, check_count, load, subset

__all__ = ["CLASSES", "Dataset", "check_count", "load", "subset"]
