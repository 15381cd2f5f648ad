"""timm as an oracle: outputs and gradients are equal once its weights are copied across."""

import pytest
import torch
from timm.layers import SEModule
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from timm.layers.eca import EcaModule
from timm.layers.gather_excite import GatherExcite as TimmGatherExcite
from timm.layers.global_context import GlobalContext as TimmGlobalContext
from timm.layers.selective_kernel import SelectiveKernel
from timm.layers.split_attn import SplitAttn
from torch import nn

from attn.modules.cbam import CBAM, ChannelAttention
from attn.modules.coord import Coordinate
from attn.modules.eca import ECA, adaptive_kernel
from attn.modules.gather_excite import GatherExcite
from attn.modules.gc import GlobalContext
from attn.modules.se import SE
from attn.modules.sk import SK
from attn.modules.split import Split
from attn.tests.conftest import convolution

CHANNELS, REDUCTION = 48, 16


def randomise(module):
    torch.manual_seed(1)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) - (0.0 if name.endswith("var") else 0.3))


def check_equal(ours: nn.Module, theirs: nn.Module, pairs: list):
    """pairs: (our parameter or buffer, theirs, how theirs is laid out as ours)."""
    with torch.no_grad():
        for mine, other, layout in pairs:
            mine.copy_(layout(other))
    torch.manual_seed(2)
    ours, theirs, x = ours.double(), theirs.double(), torch.randn(3, CHANNELS, 9, 5).double()
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(i) for module, i in zip((ours, theirs), inputs, strict=True)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(x)
    for output in outputs:
        (output * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-9, atol=1e-9)
    for mine, other, layout in pairs:
        if mine.requires_grad:
            torch.testing.assert_close(mine.grad, layout(other.grad), rtol=1e-9, atol=1e-9)


def same(tensor):
    return tensor


def flipped(tensor):
    """timm's spatial convolution reads [mean, max], the authors' [max, mean]."""
    return tensor.flip(1)


def convolutions(ours, theirs, bias):
    pairs = []
    for mine, other in zip(ours, theirs, strict=True):
        pairs.append((mine.weight, other.weight, same))
        if bias:
            pairs.append((mine.bias, other.bias, same))
    return pairs


@pytest.mark.parametrize("bias", [True, False])
def test_se(bias):
    theirs = SEModule(CHANNELS, rd_ratio=1 / REDUCTION, rd_divisor=1, bias=bias)
    randomise(theirs)
    ours = SE(CHANNELS, REDUCTION, bias)
    pairs = convolutions((ours.squeeze, ours.excite), (theirs.fc1, theirs.fc2), bias)
    check_equal(ours, theirs, pairs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [3, 7])
def test_cbam(bias, kernel):
    theirs = CbamModule(
        CHANNELS, 1 / REDUCTION, rd_divisor=1, spatial_kernel_size=kernel, mlp_bias=bias
    )
    randomise(theirs)
    ours = CBAM(CHANNELS, REDUCTION, bias, kernel=kernel)
    mlp = theirs.channel
    pairs = convolutions((ours.channel.mlp[0], ours.channel.mlp[2]), (mlp.fc1, mlp.fc2), bias)
    spatial = theirs.spatial.conv
    pairs.append((ours.spatial.conv.weight, spatial.conv.weight, flipped))
    pairs += [(ours.spatial.bn.weight, spatial.bn.weight, same)]
    pairs += [(ours.spatial.bn.bias, spatial.bn.bias, same)]
    check_equal(ours.train(), theirs.train(), pairs)


def test_the_channel_part_alone_is_that_of_cbam():
    theirs = CbamModule(CHANNELS, 1 / REDUCTION, rd_divisor=1, mlp_bias=True).channel
    randomise(theirs)
    ours = ChannelAttention(CHANNELS, REDUCTION)
    pairs = convolutions((ours.mlp[0], ours.mlp[2]), (theirs.fc1, theirs.fc2), True)
    check_equal(ours, theirs, pairs)


def in_order(ours, theirs):
    """Every tensor, where both modules hold them in the same order."""
    mine, others = (dict(m.state_dict(keep_vars=True)) for m in (ours, theirs))
    pairs = list(zip(mine.values(), others.values(), strict=True))
    assert all(one.shape == other.shape for one, other in pairs)
    return [(one, other, same) for one, other in pairs]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("reduction", [2, 16])
def test_coordinate(reduction, train):
    theirs = CoordAttn(CHANNELS, rd_channels=max(8, CHANNELS // reduction), bias=True)
    randomise(theirs)
    ours = Coordinate(CHANNELS, reduction)
    check_equal(ours.train(train), theirs.train(train), in_order(ours, theirs))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("radix", "cardinality"), [(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)])
def test_split(radix, cardinality, train):
    theirs = SplitAttn(
        CHANNELS, radix=radix, groups=cardinality, norm_layer=nn.BatchNorm2d, rd_divisor=1
    )
    randomise(theirs)
    ours = Split(convolution(CHANNELS), radix, cardinality)
    check_equal(ours.train(train), theirs.train(train), in_order(ours, theirs))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("groups", [1, 3, CHANNELS])
def test_selective_kernel(groups, train):
    theirs = SelectiveKernel(CHANNELS, groups=groups, split_input=False, rd_channels=32)
    randomise(theirs)
    ours = SK(convolution(CHANNELS, groups))
    check_equal(ours.train(train), theirs.train(train), in_order(ours, theirs))


@pytest.mark.parametrize("kernel", [None, 3, 7])
def test_eca(kernel):
    theirs = EcaModule(None if kernel else CHANNELS, kernel)  # which it derives from channels
    randomise(theirs)
    ours = ECA(CHANNELS, kernel or 0)
    check_equal(ours, theirs, in_order(ours, theirs))


@pytest.mark.parametrize("channels", [3, 16, 64, 256, 512, 1024, 1280, 2048])
def test_the_kernel_of_eca_follows_the_channels(channels):
    assert adaptive_kernel(channels) == EcaModule(channels, None).conv.kernel_size[0]


@pytest.mark.parametrize("fuse", ["add", "scale"])
def test_global_context(fuse):
    theirs = TimmGlobalContext(
        CHANNELS, rd_channels=12, fuse_add=fuse == "add", fuse_scale=fuse == "scale"
    )
    randomise(theirs)
    ours = GlobalContext(CHANNELS, reduction=4, least=1, fuse=fuse)
    mlp = theirs.mlp_add if fuse == "add" else theirs.mlp_scale
    first, norm, _, second = ours.transform
    norm.eps = mlp.norm.eps
    layers = (ours.weights, first, second), (theirs.conv_attn, mlp.fc1, mlp.fc2)
    pairs = convolutions(*layers, True)
    for mine, other in ((norm.weight, mlp.norm.weight), (norm.bias, mlp.norm.bias)):
        pairs.append((mine, other, lambda tensor: tensor.view(-1, 1, 1)))
    check_equal(ours, theirs, pairs)


@pytest.mark.parametrize("extent", [0, 2, 4, 8])
def test_gather_excite(extent):
    """The form without parameters; timm's other forms raise TypeError in timm 1.0.31."""
    theirs = TimmGatherExcite(CHANNELS, extent=extent, use_mlp=False)
    check_equal(GatherExcite(CHANNELS, extent), theirs, [])
