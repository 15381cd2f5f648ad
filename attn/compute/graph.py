"""A step as a CUDA graph: its kernels are launched at once instead of one by one."""

from contextlib import contextmanager

import torch

WARM_UP = 3  # steps, in which cuDNN chooses its algorithms and autograd allocates


@contextmanager
def in_turn(stream):
    """On `stream`, after what lies on the current one, which goes on after this; None: neither."""
    if stream is None:
        yield
        return
    current = torch.cuda.current_stream()
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        current.wait_stream(stream)


def rehearse(step, sizes, state):
    """Runs step(size) a few times, and puts back every tensor of `state`, which it changes."""
    saved = [tensor.clone() for tensor in state]
    for size in sizes:
        for _ in range(WARM_UP):
            try:
                step(size)
            finally:
                restore(state, saved)


def complaint(what: str, error: Exception) -> str:
    """What a person should know where something could not be compiled or captured."""
    while error.__context__ is not None:  # ending a failed capture fails too, and hides why
        error = error.__context__
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return f"{what} goes on, more slowly ({type(error).__name__}: {reason})"


def capture(step, sizes, state, stream) -> dict:
    """{size: graph of step(size)}, recorded on `stream`, which should also replay them.

    step reads and writes tensors on the device alone. state: every tensor that it changes, which
    is put back. Each graph has its own memory, as others may be replayed at the same time.
    Raises RuntimeError where the step cannot be captured.
    """
    graphs = {}
    with in_turn(stream):
        for size in sorted(sizes):  # the last one's gradients stay: the whole batches'
            rehearse(step, [size], state)
            graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graphs[size], stream=stream):
                step(size)  # recorded, not run
    return graphs


@torch.no_grad()
def restore(state, saved):
    for tensor, before in zip(state, saved, strict=True):
        tensor.copy_(before)
