"""Networks in training: restored, together, compiled, stopped; schedules; evaluation."""

import itertools

import pytest
import torch
from torch._dynamo.utils import counters

from attn.compute.kernels.library import without_kernels
from attn.config.schema import Recipe
from attn.config.sweep import configuration
from attn.draws import Draws, permutation
from attn.evaluation.predict import Predictor, evaluate, fixed_test_order
from attn.network.build import build
from attn.tests.trainers import SMALL, first_loss, train_epoch, trainer
from attn.training.schedule import learning_rates
from attn.training.shared import split_inputs
from attn.training.trainer import NotFinite, run_epoch


def scored(ours, data, config, order, counts):
    inputs = split_inputs(config, data, "test", torch.device("cpu"))
    return evaluate(Predictor(ours.network, inputs, config.recipe), order, counts)


def test_a_restored_trainer_goes_on_as_if_nothing_had_happened(few):
    config = configuration(*SMALL, "location=first", "data=rgb_noise", "recipe.epochs=3")
    whole, first = trainer(few, config), trainer(few, config)
    for epoch in range(3):
        train_epoch(whole, epoch)
    train_epoch(first, 0)
    second = trainer(few, config)
    second.load_state_dict(first.state_dict())
    for epoch in (1, 2):
        metrics = train_epoch(second, epoch)
    for name, weight in whole.network.state_dict().items():
        assert second.network.state_dict()[name].equal(weight), name
    assert metrics["train_loss"] == whole.loss.item() / 80


def test_two_epochs_are_those_of_a_plain_loop(few):
    """Order, noise, crops, rate and weight decay are those of each epoch, not of the first."""
    recipe = ["epochs=2", "schedule=linear", "warmup=0.3", "weight_decay=0.1", "augment=crop_flip"]
    words = [f"recipe.{word}" for word in recipe]
    config = configuration(*SMALL, "location=first", "data=rgb_noise", *words)
    draws = Draws(1)
    with without_kernels():
        ours, plain = trainer(few, config, seed=1), build(config, 1, draws).train()
        plain.to(memory_format=ours.inputs.memory_format)  # another one rounds otherwise
        sgd = torch.optim.SGD(plain.parameters(), 0.0, config.recipe.momentum, weight_decay=0.1)
        rates = learning_rates(config.recipe, 6)
        for epoch in range(2):
            loss, right = 0.0, 0
            for batch in permutation(1, epoch, ours.samples).split(config.recipe.batch_size):
                draws.at(epoch, batch)
                x, labels = ours.inputs(batch, draws)
                logits = plain(x)
                batch_loss = torch.nn.functional.cross_entropy(logits, labels)
                sgd.param_groups[0]["lr"], *rates = rates
                sgd.zero_grad()
                batch_loss.backward()
                sgd.step()
                loss += batch_loss.item() * len(batch)
                right += (logits.argmax(1) == labels).sum().item()
            found = train_epoch(ours, epoch)
            assert found["lr"] == pytest.approx(sgd.param_groups[0]["lr"].item())
            assert found["train_loss"] == pytest.approx(loss / 80, rel=1e-4)
            assert found["train_accuracy"] == pytest.approx(right / 80, abs=0.02)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(ours.network.get_parameter(name), weight, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_has_torchs_keys_and_counts_of_batches(few):
    """Which no step counts: what was saved before that, or elsewhere, can be gone on with."""
    config = configuration(*SMALL, "recipe.images=40")
    ours, plain = trainer(few, config), build(config, 0)
    assert not any("num_batches_tracked" in name for name, _ in ours.network.named_buffers())
    train_epoch(ours, 0)
    plain.load_state_dict(ours.state_dict()["network"])
    assert plain.bn1.num_batches_tracked == 2
    other = trainer(few, config)
    other.load_state_dict({**ours.state_dict(), "network": plain.state_dict()})
    assert train_epoch(other, 1) == train_epoch(ours, 1)


def test_networks_that_train_together_train_as_each_alone(few):
    """Three seeds, one of them an epoch ahead; dropout and noise are each seed's own."""
    words = ("backbone=mobilenet_v2", "recipe.images=70", "location=first", "data=rgb_noise")
    config = configuration(*SMALL, *words, "recipe.epochs=3")
    alone = [trainer(few, config, seed=seed) for seed in range(3)]
    together = [trainer(few, config, seed=seed) for seed in range(3)]
    for one in (alone[2], together[2]):
        train_epoch(one, 0)
    expected = [train_epoch(one, epoch) for one, epoch in zip(alone, (0, 0, 1), strict=True)]
    for one, epoch in zip(together, (0, 0, 1), strict=True):
        one.begin(epoch)
    run_epoch(together)
    assert [one.end() for one in together] == expected
    for one, other in zip(alone, together, strict=True):
        for name, value in one.network.state_dict().items():
            assert other.network.state_dict()[name].equal(value), name


def test_one_that_fails_stops_no_other(few):
    config = configuration(*SMALL)
    pair, sound = [trainer(few, config, seed=s) for s in (0, 1)], trainer(few, config)
    pair[1].network.fc.bias.data[0] = float("inf")
    for one in pair:
        one.begin(0)
    run_epoch(pair, lambda: [one.progress() for one in pair])
    with pytest.raises(NotFinite, match="epoch 1, step 1, "):
        pair[1].end()
    assert pair[0].end() == train_epoch(sound, 0)


def test_progress_is_what_has_been_done(synthetic):
    ours, seen = trainer(synthetic, configuration(*SMALL, "recipe.images=1000")), []
    ours.begin(0)
    run_epoch([ours], lambda: seen.append(ours.progress()))
    assert [done for done, _ in seen] == [640, 1000]
    assert seen[-1][1] == pytest.approx(ours.end()["train_loss"])


@pytest.mark.slow
def test_one_compilation_serves_every_seed(few):
    """With Inductor's C++: fp32 on a CPU differs by rounding alone, and the draws not at all."""
    words = ("backbone=mobilenet_v2", "location=first", "data=rgb_noise", "recipe.epochs=2")
    config = configuration(*SMALL, *words)
    torch.compiler.reset()
    counters.clear()
    ours = [trainer(few, config, seed=seed, compiled=True) for seed in range(3)]
    assert [one.mode for one in ours] == ["compiled"] * 3 and not any(one.notes for one in ours)
    assert counters["stats"]["unique_graphs"] == 1
    for seed, one in enumerate(ours):
        eager = trainer(few, config, seed=seed)
        assert first_loss(one, 1) == pytest.approx(first_loss(eager, 1), rel=1e-5)
        assert train_epoch(one, 0)["train_loss"] == pytest.approx(
            train_epoch(eager, 0)["train_loss"], rel=0.05
        )
    assert counters["stats"]["unique_graphs"] == 1


def test_what_cannot_be_compiled_runs_without_and_says_so(few, monkeypatch):
    def refuse(*args):
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(torch, "compile", lambda function, **options: refuse)
    config = configuration(*SMALL)
    ours, plain = trainer(few, config, compiled=True), trainer(few, config)
    assert ours.mode == "fused" and "no compiler on this machine" in ours.notes[0]
    assert train_epoch(ours, 0) == train_epoch(plain, 0)


def test_an_update_that_is_not_finite_is_not_applied(few):
    """The third step's loss is spoilt: the weights stay those after the second."""
    config = configuration(*SMALL, "location=none", "recipe.images=160", "recipe.epochs=2")
    ours, sound = trainer(few, config), trainer(few, config)
    calls = itertools.count(1)
    spoil = ours.network.fc.register_forward_hook(
        lambda module, x, y: y * float("nan") if next(calls) == 3 else y
    )
    with pytest.raises(NotFinite, match=r"epoch 1, step 3, at learning rate 0\.05"):
        train_epoch(ours, 0)
    spoil.remove()
    sound.network.train()
    sound.order.copy_(permutation(0, 0, sound.samples))
    for _ in range(2):
        sound._step(32)
    initial = build(config, 0)
    for name, value in sound.network.named_parameters():
        assert ours.network.get_parameter(name).equal(value), name
        assert not initial.get_parameter(name).equal(value), name


def test_evaluation_does_not_depend_on_its_batches(few):
    config = configuration(*SMALL, "location=first", "data=rgb_noise")
    ours = trainer(few, config)
    order = fixed_test_order(500)[:300]
    logits, scores = scored(ours, few, config, order, {64, 300})
    assert logits.shape == (300, 10) and set(scores) == {64, 300}
    again, first = scored(ours, few, config, order[:64], {64})
    torch.testing.assert_close(again, logits[:64])
    torch.testing.assert_close(first[64]["seams.input"], scores[64]["seams.input"])
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
    """The post's finding in small: the shapes tell the class, noise tells nothing.

    A colour may fall too: on these drawings any one of the three shows the shape.
    """
    words = ("recipe=quick", "backbone=resnet20", "location=first", "data=rgb_noise")
    config = configuration(*words, "recipe.size=16", "recipe.images=null", "recipe.epochs=4")
    ours = trainer(synthetic, config)
    order = fixed_test_order(2000)[:500]
    _, before = scored(ours, synthetic, config, order, {500})
    for epoch in range(config.recipe.epochs):
        train_epoch(ours, epoch)
    _, after = scored(ours, synthetic, config, order, {500})
    before, after = (scores[500]["seams.input"][0] for scores in (before, after))
    assert (after[3:] < 0.5 * before[3:]).all()
    assert after[3:].max() < 0.5 * after[:3].mean() and after[:3].max() > 0.8
