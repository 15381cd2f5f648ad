"""Mechanisms against references written from the equations: loops over images and channels.

They read a module's parameters and call none of its methods; outputs and gradients are compared.
"""

import pytest
import torch
from torch import nn

from attn.tests.conftest import Standing


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def relu(x):
    return x * (x > 0)


def linear(channels: list, layer: nn.Conv2d) -> list:
    """A 1x1 convolution: each output channel is a weighted sum of the input channels."""
    outputs = []
    for o in range(layer.out_channels):
        total = layer.bias[o] if layer.bias is not None else 0.0
        for c, channel in enumerate(channels):
            total = total + layer.weight[o, c, 0, 0] * channel
        outputs.append(total)
    return outputs


def norm(channels: list, layer) -> list:
    """BatchNorm in evaluation; nothing where there is none."""
    if isinstance(layer, nn.Identity):
        return channels
    return [
        (channel - layer.running_mean[c])
        / (layer.running_var[c] + layer.eps) ** 0.5
        * layer.weight[c]
        + layer.bias[c]
        for c, channel in enumerate(channels)
    ]


def means(x) -> list:
    return [channel.sum() / channel.numel() for channel in x]


def dilated(channels: list, layer: nn.Conv2d) -> list:
    """A 3x3 convolution, tap by tap, on maps surrounded by zeros."""
    step, outputs = layer.dilation[0], []
    height, width = channels[0].shape
    for o in range(layer.out_channels):
        total = layer.bias[o]
        for c, channel in enumerate(channels):
            framed = torch.zeros(height + 2 * step, width + 2 * step, dtype=channel.dtype)
            framed[step : step + height, step : step + width] = channel
            for i in range(3):
                for j in range(3):
                    seen = framed[i * step : i * step + height, j * step : j * step + width]
                    total = total + layer.weight[o, c, i, j] * seen
        outputs.append(total)
    return outputs


def gsop(m, x):
    stride = 2 if min(x.shape[1:]) > 28 else 1
    u = linear(list(relu(x)[:, ::stride, ::stride]), m.reduce)
    u = [relu(channel) for channel in norm(u, m.reduce_bn)]
    centred = [channel - channel.sum() / channel.numel() for channel in u]
    rows = []
    for a in centred:
        rows.append(torch.stack([(a * b).sum() / a.numel() for b in centred]))
    rows = norm(rows, m.covariance_bn)
    z = []
    for i, row in enumerate(rows):
        for k in range(4):
            z.append((m.rows.weight[4 * i + k, 0, :, 0] * row).sum() + m.rows.bias[4 * i + k])
    return torch.stack([sigmoid(s) * c for s, c in zip(linear(z, m.excite), x, strict=True)])


def cse(m, x):
    hidden = [relu(h) for h in linear(means(x), m.squeeze)]
    return torch.stack([sigmoid(s) * c for s, c in zip(linear(hidden, m.excite), x, strict=True)])


def sse(m, x):
    (q,) = linear(list(x), m.conv)
    return torch.stack([sigmoid(q) * channel for channel in x])


def scse(m, x, combine):
    channel, position = cse(m.channel, x), sse(m.position, x)
    larger = torch.where(channel > position, channel, position)
    return larger if combine == "max" else channel + position


def bam(m, x, combine):
    c1, n1, _, c2, n2 = m.channel
    mc = norm(linear([relu(h) for h in norm(linear(means(x), c1), n1)], c2), n2)
    s1, sn1, _, d1, dn1, _, d2, dn2, _, s2, sn2 = m.spatial
    y = [relu(h) for h in norm(linear(list(x), s1), sn1)]
    y = [relu(h) for h in norm(dilated(y, d1), dn1)]
    y = [relu(h) for h in norm(dilated(y, d2), dn2)]
    (ms,) = norm(linear(y, s2), sn2)
    logits = [a * ms if combine == "mul" else a + ms for a in mc]
    return torch.stack([(1 + sigmoid(s)) * c for s, c in zip(logits, x, strict=True)])


def context(m, x):
    """MS-CAM's weights."""

    def layers(channels, sequence):
        first, n1, _, second, n2 = sequence
        return norm(linear([relu(h) for h in norm(linear(channels, first), n1)], second), n2)

    here, everywhere = layers(list(x), m.local_context), layers(means(x), m.global_context)
    return torch.stack([sigmoid(a + b) for a, b in zip(here, everywhere, strict=True)])


def aff(m, x):
    y = x.flip(0)
    w = context(m.weights, x + y)
    return m.scale * w * x + m.scale * (1 - w) * y


def iaff(m, x):
    y = x.flip(0)
    w1 = context(m.initial, x + y)
    w2 = context(m.weights, w1 * x + (1 - w1) * y)
    return w2 * x + (1 - w2) * y


def shuffle(m, x):
    width = m.channel_weight.numel()
    gated = []
    for group in range(m.groups):
        start = 2 * width * group
        for k in range(width):
            channel = x[start + k]
            logit = m.channel_weight[0, k] * means([channel])[0] + m.channel_bias[0, k]
            gated.append(sigmoid(logit) * channel)
        for k in range(width):
            channel = x[start + width + k]
            centred = channel - means([channel])[0]
            normed = centred / (means([centred**2])[0] + m.norm.eps) ** 0.5
            normed = normed * m.norm.weight[k] + m.norm.bias[k]
            gated.append(sigmoid(m.spatial_weight[0, k] * normed + m.spatial_bias[0, k]) * channel)
    half = len(gated) // 2
    return torch.stack([gated[half * (i % 2) + i // 2] for i in range(len(gated))])


CASES = [
    ("gsop", {}, gsop),
    ("gsop", {"width": 3}, gsop),
    ("cse", {}, cse),
    ("sse", {}, sse),
    ("scse", {"combine": "max"}, lambda m, x: scse(m, x, "max")),
    ("scse", {"combine": "sum"}, lambda m, x: scse(m, x, "sum")),
    ("bam", {"reduction": 4}, lambda m, x: bam(m, x, "mul")),
    ("bam", {"reduction": 4, "combine": "add"}, lambda m, x: bam(m, x, "add")),
    ("bam", {"reduction": 2, "bn": "output", "dilation": 1}, lambda m, x: bam(m, x, "mul")),
    ("aff", {}, aff),
    ("aff", {"scale": 1.0, "reduction": 2}, aff),
    ("iaff", {}, iaff),
    ("shuffle", {"groups": 2}, shuffle),
    ("shuffle", {}, shuffle),
]


@pytest.mark.parametrize("shape", [(5, 6), (30, 29)], ids=str)
@pytest.mark.parametrize(("mechanism", "changes", "reference"), CASES)
def test_outputs_and_gradients_are_the_equations(mechanism, changes, reference, shape):
    torch.manual_seed(0)
    standing = Standing(mechanism, 8, **changes).double().eval()
    with torch.no_grad():
        for name, tensor in standing.state_dict().items():
            if tensor.is_floating_point():
                positive = name.endswith("running_var")
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if positive else torch.randn_like(tensor)
                )
    parameters = list(standing.parameters())
    x = torch.randn(2, 8, *shape, dtype=torch.double)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = standing(ours)
    expected = torch.stack([reference(standing.module, image) for image in theirs])
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(y)
    mine = torch.autograd.grad((y * weights).sum(), [ours, *parameters])
    others = torch.autograd.grad((expected * weights).sum(), [theirs, *parameters])
    for one, other in zip(mine, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)
