import math

import pytest
import torch
from torch import nn

import attn
from attn.modules.cbam import ChannelAttention, SpatialAttention
from attn.modules.convolution import like
from attn.modules.gsop import averaged_by_products
from attn.modules.se import SE
from attn.network.scores import record
from attn.tests.conftest import convolution


def test_channel_attention_commutes_with_its_channels_and_ignores_the_order_of_pixels():
    torch.manual_seed(0)
    module, permuted = ChannelAttention(6, 2), ChannelAttention(6, 2)
    x, order = torch.randn(2, 6, 4, 4), torch.tensor([3, 0, 5, 1, 4, 2])
    permuted.load_state_dict(module.state_dict())
    with torch.no_grad():
        permuted.mlp[0].weight.copy_(module.mlp[0].weight[:, order])
        permuted.mlp[2].weight.copy_(module.mlp[2].weight[order])
        permuted.mlp[2].bias.copy_(module.mlp[2].bias[order])
    torch.testing.assert_close(permuted(x[:, order]), module(x)[:, order])
    torch.testing.assert_close(module(x.flip(3).transpose(2, 3)), module(x).flip(3).transpose(2, 3))


def test_se_commutes_with_its_channels():
    torch.manual_seed(0)
    module, permuted = SE(6, 2), SE(6, 2)
    x, order = torch.randn(2, 6, 4, 4), torch.tensor([3, 0, 5, 1, 4, 2])
    permuted.load_state_dict(module.state_dict())
    with torch.no_grad():
        permuted.squeeze.weight.copy_(module.squeeze.weight[:, order])
        permuted.excite.weight.copy_(module.excite.weight[order])
        permuted.excite.bias.copy_(module.excite.bias[order])
    torch.testing.assert_close(permuted(x[:, order]), module(x)[:, order])


def test_hidden_width_is_at_least_one_and_biases_are_optional():
    module = ChannelAttention(3, 16, bias=False)
    assert module.mlp[0].weight.shape == (1, 3, 1, 1)
    assert module.mlp[0].bias is None and module.mlp[2].bias is None


def test_se_is_the_equation():
    module = SE(2, 1).double()
    weights = [[[0.5, -1.0], [2.0, 0.25]], [0.1, -0.2], [[1.0, -1.0], [0.5, 2.0]], [0.0, 0.3]]
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(value).view(parameter.shape))
    x = torch.tensor([[[[1.0, 3.0]], [[2.0, -4.0]]]], dtype=torch.double)  # means 2 and -1
    hidden = [0.5 * 2 + 1 + 0.1, 2.0 * 2 - 0.25 - 0.2]  # both positive
    logits = [hidden[0] - hidden[1], 0.5 * hidden[0] + 2 * hidden[1] + 0.3]
    gates = [1 / (1 + math.exp(-logit)) for logit in logits]
    torch.testing.assert_close(module(x), x * torch.tensor(gates).double().view(1, 2, 1, 1))


def test_spatial_attention_is_a_half_at_first_and_the_same_for_all_channels():
    torch.manual_seed(0)
    module, x = SpatialAttention(7), torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(module(x), x / 2)
    nn.init.ones_(module.bn.weight)
    with record(module) as scores:
        y = module.eval()(x)
    assert scores[""].shape == (2, 1, 6, 5)
    torch.testing.assert_close(y, x * scores[""])
    torch.testing.assert_close(module(x[:, [2, 0, 3, 1]]), y[:, [2, 0, 3, 1]])


@pytest.mark.parametrize("name", attn.MECHANISMS)
def test_a_mechanism_works_alone_in_anothers_network_or_says_what_it_takes(name):
    x, form = torch.randn(2, 64, 8, 8), attn.MECHANISMS[name]
    if form.seam == "conv":
        with pytest.raises(TypeError, match=r"replaces nn.Sequential\(convolution, norm, activ"):
            form(64)
        norm, activation = nn.BatchNorm2d(32), nn.LeakyReLU(0.2)
        with pytest.raises(ValueError, match="a 3x3 convolution with padding 1 and dilation 1 is"):
            form(nn.Sequential(nn.Conv2d(64, 32, 3), norm, activation))
        module = form(nn.Sequential(nn.Conv2d(64, 32, 3, 2, 1), norm, activation))
        assert module(x).shape == (2, 32, 4, 4)
        kept = [part for part in module.modules() if isinstance(part, nn.LeakyReLU)]
        assert kept and all(part.negative_slope == 0.2 for part in kept)
    elif form.seam == "fuse":
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'shortcut'"):
            form(64)(x)
        assert form(64)(x, x).shape == x.shape
    else:
        assert form(64)(x).shape == x.shape


def test_the_constant_scales_and_learns_nothing():
    x = torch.randn(2, 3, 4, 4)
    module = attn.MECHANISMS["constant"](3)
    with attn.record(module) as scores:
        assert module(x).equal(0.5 * x)
    assert next(iter(scores.values())).unique().tolist() == [0.5]
    assert not list(module.parameters())
    with pytest.raises(ValueError, match="value=0: it must be above 0"):
        attn.MECHANISMS["constant"](3, value=0)


@pytest.mark.parametrize("sizes", [((8, 8), (32, 32)), ((8, 8), (7, 10)), ((5, 9), (8, 8))])
def test_means_over_bins_are_those_of_the_pooling_layer_where_a_run_is_strict(sizes):
    """Forward and backward: the layer's backward on a GPU is not deterministic."""
    (height, width), side = sizes
    x = torch.randn(2, 3, *side, dtype=torch.float64, requires_grad=True)
    expected = nn.functional.adaptive_avg_pool2d(x, (height, width))
    found = averaged_by_products(x, height, width)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    grads = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*grads)


def test_a_convolution_in_place_of_another_is_drawn_as_torchvision_draws_it():
    drawn = like(convolution(64)[0], 64, 64, groups=1).weight
    assert drawn.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
