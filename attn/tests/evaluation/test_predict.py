"""What a network sees: in training, in testing, and where its gates are frozen."""

import torch

from attn.config.sweep import configuration
from attn.data import subset
from attn.draws import Draws
from attn.evaluation.freeze import TRAINING_IMAGES
from attn.evaluation.predict import Predictor, split_inputs, untrained_scores
from attn.network.build import build
from attn.network.scores import record
from attn.runs.load import training_of

CPU = torch.device("cpu")
WORDS = ("recipe=quick", "backbone=resnet20", "recipe.precision=fp32")


def test_the_recipes_augmentation_reaches_training_images_alone(few):
    config = configuration(*WORDS, "recipe.augment=crop_flip", "recipe.images=null")
    inputs, samples, seen = split_inputs(config, few, "train", CPU), torch.arange(50), []
    draws = Draws(0)
    for epoch in range(2):
        draws.at(epoch, samples)
        seen.append(inputs(samples, draws)[0])
    assert not seen[0].equal(seen[1])
    plain = split_inputs(configuration(*WORDS), few, "train", CPU)
    assert inputs(samples)[0].equal(plain(samples)[0])  # without draws, as in testing


def test_gates_are_frozen_at_means_over_images_that_the_network_was_trained_on(synthetic):
    config = configuration(*WORDS, "recipe.images=8000", "recipe.size=8", "location=last")
    network = build(config, 0)
    test = Predictor(network, split_inputs(config, synthetic, "test", CPU), config.recipe)
    training = training_of(config, test, synthetic)
    assert training.network is network and len(training.inputs.labels) == TRAINING_IMAGES
    trained = subset(synthetic.labels["train"], 8000)
    chosen = split_inputs(config, synthetic, "train", CPU, trained).images
    known = {image.numpy().tobytes() for image in chosen}
    assert all(image.numpy().tobytes() in known for image in training.inputs.images)
    assert (
        len({image.numpy().tobytes() for image in training.inputs.images}) > 0.9 * TRAINING_IMAGES
    )


def test_scores_before_training_are_those_of_training_and_leave_the_network_alone(few):
    config = configuration(*WORDS, "location=per_block", "attention=se")
    network, inputs = build(config, 0), split_inputs(config, few, "test", CPU)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    (found,) = untrained_scores(network.eval(), inputs, samples := torch.arange(100)).values()
    assert not network.training
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    with torch.no_grad(), record(network.train()) as scores:
        network(inputs(samples)[0])
    for name, score in scores.items():
        expected = score.double().mean((0, 2, 3))
        torch.testing.assert_close(found[name][0], expected, rtol=1e-5, atol=1e-7)
