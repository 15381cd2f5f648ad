"""Frozen gates: by hooks of the test's own, on controls where nothing is lost, and folded."""

import copy

import pytest
import torch

from attn.config.catalogue import choices
from attn.config.sweep import configuration
from attn.evaluation import freeze as freezing
from attn.evaluation.freeze import freeze, gates, means
from attn.evaluation.predict import Predictor
from attn.modules import MECHANISMS
from attn.names import EVERY_GATE
from attn.network.build import build, multiply_adds
from attn.network.fold import fold
from attn.network.scores import record, replaced
from attn.network.seams import CannotStand
from attn.training.shared import split_inputs

IMAGES = 60


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(freezing, "PLACE_IMAGES", 30)


def predictors(synthetic, *words, backbone="resnet20"):
    """The network on test and on training images, stirred so that its gates differ."""
    config = configuration("recipe=quick", "recipe.precision=fp32", f"backbone={backbone}", *words)
    network = build(config, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if ".seams." in f".{name}" and tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) - (0 if name.endswith("var") else 0.5))
    made = []
    for split in ("test", "train"):
        inputs = split_inputs(config, synthetic, split, torch.device("cpu"))
        inputs.images, inputs.labels = inputs.images[:IMAGES], inputs.labels[:IMAGES]
        made.append(Predictor(network, inputs, config.recipe))
    with torch.no_grad():
        for module in network.modules():
            module.momentum = 1.0  # running statistics are those of this pass
        network.train()(made[1].inputs(torch.arange(IMAGES))[0])
    network.eval()
    return made


def test_a_frozen_gate_is_its_mean_over_training_images(synthetic):
    """By a second route: all gates recorded at once, and a hook on each mechanism."""
    test, training = predictors(synthetic, "attention=se")
    order = torch.arange(IMAGES)
    network = test.network
    with torch.no_grad(), record(network) as scores:
        network(training.inputs(order)[0])
    expected = {name: score.mean(0, keepdim=True) for name, score in scores.items()}
    found = means(training)
    assert found.keys() == expected.keys() and len(found) == 9
    for name, (mean, share) in found.items():
        torch.testing.assert_close(mean, expected[name], rtol=1e-4, atol=1e-5)
        score = scores[name].double()
        between = score.var(0, correction=0).mean() / score.var(correction=0)
        assert share == pytest.approx(float(between), rel=1e-3)
    with torch.no_grad():
        x, labels = test.inputs(freezing.fixed_test_order(IMAGES))
        handles = [
            network.get_submodule(name).register_forward_hook(
                lambda module, args, y, mean=expected[name]: args[0] * mean
            )
            for name in expected
        ]
        kept = (network(x).argmax(1) == labels).double().mean()
        for handle in handles:
            handle.remove()
    rows = freeze(test, means(training))
    assert [row["module"] for row in rows] == [EVERY_GATE, *expected]
    assert rows[0]["frozen"] == pytest.approx(100 * float(kept))
    assert [row["images"] for row in rows] == [IMAGES] + 9 * [30]
    assert not any(module._forward_hooks for module in network.modules())


def test_what_is_lost_and_its_interval_count_images(synthetic, monkeypatch):
    test, training = predictors(synthetic, "attention=se", "location=last")
    right = [torch.tensor([1, 1, 1, 0, 0] * 12).bool(), torch.tensor([1, 0, 0, 1, 0] * 12).bool()]
    monkeypatch.setattr(freezing, "_right", lambda *args: right.pop(0))
    (row,) = freeze(test, means(training))
    assert (row["accuracy"], row["frozen"]) == (pytest.approx(60), pytest.approx(40))
    assert row["lost"] == pytest.approx(20)
    sd = torch.tensor([0, 100, 100, -100, 0] * 12).double().std()
    assert row["high"] - row["lost"] == pytest.approx(1.959964 * float(sd) / 60**0.5)


@pytest.mark.parametrize("attention", ["static", "constant"])
def test_gates_that_are_constants_lose_nothing(synthetic, attention):
    test, training = predictors(synthetic, f"attention={attention}", "location=per_block")
    rows = freeze(test, means(training))
    assert len(rows) == 10
    for row in rows:
        assert row["accuracy"] == row["frozen"] and row["lost"] == row["low"] == row["high"] == 0
        assert row["between"] < 1e-6


NO_GATE = {"mlp", "gc", "gain"}  # which add, or whose score is a share


@pytest.mark.parametrize("attention", sorted(set(choices("attention")) - {"none"}))
def test_every_gate_can_be_frozen(synthetic, attention):
    """A frozen network answers an image by its own pixels, and otherwise than with its gates."""
    test, training = predictors(synthetic, f"attention={attention}", "location=published")
    names = gates(test.network)
    assert bool(names) == (attention not in NO_GATE)
    rows = freeze(test, means(training))
    assert bool(rows) == bool(names)
    frozen = {name: mean for name, (mean, _) in means(training).items()}
    x, _ = test.inputs(torch.arange(8))
    with torch.no_grad():
        moving = test.network(x)
        with replaced(test.network, frozen):
            y, alone = test.network(x), torch.cat([test.network(image[None]) for image in x])
    torch.testing.assert_close(y, alone, rtol=1e-4, atol=1e-5)
    if any(row["between"] > 1e-6 for row in rows):
        assert not y.equal(moving), "a gate that varies is another gate once it is frozen"
    else:
        torch.testing.assert_close(y, moving, rtol=1e-4, atol=1e-5)


FOLDED = {  # where each channel is multiplied by a constant once the gate is frozen
    *("se", "cse", "cbam_channel", "static", "random", "constant", "eca", "gct", "gsop"),
    *("gather_excite", "gain"),
}


@pytest.mark.parametrize(
    "backbone", ["resnet20", pytest.param("resnet50", marks=pytest.mark.slow), "mobilenet_v2"]
)
@pytest.mark.parametrize("location", ["first", "last", "per_block"])
def test_a_folded_network_is_the_frozen_network_at_the_baselines_cost(
    synthetic, backbone, location
):
    words = f"location={location}", "attention=se", "data=rgb_noise"
    test, training = predictors(synthetic, *words, backbone=backbone)
    check_folded(
        test, training, configuration(f"backbone={backbone}", "data=rgb_noise", "attention=none")
    )


@pytest.mark.parametrize("attention", sorted(MECHANISMS))
def test_what_can_be_folded(synthetic, attention):
    test, training = predictors(synthetic, f"attention={attention}", "location=published")
    plain = configuration("backbone=resnet20", "attention=none")
    if attention in FOLDED:
        check_folded(test, training, plain)
        return
    frozen = {name: mean for name, (mean, _) in means(training).items()}
    with pytest.raises(CannotStand, match=r"layer\d\.\d|features: frozen"):
        fold(test.network, frozen)


def test_the_projection_of_mobilenet_is_folded_into_its_norm(synthetic):
    words = "attention=se", "backbone.refine_at=projection"
    made = predictors(synthetic, *words, backbone="mobilenet_v2")
    check_folded(*made, configuration("backbone=mobilenet_v2", "attention=none"))


def check_folded(test, training, plain):
    frozen = {name: mean for name, (mean, _) in means(training).items()}
    before = {key: value.clone() for key, value in test.network.state_dict().items()}
    folded, baseline = fold(test.network, frozen), build(plain, seed=0)
    assert folded.state_dict().keys() == baseline.state_dict().keys()
    x, _ = test.inputs(torch.arange(20))
    image = x.shape[1], x.shape[2]
    assert multiply_adds(folded, *image) == multiply_adds(baseline, *image)
    x, exact = x.double(), copy.deepcopy(test.network).double()  # stirred, it magnifies roundings
    with torch.no_grad(), replaced(exact, frozen):
        expected = exact(x)
    with torch.no_grad():
        torch.testing.assert_close(folded.double()(x), expected, rtol=1e-5, atol=1e-5)
        constant = all(share < 1e-6 for _, share in means(training).values())
        assert constant or not torch.allclose(exact(x), expected, rtol=1e-5, atol=1e-5)
    assert all(before[key].equal(value) for key, value in test.network.state_dict().items())
