"""A step as a CUDA graph: its kernels are launched at once instead of one by one."""

import os
from contextlib import contextmanager, suppress

import torch

WARM_UP = 3  # steps, in which cuDNN chooses its algorithms and autograd allocates


@contextmanager
def in_turn(stream):
    """Runs the block on `stream`, after the work that already lies on the current stream.

    The current stream goes on after the block. Where `stream` is None, the block runs on the
    current stream.
    """
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


def rehearse(step, size: int, state):
    """Runs step(size) a few times, and restores every tensor of `state`, which step changes."""
    saved = [tensor.clone() for tensor in state]
    for _ in range(WARM_UP):
        try:
            step(size)
        finally:
            restore(state, saved)


def complaint(what: str, error: Exception) -> str:
    """Returns a sentence that tells a person what could not be compiled or captured, and why.

    what: how the sentence begins, such as `without a CUDA graph the step`.
    """
    while error.__context__ is not None:  # ending a failed capture fails too, and hides why
        error = error.__context__
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return f"{what} goes on, more slowly ({type(error).__name__}: {reason})"


def may_capture(device: torch.device) -> bool:
    """Returns whether to capture steps on the device: on a GPU, unless ATTN_CAPTURE=0 is set.

    scripts/gpu.sh sets it where capture hangs, or breaks what comes after it.
    """
    return device.type == "cuda" and os.environ.get("ATTN_CAPTURE") != "0"


def capture(step, sizes, state, stream) -> dict:
    """Records step(size) on `stream`, which should also replay the graphs; returns {size: graph}.

    step reads and writes tensors on the device alone. state: every tensor that step changes; these
    tensors are put back. Each graph has its own memory, as other graphs may be replayed at the same
    time. Raises RuntimeError where the step cannot be captured.
    """
    graphs = {}
    with in_turn(stream):
        for size in sorted(sizes):  # the last one's gradients stay: the whole batches'
            rehearse(step, size, state)
            graphs[size], pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
            try:
                with torch.cuda.graph(graphs[size], pool, stream):
                    step(size)  # recorded, not run
            except RuntimeError:
                _end_allocation(pool)
                raise
    return graphs


def _end_allocation(pool):
    """Tells torch's allocator that a failed capture is over.

    Torch 2.11 leaves that out where CUDA cannot end the capture (pytorch#180395), and ends the
    process at the next synchronisation of the allocator. Later versions have said so already.
    """
    with suppress(RuntimeError):  # it is over
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)


@torch.no_grad()
def restore(state, saved):
    for tensor, before in zip(state, saved, strict=True):
        tensor.copy_(before)
