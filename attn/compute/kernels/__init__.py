"""Kernels of our own for training on a CPU, where torch's kernels leave time: see kernels.c."""
