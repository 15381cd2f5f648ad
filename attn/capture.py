"""A training step as a CUDA graph: its kernels are launched at once instead of one by one."""

import torch

WARM_UP = 3  # steps, in which cuDNN chooses its algorithms and autograd allocates


def capture(step, sizes, state) -> dict:
    """{batch size: graph of step(size)}; empty, with the reason printed, where that fails.

    step reads and writes tensors on the device alone. state: every tensor that it changes; the
    warm-up steps change them too, so they are put back.
    """
    saved = [tensor.clone() for tensor in state]

    def restore():
        for tensor, before in zip(state, saved, strict=True):
            tensor.copy_(before)

    stream = torch.cuda.Stream()
    for size in sizes:
        _warm_up(step, size, stream, restore)
    graphs = {}
    try:
        for size in sizes:
            graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graphs[size], stream=stream):
                step(size)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        print(f"CUDA graph capture failed ({reason}); the steps run eagerly, slower.")
        graphs = {}
    restore()
    return graphs


def _warm_up(step, size: int, stream, restore):
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            restore()
            step(size)
    torch.cuda.current_stream().wait_stream(stream)
