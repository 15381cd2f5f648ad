"""What is lost without a channel, by a second route and where known; scores by class; maps."""

import pandas as pd
import pytest
import torch
from torch import nn

from attn.config.sweep import configuration
from attn.draws import FIXED_SEED, ORDER, permutation
from attn.evaluation import inspect as inspection
from attn.evaluation.inspect import evenly, files_of, inspect, swap
from attn.evaluation.predict import Predictor, fixed_test_order
from attn.evidence import content
from attn.network.build import build
from attn.network.scores import Scores, by_channel, record
from attn.training.shared import split_inputs

IMAGES = 120


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(inspection, "INPUT_IMAGES", 100)
    monkeypatch.setattr(inspection, "INPUT_REPEATS", 2)
    monkeypatch.setattr(inspection, "CHANNELS", 8)
    monkeypatch.setattr(inspection, "SWAP_IMAGES", 70)


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
    assert any(row["lost"] != 0 for row in found.values())


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


class Smooth(nn.Module):
    """Scores each channel by its own pixels: near 1 where neighbours are alike, as in a picture."""

    def __init__(self):
        super().__init__()
        self.scores = Scores()

    def forward(self, x):  # (B, C, H, W)
        rough = x.diff(dim=3).square().mean((2, 3), keepdim=True)
        return x * self.scores(torch.exp(-rough))


def gated(synthetic, kind):
    """A network whose gate at the input follows the content, or has learned the places."""
    made = predictor(synthetic, "data=rgb_noise", "attention=static", "location=first")
    if kind == "content":
        made.network.seams.fill("input", Smooth())
    else:
        learned = torch.tensor([2.0, 1.0, 3.0, -1.0, -3.0, -2.0])
        made.network.seams.input.weight.data[:] = learned[:, None, None]
    return made


@pytest.mark.parametrize(("kind", "expected"), [("content", 1), ("place", 0)])
def test_a_score_follows_the_content_or_the_place(synthetic, kind, expected):
    made = gated(synthetic, kind)
    rows = pd.DataFrame(swap(made))
    assert len(rows) == 9 * 6 and not rows.isna().any(axis=None)
    _, x, _ = all_inputs(made)
    with torch.no_grad(), record(made.network) as scores:
        made.network.seams.input(x[:70])
        usual = by_channel(scores["seams.input"]).mean(0).tolist()
        made.network.seams.input(x[:70, [4, 1, 2, 3, 0, 5]])
        swapped = by_channel(scores["seams.input"]).mean(0).tolist()
    mine = rows[(rows["colour"] == 0) & (rows["noise"] == 4)]
    assert mine["slot"].tolist() == list(range(6))
    assert mine["usual"].tolist() == pytest.approx(usual)
    assert mine["swapped"].tolist() == pytest.approx(swapped)
    follows = content.pairs(rows.assign(run="a"))["follows_content"]
    assert len(follows) == 9 and follows.tolist() == pytest.approx([expected] * 9, abs=1e-5)


def test_only_networks_that_score_noise_channels_are_asked_what_scores_follow(synthetic):
    assert swap(predictor(synthetic, "attention=static", "location=first")) == []
    assert swap(predictor(synthetic, "data=rgb_noise", "attention=sse", "location=first")) == []
    assert swap(predictor(synthetic, "data=rgb_noise", "attention=se")) == []


FILES = [
    (["data=rgb_noise", "location=first"], {"classes", "importance", "swap", "frozen"}),
    (
        ["data=rgb_noise", "location=first", "attention=cbam"],
        {"classes", "importance", "swap", "maps", "frozen"},
    ),
    (["location=first"], {"classes", "importance", "frozen"}),
    (["location=last"], {"classes", "importance", "frozen"}),
    (["attention=se"], {"classes", "frozen"}),
    (["attention=bam"], {"classes", "maps", "frozen"}),
    (["attention=gc"], {"classes", "maps"}),  # it adds, and so has no gate
    (["location=none"], set()),
]


@pytest.mark.parametrize(("words", "expected"), FILES, ids=lambda value: " ".join(sorted(value)))
def test_the_files_of_a_look_are_known_before_it(words, expected):
    network = build(configuration("recipe=quick", "backbone=resnet20", *words), seed=0)
    assert {name.partition(".")[0] for name in files_of(network, 32)} == expected


def test_evenly():
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly(list(range(10)), 4) == [0, 3, 6, 9]
