"""Kernels of our own against torch's in double precision, and random numbers to the bit."""

import copy
import errno
import itertools
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attn.backbones import BACKBONES
from attn.compute.kernels import layers
from attn.compute.kernels import library as kernels
from attn.compute.kernels.layers import Depthwise, Norm, Pointwise, fuse
from attn.draws import uniform

# The last has more rows, 800, than a block of the normalisation's sums holds.
SHAPES = [(4, 16, 7, 9), (3, 24, 8, 8), (2, 960, 2, 2), (5, 8, 1, 1), (2, 8, 1, 5), (2, 16, 20, 20)]
LAYERS = {
    "norm": lambda c: nn.Sequential(nn.BatchNorm2d(c)),
    "norm and ReLU": lambda c: nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True)),
    "norm and ReLU6": lambda c: nn.Sequential(nn.BatchNorm2d(c), nn.ReLU6(inplace=True)),
    "depthwise": lambda c: nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, groups=c, bias=False)),
    "depthwise, stride 2": lambda c: nn.Sequential(nn.Conv2d(c, c, 3, 2, 1, groups=c, bias=False)),
    "pointwise": lambda c: nn.Sequential(nn.Conv2d(c, 40, 1, bias=False)),
    "pointwise, bias": lambda c: nn.Sequential(nn.Conv2d(c, 40, 1)),
}


def test_there_are_kernels_here():
    """They are optional for a user and not for the tests, whose machines have a compiler."""
    assert not kernels.why_missing()


def outcome(layer, x):
    """The output of a layer, its gradients by x and by its parameters, and its buffers after it."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 2, y.numel()).sin().bfloat16().view(y.shape)
    (y.double() * weights).sum().backward()
    parameters = {name: p.grad for name, p in layer.named_parameters()}
    buffers = {n: b for n, b in layer.named_buffers() if n.startswith("0.running")}
    return {"y": y.detach(), "x": x.grad, **parameters, **buffers}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_torchs_gives_in_double(name, shape):
    torch.manual_seed(0)
    layer = LAYERS[name](shape[1])
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0.5)
    x = (3 + 2 * torch.randn(shape)).contiguous(memory_format=torch.channels_last)
    exact = outcome(copy.deepcopy(layer).double(), x.double())
    assert fuse(layer)
    assert isinstance(layer[0], Norm | Depthwise | Pointwise)
    assert len([m for m in layer if not isinstance(m, nn.Identity)]) == 1
    close(outcome(layer, x), exact, 2e-5)


def close(found, exact, tolerance):
    for what, value in found.items():
        scale = exact[what].abs().max().clamp_min(1e-3)
        assert ((value - exact[what]).abs().max() / scale) < tolerance, what


@pytest.mark.parametrize(
    "shape", [(4, 16, 7, 9), (3, 32, 8, 8), (2, 960, 2, 2), (2, 48, 1, 5)], ids=str
)
@pytest.mark.parametrize(
    ("name", "amx"),
    [(name, amx) for name in LAYERS for amx in (False, True) if not amx or "pointwise" in name],
)
def test_under_autocast_a_layer_is_that_of_bfloat16(monkeypatch, name, shape, amx):
    """Maps are rounded to 8 bits; sums are not, and weights of single channels are not."""
    monkeypatch.setattr(layers, "has_amx", lambda: amx)
    torch.manual_seed(0)
    layer = LAYERS[name](shape[1])
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0.5)
    x = (3 + 2 * torch.randn(shape)).bfloat16().contiguous(memory_format=torch.channels_last)
    exact = outcome(copy.deepcopy(layer).double(), x.double())
    assert fuse(layer)
    with torch.autocast("cpu", torch.bfloat16):
        found = outcome(layer, x)
    assert found["y"].dtype == found["x"].dtype == torch.bfloat16
    close(found, exact, 1e-2)
    if "norm" in name:
        close({n: found[n] for n in ("0.weight", "0.bias", "0.running_mean")}, exact, 1e-5)


@pytest.mark.parametrize(("amx", "avx512"), [(True, True), (False, False), (False, True)])
def test_every_way_of_a_pointwise_convolution(monkeypatch, amx, avx512):
    """Which of them a processor takes depends on its matrices and its vectors."""
    monkeypatch.setattr(layers, "has_amx", lambda: amx)
    monkeypatch.setattr(layers, "_has_avx512", lambda: avx512)
    for shape, name in itertools.product(SHAPES, LAYERS):
        if name.startswith("pointwise"):
            test_a_layer_gives_what_torchs_gives_in_double(name, shape)


@pytest.mark.parametrize("name", LAYERS)
def test_what_the_kernels_cannot_take_is_torchs(monkeypatch, name):
    """They had read other types as if they were float32, beyond the end of the memory."""
    monkeypatch.setattr(layers, "has_amx", lambda: False)
    torch.manual_seed(0)
    for channels, given in ((16, torch.float64), (16, torch.float16), (24, torch.bfloat16)):
        plain, x = LAYERS[name](channels), torch.randn(4, channels, 7, 9).to(given)
        if given == torch.float64:
            plain = plain.double()
        fused = copy.deepcopy(plain)
        assert fuse(fused)
        with torch.autocast("cpu", given, enabled=given != torch.float64):
            same(outcome(fused, x), outcome(plain, x))


def same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[what], expected[what]) for what in expected)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet20", "resnet50"])
def test_a_network_keeps_its_keys_and_its_evaluation(backbone):
    torch.manual_seed(0)
    plain = BACKBONES[backbone](num_classes=10)
    fused = copy.deepcopy(plain)
    assert fuse(fused)
    kinds = {type(module) for module in fused.modules()}
    assert Norm in kinds and nn.ReLU6 not in kinds
    assert list(fused.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(fused.eval()(x), plain.eval()(x))


def test_what_has_no_kernel_stays_as_it_is():
    others = [
        nn.BatchNorm2d(12),
        nn.BatchNorm2d(16, affine=False),
        nn.BatchNorm2d(16, momentum=None),
        nn.BatchNorm2d(16, track_running_stats=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False, padding_mode="reflect"),
        nn.Conv2d(16, 16, 1, padding_mode="circular"),
        nn.Conv2d(16, 16, 1, stride=2, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16, bias=False),
        nn.Conv2d(16, 32, 3, padding=1, groups=16, bias=False),
    ]
    kinds = [type(module) for module in others]
    network = nn.ModuleList([*others, nn.Sequential(nn.BatchNorm2d(12), nn.ReLU())])
    assert not fuse(network)
    assert [type(module) for module in others] == kinds
    assert type(network[-1][1]) is nn.ReLU


def test_a_number_that_is_none_is_passed_on():
    norm = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU6())
    fuse(norm)
    x = torch.zeros(2, 8, 2, 2)
    x[0, 0, 0, 0] = float("nan")
    assert norm(x)[:, 0].isnan().all()
    assert not norm(x)[:, 1:].isnan().any()


def test_rounding_to_bfloat16_makes_no_number_of_what_is_none():
    """Where all its bits are set, rounding up had made -0 of it."""
    norm = nn.Sequential(nn.BatchNorm2d(16))
    fuse(norm)
    norm[0].weight.data.view(torch.int32)[3] = 0x7FFFFFFF
    y = norm(torch.randn(2, 16, 2, 2).bfloat16())
    assert y[:, 3].isnan().all() and y.isnan().sum() == 8


def test_one_value_a_channel_is_refused_as_torch_refuses_it():
    norm = nn.Sequential(nn.BatchNorm2d(8))
    fuse(norm)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.zeros(1, 8, 1, 1))


def test_random_numbers_are_the_same_to_the_bit():
    samples = torch.tensor([0, 7, 49_999, 2**32 - 1])
    seeds, epochs, purposes, counts = (0, 3, 2**32 - 1), (0, 199), (0, 1, 5), (1, 6, 3072)
    for seed, epoch, purpose, count in itertools.product(seeds, epochs, purposes, counts):
        ours = uniform(seed, torch.tensor(epoch), samples, purpose, count)
        with kernels.without_kernels():
            theirs = uniform(seed, torch.tensor(epoch), samples, purpose, count)
        assert torch.equal(ours, theirs)


@pytest.fixture
def fresh():
    """Forgets what was compiled, before and after a test that compiles in another way."""
    kernels.why_missing.cache_clear()
    kernels._load.cache_clear()
    yield
    kernels.why_missing.cache_clear()
    kernels._load.cache_clear()


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("false", "could not compile"),
        ("broken", "cc: error: no such library"),
        ("no-such-compiler", "no C compiler"),
    ],
)
def test_without_a_compiler_torchs_kernels_train(fresh, monkeypatch, tmp_path, compiler, reason):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'cc: error: no such library' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", compiler)
    known = {"false": "false", "broken": str(broken)}
    monkeypatch.setattr(kernels.shutil, "which", known.get)
    assert reason in kernels.why_missing()
    network = BACKBONES["resnet20"](num_classes=10)
    assert not fuse(network)
    assert F.cross_entropy(network(torch.randn(2, 3, 8, 8)), torch.tensor([0, 1])).isfinite()


@pytest.mark.parametrize("refused", [("__pycache__",), ("__pycache__", "caches")], ids=len)
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_no_obstacle(
    fresh, monkeypatch, tmp_path, code, refused
):
    def refuse(compiler, flags, path, compile=kernels._compile):
        if any(name in path.parts for name in refused):
            raise OSError(code, os.strerror(code), str(path))
        return compile(compiler, flags, path)

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(kernels, "_compile", refuse)
    monkeypatch.setenv("HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(kernels.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "temporary"))
    assert not kernels.why_missing()
    used = tmp_path / ("temporary" if "caches" in refused else "caches/.cache/attn")
    assert [path.suffix for path in used.iterdir()] == [".so", ".so"]


@pytest.mark.parametrize("shape", [(2, 16, 4, 4), (8, 4, 4)])
def test_maps_of_another_shape_are_refused_as_torch_refuses_them(shape):
    """The kernels would read and write beyond the statistics of eight channels."""
    plain, layer = nn.BatchNorm2d(8), nn.Sequential(nn.BatchNorm2d(8))
    assert fuse(layer)
    for module in (plain, layer):
        with pytest.raises((RuntimeError, ValueError), match=r"should contain 16|expected 4D"):
            module(torch.randn(shape))
