"""Pretrained weights: loaded, adapted to the input channels, said so; no test downloads."""

import pytest
import torch
import torchvision

from attn.config.sweep import configuration
from attn.errors import DataError, UserError
from attn.network import pretrained
from attn.network.build import build

FETCH = "get_state_dict"
PRETRAINED = "backbone.pretrained=true"


@pytest.fixture
def imagenet(monkeypatch):
    """torchvision's weights are random ones here."""
    torch.manual_seed(5)
    made = {
        "MobileNet_V2_Weights": torchvision.models.mobilenet_v2().state_dict(),
        "ResNet18_Weights": torchvision.models.resnet18().state_dict(),
    }
    fetch = lambda self, **options: made[type(self).__name__]  # noqa: E731
    monkeypatch.setattr(torchvision.models.WeightsEnum, FETCH, fetch)


@pytest.mark.parametrize(
    ("backbone", "head"), [("mobilenet_v2", "classifier.1"), ("resnet18", "fc")]
)
def test_pretrained_weights_are_adapted_to_the_input_channels(imagenet, backbone, head):
    words = (f"backbone={backbone}", "data=rgb_noise", "location=none")
    config = configuration(*words, PRETRAINED)
    weights = pretrained.weights(config)
    network = build(config, 0, weights=weights)
    drawn = build(configuration(*words), 0).state_dict()
    stem = f"{network.stem_name}.weight"
    for name, value in network.state_dict().items():
        if name == stem:
            assert value[:, :3].equal(weights[stem]) and value[:, 3:].equal(drawn[stem][:, 3:])
        elif name.startswith(head):
            assert value.equal(drawn[name])
        else:
            assert value.equal(weights[name]), name
    text = pretrained.describe(network, weights)
    assert text.endswith(f"drawn anew: {stem} beyond RGB, {head}.weight, {head}.bias")


def test_a_stem_of_another_size_is_drawn(imagenet):
    words = ("backbone=resnet18", "backbone.stem=cifar", "location=none")
    config = configuration(*words, PRETRAINED)
    weights = pretrained.weights(config)
    network, drawn = build(config, 0, weights=weights), build(configuration(*words), 0)
    assert network.conv1.weight.equal(drawn.conv1.weight)
    assert network.layer1[0].conv1.weight.equal(weights["layer1.0.conv1.weight"])
    assert "drawn anew: conv1.weight, fc.weight" in pretrained.describe(network, weights)


def test_grouped_convolutions_have_no_pretrained_weights():
    words = "backbone=resnet50", "backbone.groups=32", "backbone.width_per_group=4"
    with pytest.raises(UserError, match="width_per_group=4: torchvision's weights here are of 1"):
        configuration(*words, PRETRAINED)


def test_pretrained_is_another_configuration_and_off_by_default():
    plain, begun = configuration(), configuration(PRETRAINED)
    assert pretrained.weights(plain) is None
    assert begun.key != plain.key
    assert begun.labels["backbone"] == "mobilenet_v2+pretrained=True"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_copy_of_the_weights_is_named(monkeypatch, tmp_path, content):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = torchvision.models.get_model_weights("mobilenet_v2").DEFAULT.url
    place = tmp_path / "checkpoints" / url.rpartition("/")[2]
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"mobilenet_v2-\w+\.pth is damaged; delete it"):
        pretrained.weights(configuration(PRETRAINED))


def test_weights_that_cannot_be_fetched_say_where_to_put_a_copy(monkeypatch):
    def no_network(self, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.WeightsEnum, FETCH, no_network)
    with pytest.raises(DataError, match=r"no route to host.*Put a copy at .*mobilenet_v2-.*\.pth"):
        pretrained.weights(configuration(PRETRAINED))
