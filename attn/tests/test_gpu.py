"""The step on a GPU: captured, compiled, strict, together, restored, and as on the CPU."""

import os
import subprocess
import sys

import pytest
import torch
from torch._dynamo.utils import counters

from attn.compute.precision import set_backends
from attn.config.catalogue import choices
from attn.config.sweep import configuration
from attn.config.values import NOISES
from attn.data import load
from attn.modules import MECHANISMS
from attn.network.build import build
from attn.tests.conftest import ROOT, needs_gpu
from attn.tests.trainers import SMALL, first_loss, train_epoch, trainer
from attn.training.trainer import NotFinite, run_epoch

pytestmark = [pytest.mark.gpu, needs_gpu]
captures = pytest.mark.skipif(
    os.environ.get("ATTN_CAPTURE") == "0", reason="capture is left out on this machine"
)
GPU = ("backbone=mobilenet_v2", "location=first", "data=rgb_noise")


@pytest.fixture(autouse=True)
def backends_as_they_are():
    """Puts back what a strict run sets, also after a test that fails."""
    yield
    set_backends("fp32", strict=False)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize(
    "words",
    [(f"data.noise.kind={kind}", "recipe.augment=crop_flip") for kind in NOISES],
)
@captures
def test_the_captured_step_is_the_eager_one(synthetic, precision, words):
    """With deterministic kernels: a last bit more or less is percents of the loss 6 steps later."""
    config = configuration(*SMALL, *GPU, *words, f"recipe.precision={precision}", "strict=true")
    captured, eager = trainer(synthetic, config, "cuda"), trainer(synthetic, config, "cuda")
    assert set(captured.graphs) == {32, 16}
    eager.graphs = {}
    for epoch in range(2):
        assert train_epoch(captured, epoch) == train_epoch(eager, epoch)


@captures
def test_the_compiled_step_is_captured_once_for_all_seeds(synthetic):
    """With drawn noise and dropout, which Inductor must not fold into 32 bits.

    Noise of zeros, or the same for every image, moves an epoch's mean loss by 2% at most.
    """
    config = configuration(*SMALL, *GPU, "recipe.precision=fp32")
    torch.compiler.reset()
    counters.clear()
    ours = [trainer(synthetic, config, "cuda", seed, compiled=True) for seed in range(3)]
    assert [one.mode for one in ours] == ["compiled graph"] * 3
    assert not any(one.notes for one in ours)
    assert counters["stats"]["unique_graphs"] == 1
    for seed, one in enumerate(ours):
        eager = trainer(synthetic, config, "cuda", seed)
        assert first_loss(one, 1) == pytest.approx(first_loss(eager, 1), rel=1e-4)
        losses = [train_epoch(each, 0)["train_loss"] for each in (one, eager)]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)


@torch.no_grad()
def test_compiled_draws_are_the_eager_ones(synthetic):
    config = configuration(*SMALL, *GPU)
    ours = trainer(synthetic, config, "cuda")
    ours.draws.to(ours.device)
    torch.compiler.reset()
    compiled = torch.compile(lambda samples: ours.inputs(samples, ours.draws)[0], fullgraph=True)
    for epoch in (0, 1):
        ours.draws.at(ours.epoch + epoch, ours.samples)
        noise = ours.inputs(ours.samples, ours.draws)[0][:, 3:]
        torch.testing.assert_close(compiled(ours.samples)[:, 3:], noise, rtol=0, atol=1e-5)
        assert noise.std() > 0.9


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet20"])
@captures
def test_strict_is_the_same_to_the_bit_alone_together_and_resumed(synthetic, backbone):
    words = (f"backbone={backbone}", "location=first", "data=rgb_noise", "recipe.precision=bf16")
    config = configuration(*SMALL, *words, "strict=true", "recipe.epochs=3")
    alone = [trainer(synthetic, config, "cuda", seed) for seed in range(3)]
    together = [trainer(synthetic, config, "cuda", seed) for seed in range(3)]
    assert all(set(one.graphs) == {32, 16} for one in (*alone, *together))
    for epoch in range(2):
        expected = [train_epoch(one, epoch) for one in alone]
        for one in together:
            one.begin(epoch)
        run_epoch(together)
        assert [one.end() for one in together] == expected
    resumed = trainer(synthetic, config, "cuda", 0)
    resumed.load_state_dict(alone[0].state_dict())
    assert train_epoch(resumed, 2) == train_epoch(alone[0], 2)
    for name, value in alone[0].network.state_dict().items():
        assert resumed.network.state_dict()[name].equal(value), name


@captures
def test_capture_leaves_the_trainer_as_it_was(synthetic):
    config = configuration(*SMALL, *GPU)
    captured, untouched = trainer(synthetic, config, "cuda"), build(config, 0).state_dict()
    assert captured.graphs
    for name, value in captured.network.state_dict().items():
        assert value.cpu().equal(untouched[name]), name
    counters = captured._state()[len(captured.network.state_dict()) :]
    assert all(t.max() == t.min() and t.max() in (0, -1) for t in counters)


@captures
def test_a_captured_trainer_can_be_restored(synthetic):
    config = configuration(*SMALL, *GPU, "strict=true")
    whole, first = trainer(synthetic, config, "cuda"), trainer(synthetic, config, "cuda")
    for epoch in range(2):
        expected = train_epoch(whole, epoch)
    train_epoch(first, 0)
    second = trainer(synthetic, config, "cuda")
    second.load_state_dict(first.state_dict())
    assert train_epoch(second, 1) == expected


@captures
def test_a_replayed_step_that_is_not_finite_is_named(synthetic):
    config = configuration(*SMALL, *GPU, "recipe.lr=1e30")
    with pytest.raises(NotFinite, match="epoch 1, step"):
        train_epoch(trainer(synthetic, config, "cuda"), 0)


@pytest.mark.parametrize("kind", NOISES)
def test_the_gpu_has_the_cpus_inputs_and_starts_where_it_does(synthetic, kind):
    config = configuration(*SMALL, *GPU, f"data.noise.kind={kind}", "recipe.images=30")
    cpu, gpu = trainer(synthetic, config), trainer(synthetic, config, "cuda")
    samples = cpu.samples
    for ours in (cpu, gpu):
        ours.draws.at(1, samples.to(ours.device))
    inputs = [ours.inputs(samples.to(ours.device), ours.draws)[0].cpu() for ours in (cpu, gpu)]
    torch.testing.assert_close(*inputs, rtol=0, atol=0 if kind == "uniform" else 2e-6)
    losses = [train_epoch(ours, 0)["train_loss"] for ours in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@captures
def test_what_cannot_be_captured_runs_without_and_the_next_one_is():
    """In a process of its own: what a failed capture leaves behind is no other test's."""
    code = "from attn.tests.test_gpu import fail_a_capture; fail_a_capture()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def fail_a_capture():
    synthetic = load("synthetic")
    config = configuration(*SMALL, *GPU, "recipe.precision=fp32", "strict=true")
    sound, reading = trainer(synthetic, config, "cuda"), trainer(synthetic, config, "cuda")
    reading.graphs = {}
    hook = reading.network.classifier.register_forward_hook(
        lambda module, x, y: y * float(y.max() < 1e9)
    )
    reading._capture()
    assert reading.mode == "eager" and "without a CUDA graph" in reading.notes[0]
    hook.remove()
    assert train_epoch(reading, 0) == train_epoch(sound, 0)
    after = trainer(synthetic, config, "cuda")
    assert set(after.graphs) == {32, 16} and not after.notes
    after.load_state_dict(sound.state_dict())
    assert train_epoch(after, 1) == train_epoch(sound, 1)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # where torch 2.11 would notice that a capture is under way


@pytest.mark.parametrize("backbone", choices("backbone"))
@captures
def test_every_backbone_is_captured(backbone, synthetic):
    config = configuration(*SMALL, f"backbone={backbone}", "attention=se", "recipe.size=32")
    ours = trainer(synthetic, config, "cuda")
    assert set(ours.graphs) == {32, 16} and not ours.notes
    assert train_epoch(ours, 0)["train_loss"] < 10


@pytest.mark.parametrize("name", MECHANISMS)
@captures
def test_every_mechanism_is_captured(name, synthetic):
    """Forward, backward and update, at the mechanism's published place."""
    config = configuration(*SMALL, f"attention={name}", "recipe.precision=bf16")
    ours = trainer(synthetic, config, "cuda")
    assert set(ours.graphs) == {32, 16} and not ours.notes
    assert train_epoch(ours, 0)["train_loss"] < 10
