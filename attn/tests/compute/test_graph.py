"""The step as a graph, where there is no GPU: what is replayed trains as what is called."""

from contextlib import nullcontext

import pytest
import torch

from attn.compute.graph import capture, restore
from attn.compute.kernels.library import without_kernels
from attn.config.catalogue import choices
from attn.config.sweep import configuration
from attn.config.values import NOISES, SCHEDULES
from attn.draws import Draws
from attn.evaluation.predict import Predictor, evaluate, fixed_test_order
from attn.network.build import build
from attn.tests.tape import Devices, Stream, Tape
from attn.tests.trainers import first_loss, train_epoch, trainer
from attn.training.shared import split_inputs
from attn.training.trainer import NotFinite, loss_and_hits, run_epoch

SMALL = ("recipe=quick", "backbone=resnet20", "recipe.images=40", "recipe.size=16")
SMALL += ("recipe.batch_size=16", "recipe.precision=fp32")
NOISE = ("location=first", "data=rgb_noise")


@pytest.fixture(autouse=True)
def as_on_a_gpu():
    """Kernels of a CPU are no operators of torch: a tape would not see them."""
    with without_kernels():
        yield


@pytest.fixture
def taped(monkeypatch):
    """Graphs are tapes; takes a trainer on the CPU, and captures its step."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
    monkeypatch.setattr(torch.cuda, "graph", lambda tape, pool, stream: tape)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    def capture(trainer):
        trainer.stream = Stream()
        before = [tensor.clone() for tensor in trainer._state()]
        trainer._capture()
        restore(trainer._state(), before)  # a tape runs what a graph only records
        return trainer

    return capture


def eager(data, config, **options):
    """A trainer whose step is called, with its tensors held as a tape holds them.

    Where nobody holds a gradient autograd adds the next one in place, and how the sum lies in
    memory can differ, and so its last bits.
    """
    ours = trainer(data, config, **options)
    step = ours._step

    def held(size):
        with Tape():
            step(size)

    ours._step = held
    return ours


def assert_same(one, other):
    state = other.network.state_dict()
    for name, value in one.network.state_dict().items():
        assert state[name].equal(value), name


def check(data, taped, *words, epochs=2):
    config = configuration(*SMALL, *words)
    called, captured = eager(data, config), taped(trainer(data, config))
    assert set(captured.graphs) == {16, 8} and not captured.notes
    assert_same(captured, called)
    for epoch in range(epochs):
        assert train_epoch(captured, epoch) == train_epoch(called, epoch)
        assert_same(captured, called)


FAST = ("cbam", "iaff", "none", "split")
MECHANISMS = [
    mechanism if mechanism in FAST else pytest.param(mechanism, marks=pytest.mark.slow)
    for mechanism in choices("attention")
]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism(few, taped, mechanism):
    check(few, taped, f"attention={mechanism}", epochs=1)


VARIANTS = [
    *((f"data.noise.kind={kind}", "recipe.augment=crop_flip") for kind in NOISES),
    *((f"recipe.schedule={schedule}", "recipe.warmup=0.3") for schedule in SCHEDULES),
    ("data.noise.size=4", "recipe.momentum=0"),
]


@pytest.mark.parametrize("words", VARIANTS)
def test_every_variant(few, taped, words):
    """With dropout, which has to differ in every step, as have noise and learning rate."""
    check(few, taped, "backbone=mobilenet_v2", *NOISE, *words)


STEPS = [(f"attention={mechanism}",) for mechanism in choices("attention")]
STEPS += [("backbone=mobilenet_v2", *NOISE, *words) for words in VARIANTS]
STEPS += [(f"backbone={name}",) for name in choices("backbone")]


@pytest.mark.parametrize("words", STEPS, ids=" ".join)
def test_no_tensor_of_the_step_stays_on_the_host(few, monkeypatch, words):
    """A number there would be copied at every step, and a graph would keep the first one for good.

    On torch's device without memory, for which there is no autocast.
    """
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    config, there, draws = configuration(*SMALL, *words), torch.device("meta"), Draws(0)
    inputs = split_inputs(config, few, "train", there)
    network = build(config, 0, draws).to(there).train()
    epoch = torch.zeros((), dtype=torch.int64, device=there)
    with Devices() as seen:
        loss, _ = loss_and_hits(network, inputs, draws, epoch, epoch.expand(16), "fp32")
        loss.backward()
    assert seen.all == {there}


@pytest.mark.slow
@pytest.mark.parametrize("words", STEPS, ids=" ".join)
def test_the_step_is_traced_in_one_piece(few, monkeypatch, words):
    """By the half of torch.compile that knows Python: where it breaks off nothing is compiled."""
    config, whole = configuration(*SMALL, *words), torch.compile

    def traced(function, options, **how):
        return whole(function, backend="eager", **how)

    monkeypatch.setattr(torch, "compile", traced)
    torch.compiler.reset()
    ours, called = trainer(few, config, compiled=True), trainer(few, config)
    assert ours.mode == "compiled", ours.notes
    assert first_loss(ours, 0) == pytest.approx(first_loss(called, 0), rel=1e-6)


def test_seeds_together_stay_themselves(few, taped):
    config = configuration(*SMALL, *NOISE)
    alone = [eager(few, config, seed=seed) for seed in range(3)]
    together = [taped(trainer(few, config, seed=seed)) for seed in range(3)]
    for epoch in range(2):
        for one in together:
            one.begin(epoch)
        run_epoch(together)
        assert [one.progress()[0] for one in together] == [40] * 3
        assert [one.end() for one in together] == [train_epoch(one, epoch) for one in alone]
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_a_captured_trainer_goes_on_from_a_checkpoint(few, taped):
    config = configuration(*SMALL, *NOISE)
    whole, second = eager(few, config), taped(trainer(few, config))
    train_epoch(whole, 0)
    second.load_state_dict(whole.state_dict())
    assert train_epoch(second, 1) == train_epoch(whole, 1)
    assert_same(whole, second)


def test_a_replayed_step_that_is_not_finite_is_named(few, taped):
    """By the replay alone, and no later step changes the weights either."""
    config = configuration(*SMALL, "recipe.lr=1e30")
    called, captured = eager(few, config), taped(trainer(few, config))
    messages = []
    for ours in (called, captured):
        with pytest.raises(NotFinite) as error:
            train_epoch(ours, 0)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and "epoch 1, step" in messages[0]
    for weight, other in zip(
        captured.network.parameters(), called.network.parameters(), strict=True
    ):
        assert weight.isfinite().all() and weight.equal(other)


def test_what_cannot_be_captured_runs_without_and_says_so(few, taped):
    config = configuration(*SMALL)
    sound, reading = trainer(few, config), trainer(few, config)
    reading.network.fc.register_forward_hook(lambda module, x, y: y * float(y.max() < 1e9))
    taped(reading)
    assert reading.mode == "eager" and "not permitted when stream is capturing" in reading.notes[0]
    assert train_epoch(reading, 0) == train_epoch(sound, 0)


def test_evaluation_in_a_graph(few, taped):
    config = configuration(*SMALL, *NOISE)
    network, inputs = build(config, 0), split_inputs(config, few, "test", torch.device("cpu"))
    called = Predictor(network, inputs, config.recipe)
    captured = Predictor(network, inputs, config.recipe, Stream())
    assert set(captured.graphs) == {50} and not captured.notes
    order = fixed_test_order(500)[:180]
    for counts in ((), {64}, {50, 150}):  # whole batches have their scores from the graph
        logits, scores = evaluate(captured, order, counts)
        expected, others = evaluate(called, order, counts)
        assert logits.equal(expected) and scores.keys() == others.keys() == set(counts)
        for n in counts:
            mean, other = (s[n]["seams.input"][0] for s in (scores, others))
            assert mean.equal(other)


@pytest.mark.parametrize("over", [False, True])
def test_a_failed_capture_is_over_for_torchs_allocator_too(monkeypatch, taped, over):
    """As in torch 2.11, and as in later versions, which end it themselves and refuse it twice."""
    pools, ended = iter([(0, 1), (0, 2)]), []

    class Failing(nullcontext):
        def __exit__(self, *raised):
            raise RuntimeError("CUDA error: operation failed due to a previous error")

    def end(device, pool):
        ended.append((device, pool))
        if over:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
    graphs = iter([lambda *args: nullcontext(), lambda *args: Failing()])
    monkeypatch.setattr(torch.cuda, "graph", lambda *args: next(graphs)(*args))
    with pytest.raises(RuntimeError, match="operation failed"):
        capture(lambda size: None, [8, 16], [], Stream())
    assert ended == [(0, (0, 2))]  # the second graph's, and not the first one's
