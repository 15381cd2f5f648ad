"""The engine against scripts/naive.py, the loop that everybody knows: on CIFAR-10 where it is."""

import copy

import pytest
import torch

from attn.compute.kernels.library import without_kernels
from attn.compute.precision import set_backends
from attn.config.sweep import configuration
from attn.data import subset
from attn.draws import Draws
from attn.network.build import build
from attn.tests.conftest import ROOT, needs_cifar10, needs_gpu, real_data
from attn.training.shared import split_inputs
from attn.training.trainer import Trainer

ON_A_GPU = [pytest.mark.gpu, needs_gpu]
DEVICES = ["cpu", pytest.param("cuda", marks=ON_A_GPU)]


@pytest.fixture
def torchs():
    """torch's kernels on both sides: with other rounding some ReLU flips, and gradients with it."""
    with without_kernels():
        yield


@pytest.fixture
def pictures(request):
    return request.getfixturevalue("real" if real_data() else "synthetic")


@pytest.fixture
def naive(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import naive

    return naive


class Pair:
    """Both loops at the same network, images and order, without dropout or noise; naive in fp32."""

    def __init__(self, naive, data, device, *words, compiled=False):
        how = "recipe.precision=fp32", f"strict={not compiled}"
        config = configuration("recipe=quick", *how, *words)
        self.recipe, self.device, draws = config.recipe, torch.device(device), Draws(0)
        set_backends(config.recipe.precision, config.strict)
        samples = subset(data.labels["train"], config.recipe.images)
        inputs = split_inputs(config, data, "train", self.device)
        ours = _without_dropout(build(config, 0, draws))
        self.ours = Trainer(ours, inputs, samples, config.recipe, draws, compiled)
        self.ours.begin(0)
        theirs = naive.CIFAR10(config, data, "train")
        self.format = inputs.memory_format  # another one rounds otherwise, and ReLUs flip
        if device == "cuda":
            torch.cuda.synchronize()
        order = torch.utils.data.Subset(theirs, self.ours.order.tolist())
        self.batches = torch.utils.data.DataLoader(order, config.recipe.batch_size)
        self.network = _without_dropout(build(config, 0))
        self.network.to(self.device, memory_format=self.format)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), config.recipe.lr, config.recipe.momentum
        )
        self.update = naive.update

    def losses(self):
        """Each step's loss here and there."""
        before = 0.0
        for step, (x, y) in enumerate(self.batches):
            self.optimizer.param_groups[0]["lr"] = self.ours.rates[step].item()
            x, y = x.to(self.device, memory_format=self.format), y.to(self.device)
            theirs = self.update(self.network, self.optimizer, x, y).item()
            self.ours.advance(step)
            if self.ours.stream:
                self.ours.stream.synchronize()
            after = self.ours.loss.item()
            yield (after - before) / len(y), theirs
            before = after


def apart(network, exact):
    """The largest difference of a parameter's gradients, in norms of all of the exact ones."""
    ours = [parameter.grad.double() for parameter in network.parameters()]
    theirs = [parameter.grad.double() for parameter in exact.parameters()]
    norm = torch.stack([gradient.square().sum() for gradient in theirs]).sum().sqrt()
    pairs = zip(ours, theirs, strict=True)
    return max((one - other).norm() for one, other in pairs) / norm


def _without_dropout(network):
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout) or hasattr(module, "draws"):
            module.p = 0.0
    return network


POST = ("backbone=mobilenet_v2", "recipe.size=112", "location=last")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "words",
    [
        ("backbone=resnet20", "location=none"),
        ("backbone=resnet20", "attention=cbam"),
        pytest.param(POST, marks=pytest.mark.slow),
    ],
)
def test_the_first_loss_and_gradients_are_the_naive_loops(naive, pictures, torchs, device, words):
    pair = Pair(naive, pictures, device, *words, "recipe.images=40", "recipe.batch_size=16")
    ours, theirs = next(pair.losses())
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert apart(pair.ours.network, pair.network) <= 1e-5


@pytest.mark.parametrize(
    "words",
    [
        ("backbone=resnet20", "attention=cbam"),
        ("backbone=mobilenet_v2", "recipe.size=48", "location=last"),
        pytest.param(POST, marks=pytest.mark.slow),
    ],
)
def test_kernels_of_ours_are_no_further_from_double_precision(naive, pictures, words):
    pair = Pair(naive, pictures, "cpu", *words, "recipe.images=40", "recipe.batch_size=16")
    assert pair.ours.mode == "fused"
    exact = copy.deepcopy(pair.network).double().train()
    x, y = next(iter(pair.batches))
    x = x.to(memory_format=pair.format).double()
    torch.nn.functional.cross_entropy(exact(x), y).backward()
    ours, theirs = next(pair.losses())
    assert ours == pytest.approx(theirs, rel=1e-5)
    of_ours, of_theirs = apart(pair.ours.network, exact), apart(pair.network, exact)
    assert of_ours <= max(1e-5, 1.5 * of_theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "precision", "loss", "gradients"),
    [
        ("cpu", "fp32", 1e-5, 0.01),
        pytest.param("cuda", "fp32", 1e-4, 0.01, marks=ON_A_GPU),
        pytest.param("cuda", "bf16", 5e-3, 0.4, marks=ON_A_GPU),
    ],
)
def test_so_are_those_of_a_compiled_step(naive, pictures, device, precision, loss, gradients):
    """As the published runs of a GPU are computed, by a compiled graph in bf16."""
    words = ("backbone=resnet20", "location=last", f"recipe.precision={precision}")
    words += ("recipe.images=40", "recipe.batch_size=16")
    pair = Pair(naive, pictures, device, *words, compiled=True)
    assert pair.ours.mode == ("compiled graph" if device == "cuda" else "compiled")
    assert pair.ours.precision == precision
    ours, theirs = next(pair.losses())
    assert ours == pytest.approx(theirs, rel=loss)
    assert apart(pair.ours.network, pair.network) <= gradients


@pytest.mark.slow
@needs_cifar10
@pytest.mark.parametrize("device", DEVICES)
def test_two_hundred_losses_follow_the_naive_loops(naive, real, torchs, device):
    """Rounding grows from step to step, so a trace is equal only at first, then follows."""
    follows(naive, real, device, alike=20)


@needs_cifar10
def test_so_do_those_of_kernels_of_ours(naive, real):
    follows(naive, real, "cpu", alike=4)


def follows(naive, real, device, alike):
    words = ("backbone=resnet20", "location=last", "recipe.images=1600", "recipe.batch_size=8")
    pair = Pair(naive, real, device, *words, "recipe.size=16", "recipe.lr=0.01")
    trace = torch.tensor(list(pair.losses()))  # (200, 2)
    assert len(trace) == 200
    far = (trace[:, 0] - trace[:, 1]).abs() / trace[:, 1]
    assert far[:alike].max() < 1e-4 and far.mean() < 0.05
    (before, _), (ours, theirs) = trace[:20].mean(0).tolist(), trace[-20:].mean(0).tolist()
    assert ours == pytest.approx(theirs, rel=0.03) and ours < 0.95 * before
