"""Mechanisms against references written from the equations: loops over images and channels.

They read a module's parameters and call none of its methods; outputs and gradients are compared.
"""

from functools import partial

import pytest
import torch
from torch import nn

from attn.modules import MECHANISMS
from attn.modules.aff import AFF
from attn.modules.cbam import ORDERS
from attn.modules.split import Split
from attn.tests.conftest import Standing, convolution


def sigmoid(x):
    return 1 / (1 + torch.exp(-x.clamp(-600, 600)))  # where exp is finite


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


def mscam(m, x):
    return context(m.weights, x) * x


def mlp(m, pooled):
    return linear([relu(h) for h in linear(pooled, m.mlp[0])], m.mlp[2])


def cbam_channel(m, x):
    logits = zip(mlp(m, means(x)), mlp(m, [channel.max() for channel in x]), strict=True)
    return torch.stack([sigmoid(a + b) for a, b in logits])[:, None, None]


def added(m, x):
    parts = zip(x, mlp(m, means(x)), mlp(m, [channel.max() for channel in x]), strict=True)
    return torch.stack([channel + a + b for channel, a, b in parts])


def cbam_spatial(m, x):
    pooled = [torch.stack(list(x)).amax(0), sum(x) / len(x)]
    kernel, half = m.conv.kernel_size[0], m.conv.kernel_size[0] // 2
    height, width = x.shape[1:]
    total = torch.zeros(height, width, dtype=x.dtype)
    for c, channel in enumerate(pooled):
        framed = torch.zeros(height + 2 * half, width + 2 * half, dtype=x.dtype)
        framed[half : half + height, half : half + width] = channel
        for i in range(kernel):
            for j in range(kernel):
                seen = framed[i : i + height, j : j + width]
                total = total + m.conv.weight[0, c, i, j] * seen
    return sigmoid(norm([total], m.bn)[0])


def cbam(m, x, order):
    first, second = cbam_channel, cbam_spatial
    parts = {first: m.channel, second: m.spatial}
    if order == "parallel":
        return first(m.channel, x) * second(m.spatial, x) * x
    if order == "spatial_channel":
        first, second = second, first
    y = first(parts[first], x) * x
    return second(parts[second], y) * y


def depthwise_split(m, x):
    """Channel c's splits are the outputs 2c and 2c + 1 of the convolution."""
    outputs = []
    for o in range(m.conv.out_channels):
        weight, channel = m.conv.weight[o, 0], x[o // m.radix]
        framed = torch.zeros(channel.shape[0] + 2, channel.shape[1] + 2, dtype=x.dtype)
        framed[1:-1, 1:-1] = channel
        outputs.append(
            sum(
                weight[i, j] * framed[i : i + channel.shape[0], j : j + channel.shape[1]]
                for i in range(3)
                for j in range(3)
            )
        )
    u = [relu(each).clamp(max=6) for each in norm(outputs, m.norm)]
    channels = len(u) // m.radix
    sums = [sum(u[c * m.radix + r] for r in range(m.radix)) for c in range(channels)]
    hidden = [relu(h) for h in norm(linear(means(sums), m.fc1), m.norm1)]
    logits = linear(hidden, m.fc2)
    result = []
    for c in range(channels):
        shares = torch.stack([logits[r * channels + c] for r in range(m.radix)]).softmax(0)
        result.append(sum(shares[r] * u[c * m.radix + r] for r in range(m.radix)))
    return torch.stack(result)


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


def eca(m, x):
    weight, pooled = m.conv.weight[0, 0], means(x)
    half = len(weight) // 2
    gated = []
    for c, channel in enumerate(x):
        near = [(i, c + i - half) for i in range(len(weight)) if 0 <= c + i - half < len(x)]
        gated.append(sigmoid(sum(weight[i] * pooled[other] for i, other in near)) * channel)
    return torch.stack(gated)


def simam(m, x):
    gated = []
    for channel in x:
        mean = means([channel])[0]
        variance = ((channel - mean) ** 2).sum() / (channel.numel() - 1)
        energy = (
            4 * (variance + m.strength) / ((channel - mean) ** 2 + 2 * variance + 2 * m.strength)
        )
        gated.append(sigmoid(1 / energy) * channel)
    return torch.stack(gated)


def gct(m, x):
    size = [((channel**2).sum() + 1e-5) ** 0.5 for channel in x]
    e = [m.alpha[0, c, 0, 0] * size[c] for c in range(len(x))]
    norm = (sum(value**2 for value in e) / len(e) + 1e-5) ** 0.5
    gates = [
        1 + torch.tanh(m.gamma[0, c, 0, 0] * e[c] / norm + m.beta[0, c, 0, 0])
        for c in range(len(x))
    ]
    return torch.stack([gate * channel for gate, channel in zip(gates, x, strict=True)])


def static(m, x):
    return torch.stack([sigmoid(m.weight[0, c, 0, 0]) * channel for c, channel in enumerate(x)])


def gain(m, x):
    total = sum(m.weight[0, c, 0, 0] ** 2 for c in range(len(x)))
    gains = [(len(x) / total) ** 0.5 * m.weight[0, c, 0, 0] for c in range(len(x))]
    return torch.stack([g * channel for g, channel in zip(gains, x, strict=True)])


def gc(m, x, fuse):
    (logits,) = linear(list(x), m.weights)
    shares = torch.exp(logits) / torch.exp(logits).sum()
    first, layer, _, second = m.transform
    hidden = torch.stack(linear([(shares * channel).sum() for channel in x], first))
    hidden = (hidden - hidden.mean()) / (hidden.var(unbiased=False) + layer.eps) ** 0.5
    hidden = hidden * layer.weight.flatten() + layer.bias.flatten()
    terms = linear([relu(h) for h in hidden], second)
    pairs = zip(terms, x, strict=True)
    return torch.stack([c + t if fuse == "add" else sigmoid(t) * c for t, c in pairs])


def near(x, extent):
    """Means of what is inside of the map and within the extent of every extent-th position."""
    _, height, width = x.shape
    result = x.new_zeros(len(x), -(-height // extent), -(-width // extent))
    for i in range(result.shape[1]):
        for j in range(result.shape[2]):
            rows = slice(max(0, (i - 1) * extent + 1), (i + 1) * extent)
            columns = slice(max(0, (j - 1) * extent + 1), (j + 1) * extent)
            result[:, i, j] = x[:, rows, columns].mean((1, 2))
    return result


def halved(x, conv):
    """A 3x3 depthwise convolution of stride 2, tap by tap."""
    _, height, width = x.shape
    framed = x.new_zeros(len(x), height + 2, width + 2)
    framed[:, 1:-1, 1:-1] = x
    result = x.new_zeros(len(x), -(-height // 2), -(-width // 2))
    for i in range(3):
        for j in range(3):
            seen = framed[:, i : i + height : 2, j : j + width : 2]
            result = result + conv.weight[:, 0, i, j, None, None] * seen
    return result


def gather_excite(m, x):
    if m.gather is None:
        z = near(x, m.extent) if m.extent else torch.stack(means(x))[:, None, None]
    else:
        z = x
        for conv, layer in zip(m.gather[::3], m.gather[1::3], strict=True):
            z = torch.stack(norm(list(halved(z, conv)), layer))
            last = layer is [*m.gather[1::3]][-1]
            z = z if last and isinstance(m.mlp, nn.Identity) else relu(z)  # before SE's layers too
    if isinstance(m.mlp, nn.Sequential):
        z = torch.stack(linear([relu(h) for h in linear(list(z), m.mlp[0])], m.mlp[2]))
    _, height, width = x.shape
    gated = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            source = i * z.shape[1] // height, j * z.shape[2] // width
            gated[:, i, j] = sigmoid(z[:, source[0], source[1]]) * x[:, i, j]
    return gated


def gsop_position(m, x, divisor):
    u = norm(linear(list(relu(x)), m.reduce), m.reduce_bn)
    _, height, width = x.shape

    def bins(outer, inner):  # of an adaptive average: from floor to ceiling
        return [(i * inner // outer, -(-(i + 1) * inner // outer)) for i in range(outer)]

    grid = [
        torch.stack([c[top:bottom, left:right].mean() for c in u])  # (D,)
        for top, bottom in bins(8, height)
        for left, right in bins(8, width)
    ]
    n = len(u) if divisor == "channels" else 64
    rows = [torch.stack([(a * b).sum() / n - a.sum() * b.sum() / n**2 for b in grid]) for a in grid]
    rows = norm(rows, m.covariance_bn)
    z = []
    for i, row in enumerate(rows):
        for k in range(4):
            z.append((m.rows.weight[4 * i + k, 0, :, 0] * row).sum() + m.rows.bias[4 * i + k])
    layer = m.excite
    logits = layer.weight[:, :, 0, 0] @ torch.stack([relu(value) for value in z]) + layer.bias
    gates = sigmoid(logits).view(8, 8)
    spread = torch.stack(
        [
            torch.stack([gates[t:b, left:right].mean() for left, right in bins(width, 8)])
            for t, b in bins(height, 8)
        ]
    )
    return relu(spread * x)


CASES = [
    ("eca", {}, eca),
    ("eca", {"kernel": 5}, eca),
    ("simam", {}, simam),
    ("simam", {"strength": 0.1}, simam),
    ("gct", {}, gct),
    ("gc", {}, partial(gc, fuse="add")),
    ("gc", {"fuse": "scale", "reduction": 2, "least": 2}, partial(gc, fuse="scale")),
    *[("gather_excite", {"extent": extent}, gather_excite) for extent in (0, 2, 4)],
    ("gather_excite", {"extent": 2, "learned": True}, gather_excite),
    ("gather_excite", {"extent": 8, "learned": True, "mlp": True, "reduction": 2}, gather_excite),
    ("gather_excite", {"mlp": True, "reduction": 2}, gather_excite),
    ("gsop_position", {}, partial(gsop_position, divisor="channels")),
    ("gsop_position", {"divisor": "positions"}, partial(gsop_position, divisor="positions")),
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
    ("bam", {"combine": "add", "bn": "output"}, lambda m, x: bam(m, x, "add")),
    ("cbam_channel", {}, lambda m, x: cbam_channel(m, x) * x),
    ("cbam_channel", {"reduction": 2}, lambda m, x: cbam_channel(m, x) * x),
    ("mlp", {"reduction": 2}, added),
    *[("cbam", {"order": order}, partial(cbam, order=order)) for order in ORDERS],
    ("cbam", {"kernel": 3, "spatial_bn": False}, partial(cbam, order="channel_spatial")),
    ("shuffle", {"groups": 2}, shuffle),
    ("shuffle", {}, shuffle),
    ("static", {}, static),
    ("gain", {}, gain),
    ("constant", {"value": 0.3}, lambda m, x: 0.3 * x),
]
ELSEWHERE = {  # held against timm, the authors' code in words, or the mechanism that they share
    *("se", "sk", "split", "coord", "random"),
}


def test_every_mechanism_is_held_against_its_equation():
    assert {mechanism for mechanism, _, _ in CASES} | ELSEWHERE == set(MECHANISMS)


@pytest.mark.parametrize("shape", [(5, 6), (30, 29)], ids=str)
@pytest.mark.parametrize(("mechanism", "changes", "reference"), CASES)
def test_outputs_and_gradients_are_the_equations(mechanism, changes, reference, shape):
    check(Standing(mechanism, 8, **changes), reference, shape)


def test_the_gate_of_aff_alone_is_ms_cam():
    check(Wrapped(AFF.at_end(8, 4)), mscam, (5, 6))


def test_split_attention_of_a_depthwise_convolution():
    replaced = convolution(8, groups=8, activation=nn.ReLU6)
    check(Wrapped(Split(replaced)), depthwise_split, (5, 6))


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def check(standing, reference, shape):
    """Equal outputs and gradients, in float64, with every parameter and statistic drawn anew."""
    torch.manual_seed(0)
    standing = standing.double().eval()
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
