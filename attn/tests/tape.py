"""CUDA graphs without CUDA: on a CPU, what a graph would replay.

A captured step is a list of kernels on fixed tensors: Python's part of it ran once and is gone. A
Tape records the operators below autograd in the same way, and replays them on the same tensors.
What reads the device from the host, or brings a new number to it, cannot be captured either way.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Tape(TorchDispatchMode):
    """Stands in for torch.cuda.CUDAGraph and is its own torch.cuda.graph."""

    def __init__(self):
        super().__init__()
        self.operators = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if HOST & set(function.tags) or function is torch.ops.aten.lift_fresh.default:
            raise RuntimeError(f"{function}: operation not permitted when stream is capturing")
        out = function(*args, **(kwargs or {}))
        self.operators.append((function, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, out in self.operators:
            new = function(*args, **kwargs)
            for old, value in zip(tree_leaves(out), tree_leaves(new), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != value.data_ptr():
                    old.copy_(value)  # else in place, or a view


class Devices(TorchDispatchMode):
    """The devices of all that operators are given."""

    def __init__(self):
        super().__init__()
        self.all = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        leaves = tree_leaves((args, kwargs))
        self.all |= {leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return function(*args, **(kwargs or {}))


class Stream:
    """Stands in for torch.cuda.Stream."""

    def wait_stream(self, other):
        pass
