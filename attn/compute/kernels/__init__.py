"""Kernels of our own for training on a CPU, where torch's leave time: see kernels.c."""
