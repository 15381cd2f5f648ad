"""The step against the loop that everybody knows; schedules; evaluation."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from attn.build import build
from attn.data import subset
from attn.data.inputs import Inputs
from attn.draws import Draws, permutation
from attn.engine import NotFinite, Trainer, fixed_test_order
from attn.schedule import learning_rates
from attn.schema import Recipe
from attn.tests.conftest import configuration, needs_gpu

SMALL = ("recipe=quick", "backbone=resnet20", "recipe.images=80", "recipe.size=16")


def trainer(data, config, device="cpu", draws=None, network=None):
    device = torch.device(device)
    draws = draws or Draws(0)
    inputs = {
        split: Inputs(
            data.images[split],
            data.labels[split],
            config.recipe.size,
            config.data.noise,
            device,
            torch.channels_last,
        )
        for split in ("train", "test")
    }
    samples = subset(data.labels["train"], config.recipe.images)
    network = network or build(config, 0, draws)
    return Trainer(network, inputs, samples, config.recipe, draws)


def quiet(done, loss):
    pass


def naive_epoch(ours, network, config):
    """The plain loop on the same images: torch's own SGD, one rate a step, no tricks."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=config.recipe.momentum)
    losses = []
    for step, samples in enumerate(ours.order.split(config.recipe.batch_size)):
        ours.draws.at(0, samples)
        x, labels = ours.inputs["train"](samples, ours.draws)
        for group in optimizer.param_groups:
            group["lr"] = ours.rates[step].item()
        loss = F.cross_entropy(network.train()(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(samples))
    return sum(losses) / len(ours.samples)


@pytest.mark.parametrize("words", [("location=none",), ("location=first", "data=rgb_noise")])
def test_an_epoch_is_the_naive_loops(synthetic, words):
    """80 images in batches of 32: two whole ones and one of 16."""
    config = configuration(*SMALL, *words, "recipe.epochs=2")
    ours = trainer(synthetic, config)
    metrics = ours.train_epoch(0, quiet)
    twin = build(config, 0).to(memory_format=torch.channels_last)
    loss = naive_epoch(ours, twin, config)
    assert metrics["train_loss"] == pytest.approx(loss, rel=1e-5)
    for name, weight in twin.state_dict().items():
        torch.testing.assert_close(ours.network.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


def test_a_restored_trainer_goes_on_as_if_nothing_had_happened(synthetic):
    config = configuration(*SMALL, "location=first", "data=rgb_noise", "recipe.epochs=3")
    whole, first = trainer(synthetic, config), trainer(synthetic, config)
    for epoch in range(3):
        whole.train_epoch(epoch, quiet)
    first.train_epoch(0, quiet)
    second = trainer(synthetic, config)
    second.load_state_dict(first.state_dict())
    for epoch in (1, 2):
        metrics = second.train_epoch(epoch, quiet)
    for name, weight in whole.network.state_dict().items():
        assert second.network.state_dict()[name].equal(weight), name
    assert metrics["train_loss"] == whole.loss.item() / 80


def test_an_update_that_is_not_finite_is_not_applied(synthetic):
    """The third step's loss is spoilt: the weights stay those after the second."""
    config = configuration(*SMALL, "location=none", "recipe.images=160", "recipe.epochs=2")
    ours, sound = trainer(synthetic, config), trainer(synthetic, config)
    calls = itertools.count(1)
    spoil = ours.network.fc.register_forward_hook(
        lambda module, x, y: y * float("nan") if next(calls) == 3 else y
    )
    with pytest.raises(NotFinite, match=r"epoch 1, step 3, at learning rate 0\.05"):
        ours.train_epoch(0, quiet)
    spoil.remove()
    sound.network.train()
    sound.order.copy_(permutation(0, 0, sound.samples))
    for _ in range(2):
        sound._step(32)
    initial = build(config, 0)
    for name, value in sound.network.named_parameters():
        assert ours.network.get_parameter(name).equal(value), name
        assert not initial.get_parameter(name).equal(value), name


def test_evaluation_does_not_depend_on_its_batches(synthetic):
    config = configuration(*SMALL, "location=first", "data=rgb_noise")
    ours = trainer(synthetic, config)
    order = fixed_test_order(2000)[:300]
    logits, scores = ours.evaluate(order, {64, 300})
    assert logits.shape == (300, 10) and set(scores) == {64, 300}
    again, few = ours.evaluate(order[:64], {64})
    torch.testing.assert_close(again, logits[:64])
    torch.testing.assert_close(few[64]["seams.input"], scores[64]["seams.input"])
    assert not torch.equal(scores[300]["seams.input"][0], scores[64]["seams.input"][0])


def test_learning_rates():
    recipe = Recipe(lr=1.0, schedule="linear", warmup=0.2)
    rates = learning_rates(recipe, 10).tolist()
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    assert learning_rates(Recipe(lr=0.3), 4).tolist() == pytest.approx([0.3] * 4)
    cosine = learning_rates(Recipe(lr=1.0, schedule="cosine"), 4).tolist()
    assert cosine == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-5)


@pytest.mark.slow
def test_training_drives_the_scores_of_noise_below_the_others(synthetic):
    """The post's finding in small: the shapes tell the class, noise tells nothing."""
    words = ("recipe=quick", "backbone=resnet20", "location=first", "data=rgb_noise")
    config = configuration(*words, "recipe.size=16", "recipe.images=null", "recipe.epochs=4")
    ours = trainer(synthetic, config)
    order = fixed_test_order(2000)[:500]
    before = ours.evaluate(order, {500})[1][500]["seams.input"][0]
    for epoch in range(config.recipe.epochs):
        ours.train_epoch(epoch, quiet)
    after = ours.evaluate(order, {500})[1][500]["seams.input"][0]
    print(before, after)
    assert after[3:].max() < after[:3].min()


@pytest.mark.gpu
@needs_gpu
def test_the_captured_step_is_the_eager_one(synthetic):
    config = configuration(*SMALL, "location=first", "data=rgb_noise", "backbone=mobilenet_v2")
    captured = trainer(synthetic, config, "cuda")
    assert captured.graphs
    eager = trainer(synthetic, config, "cuda")
    eager.graphs = {}
    for epoch in range(2):
        one, other = captured.train_epoch(epoch, quiet), eager.train_epoch(epoch, quiet)
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)


@pytest.mark.gpu
@needs_gpu
def test_the_gpu_starts_where_the_cpu_does(synthetic):
    config = configuration(*SMALL, "location=first", "data=rgb_noise", "recipe.images=30")
    losses = [
        trainer(synthetic, config, device).train_epoch(0, quiet)["train_loss"]
        for device in ("cpu", "cuda")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
