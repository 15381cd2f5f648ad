"""What holds of every mechanism in configs/attention, whatever its equation."""

import re

import pytest
import torch
from torch import nn

from attn.config.catalogue import choices
from attn.evidence.collect import PARTS
from attn.modules import MECHANISMS
from attn.modules.cbam import POOLS
from attn.network.scores import Scores, ScoreStatistics, is_logits, record
from attn.tests.conftest import Standing

NAMES = sorted(set(choices("attention")) - {"none"})
CHANNELS = 32
SHARES = ("sk", "split")


@pytest.fixture(params=NAMES)
def name(request):
    torch.manual_seed(0)
    return request.param


def stirred(*args, **changes):
    """A mechanism whose every parameter and statistic is random: none stays at 0 or 1."""
    module = Standing(*args, **changes)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low = 0.5 if key.endswith("running_var") else -0.5
                tensor.copy_(torch.rand_like(tensor) + low)
    return module


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def scored(module, x):
    with torch.no_grad(), record(module) as scores:
        return module(x), dict(scores)


def test_every_mechanism_has_a_yaml_and_a_docstring_that_says_what_its_score_means():
    assert set(MECHANISMS) == set(NAMES)
    for kind in MECHANISMS.values():
        assert re.search(r"Scores?: ", kind.__doc__), kind


UNSCORED = {"mlp"}  # it multiplies by nothing


def test_outputs_keep_the_shape_of_inputs_that_are_not_square(name):
    module, x = Standing(name, CHANNELS), images(3, CHANNELS, 7, 12)
    assert module(x).shape == x.shape
    y, scores = scored(module.eval(), x[:1])  # a batch of one
    assert y.shape == (1, CHANNELS, 7, 12) and y.isfinite().all()
    shapes = {(1, CHANNELS, 1, 1), (1, 1, 7, 12), (1, CHANNELS, 7, 12), (1, 2, CHANNELS)}
    sides = {(1, CHANNELS, 7, 1), (1, CHANNELS, 1, 12)}
    assert bool(scores) == (name not in UNSCORED)
    assert {tuple(score.shape) for score in scores.values()} <= shapes | sides


def test_scores_lie_between_zero_and_one_and_shares_add_up(name):
    _, scores = scored(Standing(name, CHANNELS), images(4, CHANNELS, 9, 9))
    gates = {n: s for n, s in scores.items() if not n.endswith("_logits")}
    assert all(score.min() > 0 and score.max() < 1 for score in gates.values())
    if name in SHARES:
        torch.testing.assert_close(scores["module"].sum(1), torch.ones(4, CHANNELS))
    statistics = ScoreStatistics()
    statistics.add(scores)
    for mean, sd, saturated in statistics.summary().values():
        assert mean.shape == sd.shape == saturated.shape and mean.shape[0] in (1, CHANNELS)


def test_every_score_has_a_name_that_the_report_knows(name):
    module = Standing(name, CHANNELS)
    markers = {n.rpartition(".")[2] for n, m in module.named_modules() if isinstance(m, Scores)}
    assert bool(markers) == (name not in UNSCORED)
    assert all(m == "scores" or m in PARTS or is_logits(m) for m in markers)


def test_recording_changes_nothing_and_leaves_nothing(name):
    module, x = Standing(name, CHANNELS).eval(), images(2, CHANNELS, 8, 8)
    before = module(x)
    y, _ = scored(module, x)
    assert y.equal(before)
    assert not any(m._forward_hooks for m in module.modules())


def test_autocast_stays_finite_and_near_fp32(name):
    module, x = stirred(name, CHANNELS).eval(), images(8, CHANNELS, 6, 6).bfloat16()
    exact, expected = scored(module, x.float())
    with torch.autocast("cpu", torch.bfloat16):
        lowered, scores = scored(module, x)
    assert lowered.isfinite().all()
    torch.testing.assert_close(lowered.float(), exact, rtol=0.03, atol=0.06)
    for score in scores:
        # Shares follow bf16 convolutions, CBAM's spatial part a product that was rounded to bf16.
        tolerance = 0.02 if name in SHARES or score == "module.spatial" else 1e-5
        torch.testing.assert_close(scores[score], expected[score], rtol=0, atol=tolerance)


def test_channels_last_gives_the_same_and_stays_so(name):
    module, x = stirred(name, CHANNELS), images(4, CHANNELS, 6, 10)
    twin = Standing(name, CHANNELS).to(memory_format=torch.channels_last)
    twin.load_state_dict(module.state_dict())
    y = twin(x.contiguous(memory_format=torch.channels_last))
    if name not in ("sk", "shuffle"):  # which stack or interleave channels in memory
        assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, module(x), rtol=1e-4, atol=1e-5)


def test_gradients_are_right(name):
    module = stirred(name, 4).double().eval()
    x = images(2, 4, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(module, (x,))


def test_a_single_position_is_no_trouble(name):
    y, scores = scored(Standing(name, CHANNELS).eval(), images(1, CHANNELS, 1, 1))
    assert y.isfinite().all() and all(score.isfinite().all() for score in scores.values())


# What multiplies the features, where it is not the score alone.
FACTORS = {"bam": lambda s: 1 + s, "gct": lambda s: 2 * s}
# They replace, add, fuse, interleave or rectify, or multiply by what they do not record alone.
NOT_ONE_GATE = {"sk", "split", "aff", "iaff", "shuffle", "gc", "mlp", "gsop_position", "gain"}
NOT_ONE_GATE |= {"scse", "sse", "cbam"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_ONE_GATE))
def test_what_is_applied_is_what_is_recorded(name):
    """In bf16 too the gate is not rounded before it multiplies."""
    torch.manual_seed(0)
    module, x = stirred(name, CHANNELS).eval(), images(4, CHANNELS, 6, 6).bfloat16()
    y, scores = scored(module, x)
    factor = FACTORS.get(name, lambda s: s)(scores["module"])
    assert y.equal((x * factor).bfloat16())


@pytest.mark.parametrize("pool", POOLS)
def test_gradients_of_every_pooling_are_right(pool):
    torch.manual_seed(0)
    module = Standing("cbam_channel", 3, pools=pool).double()
    assert torch.autograd.gradcheck(module, (images(2, 3, 3, 2).double().requires_grad_(),))
    zeros = torch.zeros(1, 3, 4, 4, dtype=torch.double, requires_grad=True)
    module(zeros).sum().backward()
    assert zeros.grad.isfinite().all()


def test_the_poolings_are_their_formulas():
    ones, zeros, sixes = (
        torch.ones(1, 1, 4, 4),
        torch.zeros(1, 1, 7, 7),
        torch.full((1, 1, 112, 112), 6.0),
    )
    lp, lse = POOLS["lp"], POOLS["lse"]
    assert lp(ones, (2, 3)).item() == 4.0 and lp(sixes, (2, 3)).item() == pytest.approx(672)
    assert lse(zeros, (2, 3)).item() == pytest.approx(3.8918, abs=1e-4)
    for pool in POOLS.values():
        assert pool(ones.bfloat16(), (2, 3)).dtype == torch.float32


PIXELS = ("se", "cse", "gsop", "cbam_channel", "static", "random", "eca", "gct", "gather_excite")


@pytest.mark.parametrize("name", PIXELS)
def test_channel_gates_ignore_the_order_of_pixels(name):
    module, x = stirred(name, CHANNELS).eval(), images(2, CHANNELS, 6, 6)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(2))
    mixed = x.flatten(2)[..., order].view_as(x)
    one, other = scored(module, x)[1], scored(module, mixed)[1]
    torch.testing.assert_close(one["module"], other["module"], rtol=1e-5, atol=1e-6)
    assert one["module"].std() > 0


@pytest.mark.parametrize("name", ["sse", "coord"])
def test_maps_follow_the_pixels(name):
    module, x = Standing(name, CHANNELS).eval(), images(2, CHANNELS, 6, 6)
    key = "module.spatial" if name == "sse" else "module"
    one, other = scored(module, x)[1][key], scored(module, x.flip(2))[1][key]
    torch.testing.assert_close(one.flip(2), other)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", ["se", "cbam_channel", "static"])
def test_at_the_end_a_gate_acts_on_the_pooled_features(name):
    module, x = Standing(name, CHANNELS), images(2, CHANNELS, 4, 4)
    y, scores = scored(module, x)
    torch.testing.assert_close(y.mean((2, 3)), scores["module"][..., 0, 0] * x.mean((2, 3)))


def test_what_gates_are_at_first():
    x = images(4, CHANNELS, 6, 6)
    _, scores = scored(Standing("shuffle", CHANNELS), x)
    assert scores["module"].allclose(torch.sigmoid(torch.ones(())))  # 0.7311
    _, scores = scored(Standing("static", CHANNELS), x)
    assert scores["module"].eq(0.5).all()
    _, scores = scored(Standing("cbam", CHANNELS), x)
    assert scores["module.spatial"].eq(0.5).all()
    y, scores = scored(Standing("gct", CHANNELS), x)
    assert scores["module"].eq(0.5).all() and y.equal(x)
    y, scores = scored(Standing("gc", CHANNELS), x)
    assert y.equal(x)
    torch.testing.assert_close(scores["module.position_shares"].sum((2, 3)), torch.ones(4, 1))
    _, scores = scored(Standing("gc", CHANNELS, fuse="scale"), x)
    assert scores["module"].eq(0.5).all()
    y, scores = scored(Standing("gain", CHANNELS), x)
    assert scores["module.shares"].allclose(torch.tensor(1 / CHANNELS)) and y.equal(x)
    _, scores = scored(Standing("simam", CHANNELS), x)
    assert scores["module"].min() >= torch.sigmoid(torch.tensor(0.5))  # 0.6225


def test_aff_with_equal_shares_is_the_plain_addition():
    module, x = Standing("aff", CHANNELS), images(4, CHANNELS, 6, 6)
    for sequence in (module.module.weights.local_context, module.module.weights.global_context):
        nn.init.zeros_(sequence[-1].weight)
    torch.testing.assert_close(module(x), x + x.flip(1))


def test_gains_have_a_fixed_total_and_their_shares_add_up():
    module, x = stirred("gain", CHANNELS), images(3, CHANNELS, 5, 6)
    y, scores = scored(module, x)
    gains = (y / x)[0, :, 0, 0]
    torch.testing.assert_close(gains.square().sum(), torch.tensor(float(CHANNELS)))
    torch.testing.assert_close(scores["module.shares"][0, :, 0, 0], gains.square() / CHANNELS)
    statistics = ScoreStatistics()
    statistics.add(scores)
    assert statistics.summary()["module.shares"][2].isnan().all()  # a share is never saturated


def test_bam_never_suppresses():
    x = images(4, CHANNELS, 6, 6).abs()
    ratio = Standing("bam", CHANNELS)(x) / x
    assert ratio.min() > 1 and ratio.max() < 2


def test_shuffle_reports_its_gates_in_the_order_of_its_input():
    """A gate that is nearly closed for one channel belongs to that channel of the input."""
    module, x = Standing("shuffle", 8, groups=2), images(1, 8, 5, 5)
    with torch.no_grad():
        module.module.channel_bias.copy_(torch.tensor([-9.0, 9.0]).view(1, 2, 1, 1))
    y, scores = scored(module, x)
    means = scores["module"].mean((0, 2, 3))
    assert (means < 0.01).nonzero().flatten().tolist() == [0, 4]
    gated = x * scores["module"]
    interleaved = [gated[:, 4 * (i % 2) + i // 2] for i in range(8)]
    torch.testing.assert_close(y, torch.stack(interleaved, 1))


def test_the_random_gate_has_nothing_that_learns():
    module = Standing("random", CHANNELS)
    assert not any(parameter.requires_grad for parameter in module.parameters())
    shapes = [p.shape for p in Standing("cbam_channel", CHANNELS).parameters()]
    assert [p.shape for p in module.parameters()] == shapes


def test_splits_of_a_depthwise_convolution_each_see_their_own_channel():
    """A change of one input channel changes that output channel's splits and no other's."""
    from attn.modules.split import Split
    from attn.tests.conftest import convolution

    torch.manual_seed(0)
    module = Split(convolution(8, groups=8, activation=nn.ReLU6)).eval()
    assert isinstance(module.activation, nn.ReLU6)
    x = images(1, 8, 6, 6)
    changed = x.clone()
    changed[:, 3] += 1
    splits = [module._splits(module.conv(each)) for each in (x, changed)]
    different = (splits[0] - splits[1]).abs().amax((0, 1, 3, 4)) > 1e-6
    assert different.nonzero().flatten().tolist() == [3]


WRONG = [
    ("se", {"reduction": 0}, r"reduction=0 is below 1"),
    ("cse", {"reduction": -1}, r"reduction=-1 is below 1"),
    ("sk", {"reduction": 0}, r"reduction=0 is below 1"),
    ("bam", {"reduction": 0}, r"reduction=0 is below 1"),
    ("aff", {"reduction": 0}, r"reduction=0 is below 1"),
    ("iaff", {"reduction": 0}, r"reduction=0 is below 1"),
    ("coord", {"reduction": 0}, r"reduction=0 is below 1"),
    ("cbam", {"kernel": 4}, r"kernel=4 has no centre; choose an odd one"),
    ("cbam", {"pools": "avg+min"}, r"pools=min: .* avg, max, lp, lse"),
    ("cbam", {"order": "both"}, r"order=both: .* parallel"),
    ("scse", {"combine": "mean"}, r"combine=mean: choose one of max, sum"),
    ("bam", {"combine": "max"}, r"combine=max: choose one of mul, add"),
    ("bam", {"bn": "all"}, r"bn=all: choose one of hidden, output"),
    ("bam", {"dilation": 0}, r"dilation=0 is below 1"),
    ("cbam", {"pools": "avg+avg"}, r"pools=avg\+avg has one twice"),
    ("coord", {"least": 0}, r"least=0 is below 1"),
    ("sk", {"least": 0}, r"least=0 is below 1"),
    ("scse", {"reduction": 0}, r"reduction=0 is below 1"),
    ("split", {"reduction": 0}, r"reduction=0 is below 1"),
    ("random", {"reduction": 0}, r"reduction=0 is below 1"),
    ("gsop", {"width": 0}, r"width=0 is below 1"),
    ("shuffle", {"groups": 0}, r"groups=0 is below 1"),
    ("split", {"radix": 0}, r"radix=0 is below 1"),
    ("split", {"radix": 3}, r"radix=3 times cardinality=1 does not divide"),
    ("split", {"cardinality": 5}, r"radix=2 times cardinality=5 does not divide"),
    ("eca", {"kernel": 4}, r"kernel=4: choose an odd number, or 0"),
    ("eca", {"kernel": -1}, r"kernel=-1: choose an odd number"),
    ("simam", {"strength": 0.0}, r"strength=0.0: it must be above 0"),
    ("simam", {"strength": float("inf")}, r"strength=inf: it must be above 0, and finite"),
    ("gc", {"fuse": "mul"}, r"fuse=mul: choose one of add, scale"),
    ("gc", {"least": 0}, r"least=0 is below 1"),
    ("gather_excite", {"extent": 3}, r"extent=3: choose 0, .*, or 2, 4, 8"),
    ("gather_excite", {"learned": True}, r"extent=0 with learned=true"),
    ("gather_excite", {"reduction": 0}, r"reduction=0 is below 1"),
    ("gsop_position", {"width": 0}, r"width=0 is below 1"),
    ("gsop_position", {"divisor": "width"}, r"divisor=width: choose one of channels, positions"),
]


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_wrong_numbers_are_refused_with_the_choices(name, changes, message):
    with pytest.raises(ValueError, match=message):
        Standing(name, CHANNELS, **changes)


def test_split_refuses_a_cardinality_that_does_not_divide_its_hidden_width():
    with pytest.raises(ValueError, match="cardinality=5 does not divide the hidden width 32"):
        Standing("split", 40, cardinality=5)


def test_shuffle_refuses_an_odd_number_of_channels():
    with pytest.raises(ValueError, match="it halves the channels; choose a place"):
        Standing("shuffle", 3)
