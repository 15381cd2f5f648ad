"""A network's layers with kernels of their own, for training on one thread of a CPU.

`fuse(network)` changes the class of each module that has a class with kernels; the names and the
weights of the modules stay. The numbers of these layers are torch's but for rounding. Weights are
float32; maps are float32, or bfloat16 under autocast. In evaluation, in other types and on a GPU
the layers are torch's layers: a kernel would read beyond the memory it is given.
"""

import functools
import itertools
import math
import os

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from attn.compute.kernels.library import library

LANES = {torch.float32: 8, torch.bfloat16: 16}  # of kernels.c, by the type of maps
MOST = 4096
CACHED = 2**21  # numbers of an input
UNBOUNDED = (-math.inf, math.inf)
BOUNDS = {nn.ReLU: (0.0, math.inf), nn.ReLU6: (0.0, 6.0)}


def fuse(network: nn.Module) -> bool:
    """Gives kernels to the layers of a network that may have them; returns whether there are any.

    An activation behind a normalisation becomes part of the normalisation. Without kernels nothing
    changes.
    """
    if library() is None:
        return False
    for module in network.modules():
        for norm, name, activation in _normalised(module):
            norm.bounds = BOUNDS[type(activation)]
            setattr(module, name, nn.Identity())
    fused = False
    for module in network.modules():
        kind = _kind(module)
        if kind:
            module.__class__, fused = kind, True
    return fused


def _normalised(module: nn.Module):
    """Yields (normalisation, activation's name, activation) for each such pair in a module."""
    if isinstance(module, nn.Sequential):
        children = list(module.named_children())
        pairs = [(norm, *behind) for (_, norm), behind in itertools.pairwise(children)]
    else:  # a residual block
        blocks = (("bn1", "act1"), ("bn2", "act2"))
        pairs = [(getattr(module, n, None), a, getattr(module, a, None)) for n, a in blocks]
    for norm, name, activation in pairs:
        if _kind(norm) is Norm and type(activation) in BOUNDS:
            yield norm, name, activation


def _kind(module) -> type | None:
    """Returns the class with kernels that a module may have, or None."""
    if type(module) is nn.BatchNorm2d and module.affine and module.momentum:
        return Norm if module.track_running_stats and _fits(module.num_features) else None
    if type(module) is not nn.Conv2d or module.dilation != (1, 1):
        return None
    if module.padding_mode != "zeros":
        return None
    shape = module.kernel_size, module.stride, module.padding
    if shape == ((1, 1), (1, 1), (0, 0)) and module.groups == 1:
        return Pointwise
    depthwise = module.groups == module.in_channels == module.out_channels
    if depthwise and module.bias is None and shape in [((3, 3), (s, s), (1, 1)) for s in (1, 2)]:
        return Depthwise if _fits(module.in_channels) else None
    return None


def _fits(channels: int) -> bool:
    return channels % LANES[torch.float32] == 0 and channels <= MOST


def has_amx() -> bool:
    """Returns whether this CPU multiplies matrices of bfloat16 in hardware, and oneDNN may use it.

    The environment variable ONEDNN_MAX_CPU_ISA lowers the instruction set that oneDNN may use.
    """
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    may = most in ("", "ALL", "DEFAULT") or "AMX" in most
    return may and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def has_kernel(module: nn.Module) -> bool:
    """Returns whether a module is a layer that trains with a kernel of its own on this machine."""
    kind = type(module) if isinstance(module, Norm | Depthwise | Pointwise) else _kind(module)
    return kind is not None and library() is not None


def _trains(layer, x) -> bool:
    """Returns whether a layer with kernels is in training on a CPU."""
    return layer.training and x.device.type == "cpu" and layer.weight.dtype == torch.float32


def _lowered(x):
    """Returns x as a convolution takes x: under autocast in autocast's type."""
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x


def _kernels(layer, x):
    """Returns the kernels that compute a layer's output for x, or None."""
    if not _trains(layer, x) or x.dtype not in LANES or x.shape[1] % LANES[x.dtype]:
        return None
    if x.ndim != 4 or x.shape[1] != len(layer.weight):  # torch's layer says what is wrong
        return None
    return library(str(x.dtype).removeprefix("torch."))


def _dense(x):
    """Returns x with its channels last in memory, as the kernels read x."""
    return x.contiguous(memory_format=torch.channels_last)


def _like(x, *shape):
    """Returns an empty tensor (B, C, H, W) of x's type, channels last."""
    return torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)


class Norm(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), and a clamp behind it."""

    bounds = UNBOUNDED

    def forward(self, x):  # (B, C, H, W)
        kernels = _kernels(self, x)
        if kernels is None:
            y = super().forward(x)
            return y if self.bounds == UNBOUNDED else F.hardtanh(y, *self.bounds, inplace=True)
        return _Norm.apply(x, self.weight, self.bias, self, kernels)


class _Norm(Function):
    @staticmethod
    def forward(ctx, x, gain, bias, layer, kernels):
        x, channels = _dense(x), x.shape[1]
        rows = x.numel() // channels
        if rows < 2:
            raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
        y, saved = torch.empty_like(x), torch.empty(4, channels)
        numbers = gain, bias, layer.running_mean, layer.running_var
        kernels.norm(
            x.data_ptr(),
            rows,
            channels,
            *(tensor.data_ptr() for tensor in numbers),
            layer.momentum,
            layer.eps,
            *layer.bounds,
            y.data_ptr(),
            saved.data_ptr(),
        )
        ctx.save_for_backward(x, saved)
        ctx.bounds, ctx.kernels = layer.bounds, kernels
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, saved = ctx.saved_tensors
        g, channels = _dense(g), x.shape[1]
        dx, dgain, dbias = torch.empty_like(x), torch.empty(channels), torch.empty(channels)
        ctx.kernels.norm_back(
            g.data_ptr(),
            x.data_ptr(),
            x.numel() // channels,
            channels,
            saved.data_ptr(),
            *ctx.bounds,
            *(tensor.data_ptr() for tensor in (dx, dgain, dbias)),
        )
        return dx, dgain, dbias, None, None


class Depthwise(nn.Conv2d):
    """A 3x3 convolution of each channel alone, padded by 1, with a stride of 1 or 2."""

    def forward(self, x):  # (B, C, H, W)
        kernels = _kernels(self, lowered := _lowered(x))
        if kernels is None:
            return super().forward(x)
        return _Depthwise.apply(lowered, self.weight, self.stride[0] - 1, kernels)


class _Depthwise(Function):
    @staticmethod
    def forward(ctx, x, weight, halvings, kernels):
        x = _dense(x)
        images, channels, height, width = x.shape
        taps = weight.view(channels, 9).t().contiguous()
        y = _like(x, images, channels, *((side - 1 >> halvings) + 1 for side in (height, width)))
        sizes = images, height, width, channels, halvings
        kernels.depthwise(x.data_ptr(), taps.data_ptr(), *sizes, y.data_ptr())
        ctx.save_for_backward(x, taps)
        ctx.sizes, ctx.kernels = sizes, kernels
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, taps = ctx.saved_tensors
        g, dx, dtaps = _dense(g), torch.empty_like(x), torch.empty(taps.shape, dtype=torch.float64)
        ctx.kernels.depthwise_back(g.data_ptr(), taps.data_ptr(), *ctx.sizes, dx.data_ptr())
        ctx.kernels.depthwise_weights(g.data_ptr(), x.data_ptr(), *ctx.sizes, dtaps.data_ptr())
        return dx, dtaps.t().to(taps.dtype).reshape(-1, 1, 3, 3), None, None


@functools.cache
def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that trains as a matrix product where that is faster.

    With AMX forward and backward are matrix products. In a step of MobileNetV2 at 64 pixels, batch
    32, the 1x1 convolutions then take 50 ms instead of 77 in float32, and 28 in bfloat16; those of
    1,280 channels of a single position take 4 ms instead of 26 (Intel Xeon). Without AMX only the
    weight gradient is, and with AVX-512 only for inputs beyond the L2 cache. Of 96 channels at
    32x32, batch 32, the product takes 1.6 ms and oneDNN 3.2. For smaller inputs the product takes
    twice as long (AMD EPYC, AVX-512).
    """

    def forward(self, x):  # (B, C, H, W)
        if not _trains(self, x):
            return super().forward(x)
        if has_amx():
            y = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)  # (B, H, W, C)
            return y.permute(0, 3, 1, 2)
        plain = _lowered(x).dtype == torch.float32 and self.bias is None
        if not plain or (_has_avx512() and x.numel() < CACHED):
            return super().forward(x)
        return _Pointwise.apply(x, self.weight)


class _Pointwise(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        dx = torch.nn.grad.conv2d_input(x.shape, weight, g) if ctx.needs_input_grad[0] else None
        return dx, (_matrix(g).t() @ _matrix(x)).view_as(weight)


def _matrix(x):
    """Returns (B, C, H, W) as (B H W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
