"""Backbones, seams, places and what the variants of one seed share."""

import itertools

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from attn.backbones import BACKBONES
from attn.config.check import Impossible
from attn.config.sweep import configuration
from attn.draws import Draws
from attn.modules import MECHANISMS
from attn.modules.aff import MSCAM
from attn.modules.gc import GlobalContext
from attn.names import ENDS, INSIDE, of_input_channels
from attn.network.build import build, count
from attn.network.place import places
from attn.network.scores import ScoreStatistics, by_channel, record

BATCH = 2
KINDS = ("resnet20", "resnet50", "mobilenet_v2")  # the shallowest of each kind of block


def images(channels=3, size=64):
    return torch.rand(BATCH, channels, size, size, generator=torch.Generator().manual_seed(0))


def randomised(network):
    """Weights and statistics that no initialisation gives, so that equality says something."""
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
    return network.eval()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_an_empty_network_is_torchvisions(name):
    """Keys, outputs bit for bit in evaluation, and what pretrained weights ask for: loading."""
    theirs = randomised(getattr(torchvision.models, name)(weights=None))
    ours = BACKBONES[name]().eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert ours(images()).equal(theirs(images()))


def test_resnet20_is_built_of_torchvisions_blocks():
    ours = randomised(BACKBONES["resnet20"](num_classes=10))

    def stage(inside, width, stride):
        shortcut = None
        if inside != width:
            shortcut = nn.Sequential(
                nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        blocks = [BasicBlock(inside, width, stride, shortcut)]
        return [*blocks, *(BasicBlock(width, width) for _ in range(2))]

    theirs = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *stage(16, 16, 1),
        *stage(16, 32, 2),
        *stage(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()
    weights = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.load_state_dict(weights)
    torch.testing.assert_close(ours(images(size=32)), theirs(images(size=32)))


def test_the_posts_networks_have_its_counts():
    """Attention at last without a bottleneck adds 3,279,360 parameters."""
    last = configuration("location=last")
    assert count(build(last, 0), last)["parameters"] == 2_236_682 + 3_279_360
    noise = configuration("location=none", "data=rgb_noise")
    assert count(build(noise, 0), noise)["parameters"] == 2_237_546
    short = configuration("recipe=short", "location=none")  # as its published runs.csv has it
    assert count(build(short, 0), short)["multiply_adds"] == 24_461_312


@pytest.mark.parametrize("backbone", KINDS)
def test_variants_of_a_seed_share_every_weight_that_they_can(backbone):
    def weights(*overrides, seed=0):
        return build(configuration(f"backbone={backbone}", *overrides), seed).state_dict()

    plain = weights("location=none")
    stem = next(iter(plain))
    variants = [
        weights("location=first"),
        weights("location=last"),
        weights("location=none", "data=rgb_noise"),
        weights("location=first", "data=rgb_noise"),
    ]
    for variant in variants:
        for name, weight in plain.items():
            shared = variant[name][:, :3] if name == stem else variant[name]
            assert shared.equal(weight), name
        added = variant.keys() - plain.keys()
        assert all(name.startswith("seams.") for name in added)
    six, also_six = variants[2], variants[3]
    assert six[stem].shape[1] == 6 and six[stem].equal(also_six[stem])
    for words in (["location=none"], ["location=first", "data=rgb_noise"], ["location=last"]):
        own, other = weights(*words), weights(*words, seed=1)
        drawn = [name for name in own if own[name].ndim > 1]
        assert any(name.startswith("seams.") for name in drawn) == (words != ["location=none"])
        assert not any(own[name].equal(other[name]) for name in drawn)


def attention_of(network):
    """{name: mechanism} of everything that fills a seam."""
    kinds = (*MECHANISMS.values(), MSCAM)
    return {n: m for n, m in network.named_modules() if isinstance(m, kinds)}


def wake(network):
    """Positive biases and gains in the attention, so that gradients reach every parameter.

    As initialised, a hidden width of 1 may be a dead ReLU, and CBAM's spatial gain is 0.
    """
    for module in attention_of(network).values():
        for parameter in module.parameters():
            if parameter.ndim == 1 or not parameter.any():
                nn.init.ones_(parameter)


def taken_out(network, name):
    """Whether a parameter is a bias that a norm or a softmax behind it takes out again.

    In a block of MobileNetV2, behind GC come a 1x1 convolution and a norm. GC's biases add the same
    to every image while none of its hidden units is cut off, and their gradient is rounding, or
    zero on some CPUs.
    """
    owner, _, kind = name.rpartition(".")
    parent = owner.rpartition(".")[0]
    around = network.get_submodule(parent.removesuffix(".transform"))
    if kind == "bias" and isinstance(around, GlobalContext):
        mobilenet = isinstance(network, torchvision.models.MobileNetV2)
        return name.endswith(".weights.bias") or (mobilenet and ".seams.refine." in name)
    siblings = list(network.get_submodule(parent).children())
    position = siblings.index(network.get_submodule(owner))
    after = siblings[position + 1 : position + 2]
    return kind == "bias" and bool(after) and isinstance(after[0], nn.BatchNorm2d)


# Scores beside the main one: CBAM's two are two mechanisms.
SCORES = {"cbam": 2, "scse": 2, "bam": 3, "coord": 3, "iaff": 2, "mlp": 0}


def impossible(attention, location, data):
    replaces = MECHANISMS[attention].seam == "conv" and location in ENDS
    return replaces or (attention, location, data) == ("shuffle", "first", "rgb")


def cells():
    """Everything at every place; only at `first` does noise change more than the stem.

    In ResNet-50 a mechanism in every block takes seconds; in a block of each stage it stands too.
    """
    for cell in itertools.product(KINDS, MECHANISMS, (*ENDS, *INSIDE), ("rgb", "rgb_noise")):
        backbone, _, location, data = cell
        same = data == "rgb_noise" and location != "first"
        long = (backbone, location) == ("resnet50", "per_block")
        yield pytest.param(*cell, marks=[pytest.mark.slow] if same or long else [])


@pytest.mark.parametrize(("backbone", "attention", "location", "data"), list(cells()))
def test_every_cell_runs_trains_and_is_recorded(backbone, attention, location, data):
    words = f"attention={attention}", f"location={location}", f"data={data}"
    if impossible(attention, location, data):
        with pytest.raises(Impossible):
            configuration(f"backbone={backbone}", *words)
        return
    config = configuration(f"backbone={backbone}", *words)
    draws = Draws(0)
    network = build(config, 0, draws)
    wake(network)
    x = images(config.in_channels)
    draws.at(0, torch.arange(BATCH))
    network.train()(x).logsumexp(1).sum().backward()
    for n, p in network.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and (p.grad.any() or taken_out(network, n)), n
    network.eval()
    plain = network(x)
    with record(network) as scores:
        assert network(x).equal(plain)
    assert not any(module._forward_hooks for module in network.modules())
    gate_only = attention == "iaff" and location in ENDS
    filled = places(network, location, MECHANISMS[attention].seam)
    assert len(scores) == len(filled) * (1 if gate_only else SCORES.get(attention, 1))
    names = attention_of(network)
    for name, score in scores.items():
        assert any(name == n or name.startswith(f"{n}.") for n in names), name
        assert score.shape[0] == BATCH and score.isfinite().all()


@pytest.mark.parametrize("attention", sorted(MECHANISMS))
def test_what_counts_as_a_score_of_input_channels_has_one_for_each(attention):
    words = ("backbone=resnet20", f"attention={attention}", "location=first", "data=rgb_noise")
    if impossible(attention, "first", "rgb_noise"):
        with pytest.raises(Impossible):
            configuration(*words)
        return
    network = build(configuration(*words), seed=0).eval()
    with torch.no_grad(), record(network) as scores:
        network(torch.randn(2, 6, 32, 32))
    found = [name for name in scores if of_input_channels(name)]
    assert bool(found) == (attention not in ("gc", "gsop_position", "sse", "mlp"))
    for name in found:
        assert by_channel(scores[name]).shape == (2, 6), name


@pytest.mark.parametrize("words", [["blocks=[5]"], ["stages=[2]"], ["location=per_stage"]])
def test_a_block_starts_from_the_same_values_whatever_other_blocks_have(words):
    plain = ("backbone=resnet20", "attention=se", "location=per_block")
    every = build(configuration(*plain), seed=3).state_dict()
    some = build(configuration(*plain, *words), seed=3).state_dict()
    assert any(".seams." in name for name in some)
    assert all(every[name].equal(value) for name, value in some.items())


@pytest.mark.parametrize("backbone", KINDS)
def test_a_gate_of_one_gives_the_plain_network(backbone):
    plain = build(configuration(f"backbone={backbone}", "location=none"), 0).eval()
    gated = build(configuration(f"backbone={backbone}", "location=first"), 0).eval()
    with torch.no_grad():
        gated.seams.input.mlp[2].bias.fill_(100.0)  # sigmoid(200) is 1 in float32
    assert gated(images()).equal(plain(images()))


def test_score_statistics_are_those_of_all_images():
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(10, 4, 3, 3, generator=generator)
    statistics = ScoreStatistics()
    for part in scores.split(4):
        statistics.add({"a": part})
    mean, sd, saturated = statistics.summary()["a"]
    values = scores.double().mean((2, 3))
    torch.testing.assert_close(mean, values.mean(0))
    torch.testing.assert_close(sd, values.std(0))
    near = ((scores < 0.05) | (scores > 0.95)).double().mean((0, 2, 3))
    torch.testing.assert_close(saturated, near)
    assert 0.05 < near.mean() < 0.15


def test_building_leaves_the_callers_generators_as_they_were():
    """Also that of a GPU, which torch.manual_seed would set without giving it back."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's is set"))
        build(configuration("backbone=resnet20", "attention=se", "data=rgb_noise"), seed=0)
    assert torch.rand(3).equal(expected)
