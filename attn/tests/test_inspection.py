"""What is lost without a channel, by a second route and where known; scores by class; maps."""

import pytest
import torch

from attn import inspection
from attn.build import build
from attn.draws import FIXED_SEED, ORDER, permutation
from attn.evaluation import Predictor, fixed_test_order
from attn.inspection import evenly, inspect
from attn.scores import by_channel, record
from attn.shared import split_inputs
from attn.tests.conftest import configuration

IMAGES = 120


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(inspection, "INPUT_IMAGES", 100)
    monkeypatch.setattr(inspection, "INPUT_REPEATS", 2)
    monkeypatch.setattr(inspection, "CHANNELS", 8)


def predictor(synthetic, *words):
    """A network as it was drawn, but that its classes are balanced, and images of all classes."""
    words = ("recipe.precision=fp32", *words)  # in bf16 a second route rounds elsewhere
    config = configuration("recipe=quick", "backbone=resnet20", *words)
    torch.manual_seed(0)
    network = build(config, seed=0)
    inputs = split_inputs(config, synthetic, "test", torch.device("cpu"))
    some = fixed_test_order(len(inputs.labels))[:IMAGES]
    inputs.images, inputs.labels = inputs.images[some], inputs.labels[some]
    with torch.no_grad():
        x, _ = inputs(torch.arange(IMAGES))
        network.train()(x)  # running statistics
        network.eval().fc.bias -= network(x).mean(0)
    return Predictor(network, inputs, config.recipe)


def all_inputs(predictor):
    order = fixed_test_order(IMAGES)
    return order, *predictor.inputs(order)


def partners(count, repeat):
    return permutation(FIXED_SEED, 1 + repeat, torch.arange(count), ORDER)


def test_input_channels_by_a_second_route(synthetic):
    """Channel 4 reaches nothing; the others' loss is that of inputs mixed by hand."""
    made = predictor(synthetic, "data=rgb_noise", "attention=static", "location=first")
    with torch.no_grad():
        made.network.conv1.weight[:, 4] = 0
    found = {row["channel"]: row for row in inspect(made).importance}
    _, x, labels = all_inputs(made)
    x, labels = x[:100], labels[:100]
    with torch.no_grad():
        right = (made.network(x).argmax(1) == labels).sum().item()
        for channel in range(6):
            lost = []
            for repeat in range(2):
                mixed = x.clone()
                mixed[:, channel] = x[partners(100, repeat), channel]
                lost.append(right - (made.network(mixed).argmax(1) == labels).sum().item())
            assert found[channel]["lost"] == pytest.approx(sum(lost) / 2, abs=1e-4)
            assert found[channel]["sd"] == pytest.approx(x[:, channel].std().item(), rel=1e-3)
    assert found[4]["lost"] == 0 and any(row["lost"] != 0 for row in found.values())
    assert {row["images"] for row in found.values()} == {100}
    assert [round(row["score"], 6) for row in found.values()] == [0.5] * 6  # static's, untrained


def test_feature_channels_by_a_second_route(synthetic):
    """A channel that the classifier does not read is worth nothing behind a static gate."""
    made = predictor(synthetic, "attention=static", "location=last")
    channels = evenly(list(range(64)), 8)
    with torch.no_grad():
        made.network.fc.weight[:, channels[3]] = 0
    found = {row["channel"]: row for row in inspect(made).importance}
    assert list(found) == channels and found[channels[3]]["lost"] == 0
    _, x, labels = all_inputs(made)
    partner, seam = partners(IMAGES, 0), made.network.seams.features
    with torch.no_grad():
        right = (made.network(x).argmax(1) == labels).sum().item()
        for channel in channels:

            def mix(module, args, channel=channel):
                features = args[0].clone()
                features[:, channel] = features[partner, channel]
                return (features,)

            handle = seam.register_forward_pre_hook(mix)
            kept = (made.network(x).argmax(1) == labels).sum().item()
            handle.remove()
            lost = 100 * (right - kept) / IMAGES
            assert found[channel]["lost"] == pytest.approx(lost, abs=1e-4)


def test_scores_by_class_and_nothing_is_left_behind(synthetic):
    made = predictor(synthetic, "attention=se")
    _, x, labels = all_inputs(made)
    with torch.no_grad(), record(made.network) as scores:
        before = made.network(x)
    found = inspect(made)
    assert not found.importance  # no score of an input or final channel
    modules = list(dict.fromkeys(row["module"] for row in found.classes))
    assert modules == evenly(list(scores), 4) and len(modules) == 4
    for row in found.classes[::37]:
        mine = by_channel(scores[row["module"]])[labels == row["class"], row["channel"]]
        assert row["score"] == pytest.approx(mine.mean().item(), rel=1e-4)
    with torch.no_grad():
        assert torch.equal(made.network(x), before)


MAPS = {"cbam": ".spatial", "sse": "", "bam": "", "coord": ""}


@pytest.mark.parametrize("attention", MAPS)
def test_maps_are_the_gates_over_positions(synthetic, attention):
    made = predictor(synthetic, f"attention={attention}")
    maps = inspect(made).maps
    images = maps.pop("images")
    order, x, _ = all_inputs(made)
    assert (
        images.shape == (6, 3, 32, 32) and (images == made.inputs.images[order[:6]].numpy()).all()
    )
    assert 0 < len(maps) <= 4
    with torch.no_grad(), record(made.network) as scores:
        made.network(x[:6])
    for name, gates in maps.items():
        assert name.endswith(MAPS[attention])
        score = scores[name].mean(1)
        assert gates.shape == score.shape
        assert torch.allclose(torch.from_numpy(gates).float(), score, atol=2e-3)


def test_a_gate_that_is_the_same_everywhere_has_no_map(synthetic):
    assert inspect(predictor(synthetic, "attention=se")).maps == {}


def test_the_classes_of_cbam_are_those_of_its_channels_from_first_to_last(synthetic):
    found = inspect(predictor(synthetic, "attention=cbam", "location=per_block"))
    modules = list(dict.fromkeys(row["module"] for row in found.classes))
    assert len(modules) == 4 and all(name.endswith(".channel") for name in modules)
    assert modules[0].startswith("layer1.0.") and modules[-1].startswith("layer3.2.")


def test_evenly():
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly(list(range(10)), 4) == [0, 3, 6, 9]
