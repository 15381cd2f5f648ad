"""Training: the step of one network, its compilation and capture, and the epoch of several.

Everything that a step needs lies on the device, and nothing is waited for within an epoch. So on a
GPU the whole step is one CUDA graph. Each of the networks that train together has a stream, which
replays its graphs: one for whole batches, one for a smaller last batch, one for evaluation. One
loop replays them in turn without waiting, so that their kernels overlap. Where compilation or
capture fails, the same step runs without it. On a CPU nothing is captured.
"""

from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import get_total_norm

from attn.compute.graph import capture, complaint, in_turn, may_capture, rehearse
from attn.compute.kernels.layers import fuse
from attn.compute.kernels.library import why_missing
from attn.compute.precision import autocast, computed_in, untimed
from attn.config.schema import Recipe
from attn.data.inputs import Inputs
from attn.draws import ORDER, Draws, permutation
from attn.errors import RunError
from attn.training.schedule import learning_rates

REPORT_EVERY = 20  # steps
# Inductor stores a value that reads more than this many tensors, instead of computing it anew where
# it is used; its default is 4, and a normalised activation reads 5. At 8 MobileNetV2's step has 696
# kernels instead of 730 and moves 1.6 GB instead of 2.0 (compiled for an H100 with torch 2.11, not
# run on one). A CPU gains nothing.
INDUCTOR = {"cuda": {"realize_reads_threshold": 8}, "cpu": {}}


class NotFinite(RunError):
    """The error of a loss or gradient that is not finite; epoch and step are counted from 1."""

    def __init__(self, epoch: int, step: int, rate: float):
        super().__init__(
            f"the loss or a gradient is not finite in epoch {epoch}, step {step}, at learning rate "
            f"{rate:g}; that update was not applied. A smaller recipe.lr may help."
        )


def loss_and_hits(network: nn.Module, inputs: Inputs, draws: Draws, epoch, samples, precision: str):
    """Returns the mean loss of the images at `samples` (B,), and how many predictions are right.

    `loss_and_hits` is a plain function of what differs between seeds, so that one compilation
    serves all seeds.
    """
    draws.at(epoch, samples)
    x, labels = inputs(samples, draws)
    with autocast(samples.device, precision):
        logits = network(x)  # (B, classes)
    return F.cross_entropy(logits.float(), labels), (logits.argmax(1) == labels).sum()


class Trainer:
    """One network in training.

    inputs: the training images, on the device. samples: the positions (N,) of the training images
    that are used. draws: the random numbers of the seed, which the network's dropout shares.
    compiled, captured: whether compilation and capture are tried; capture is tried on a GPU alone.
    notes: what a person should know, such as why the step is not compiled. precision: what layers
    compute in. why: the reason where the precision is not the one that the recipe allows.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Inputs,
        samples,
        recipe: Recipe,
        draws: Draws,
        compiled: bool = False,
        captured: bool = True,
    ):
        self.device = device = inputs.images.device
        self.network = network.to(device, memory_format=inputs.memory_format)
        self.inputs, self.recipe, self.draws = inputs, recipe, draws
        self.precision, self.why = computed_in(network, device, recipe.precision)
        self.notes, self.graphs, self.stream, self.fused = [], {}, None, False
        self.samples = samples.to(device)
        self.steps = -(-len(samples) // recipe.batch_size)  # an epoch's
        self.rates = learning_rates(recipe, self.steps * recipe.epochs).to(device)
        self._allocate(device)
        self.optimizer = self._optimizer()
        # With a fixed momentum they never read num_batches_tracked, and counting takes a kernel
        # each: 52 of the 677 that Inductor makes of MobileNetV2's step (C++, CPU).
        self.norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.momentum]
        self._set_batch_counts(None)
        self.forward = loss_and_hits
        self.network.train()
        if device.type == "cuda":
            self.stream = torch.cuda.Stream()
        if compiled:
            self._compile()
        self.fused = self.mode == "eager" and self._fuse()
        if captured and may_capture(self.device):
            self._capture()

    def _allocate(self, device):
        """Allocates, at fixed addresses, the tensors beside the network that a step uses."""
        self.epoch = torch.zeros((), dtype=torch.int64, device=device)
        self.order = self.samples.clone()
        self.window = torch.arange(self.recipe.batch_size, device=device)
        self.start = torch.zeros(1, dtype=torch.int64, device=device)  # of the batch, in the order
        self.step = torch.zeros(1, dtype=torch.int64, device=device)  # of the run
        self.failed_at = torch.full((1,), -1, dtype=torch.int64, device=device)  # a step, or -1
        self.loss = torch.zeros((), device=device)  # sums over the epoch's images
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        # What the host last saw of (images done, summed loss, failed step): copied without waiting.
        self.seen = torch.zeros(3, dtype=torch.float64, pin_memory=device.type == "cuda")

    def _optimizer(self):
        sgd = torch.optim.SGD(
            self._trained(),
            lr=torch.zeros((), device=self.device),  # a tensor: a captured step reads it anew
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )
        if self.recipe.momentum:  # there from the first step on, as a captured one changes no dict
            for parameter in self._trained():
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd

    def _trained(self) -> list:
        """Returns the parameters that are not frozen."""
        return [p for p in self.network.parameters() if p.requires_grad]

    @property
    def mode(self) -> str:
        """Returns how the step runs: eager, fused, compiled, graph, or compiled graph.

        A fused step has kernels of attn.compute, on a CPU.
        """
        words = {
            "fused": self.fused,
            "compiled": self.forward is not loss_and_hits,
            "graph": bool(self.graphs),
        }
        return " ".join(word for word, holds in words.items() if holds) or "eager"

    def _fuse(self) -> bool:
        """Gives layers the kernels of attn.compute, on a CPU; returns whether any has them."""
        if self.device.type != "cpu":
            return False
        if why_missing():
            self.notes.append(f"trains with torch's kernels, more slowly: {why_missing()}")
        return fuse(self.network)

    def _compile(self):
        """Compiles the step with Inductor for whole batches.

        A smaller last batch is too rare to compile for.
        """
        self.draws.to(self.device)  # the seed as a number of Python would be compiled in
        try:
            options = INDUCTOR[self.device.type]
            # fullgraph: a step that falls apart into several graphs would be slow in silence.
            self.forward = torch.compile(
                loss_and_hits, fullgraph=True, dynamic=False, options=options
            )
            with in_turn(self.stream):
                rehearse(self._step, self.recipe.batch_size, self._state())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler may raise anything
            self.forward = loss_and_hits
            self.notes.append(complaint("without compilation the step", error))

    def _capture(self):
        sizes = {len(batch) for batch in self.samples.split(self.recipe.batch_size)}
        try:
            self.graphs = capture(self._step, sizes, self._state(), self.stream)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.notes.append(complaint("without a CUDA graph the step", error))

    def _step(self, size: int):
        """Applies one update on the next `size` images of the order.

        A step reads and writes the device only.
        """
        samples = self.order.index_select(0, self.start + self.window[:size])  # (size,)
        whole = size == self.recipe.batch_size
        forward = self.forward if whole else loss_and_hits
        with nullcontext() if whole else untimed():
            loss, correct = forward(
                self.network, self.inputs, self.draws, self.epoch, samples, self.precision
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        self.optimizer.param_groups[0]["lr"].copy_(self.rates.index_select(0, self.step).squeeze())
        self._mask(loss)
        self.optimizer.step()
        self.loss += loss.detach() * size
        self.correct += correct
        self.start += size
        self.step += 1

    def _mask(self, loss):
        """Prevents this update and all later updates once a loss or gradient is not finite."""
        norm = get_total_norm([parameter.grad for parameter in self._trained()])
        failed = ~(loss.detach() + norm).isfinite() & (self.failed_at < 0)
        self.failed_at.copy_(torch.where(failed, self.step, self.failed_at))
        self.optimizer.found_inf = (self.failed_at >= 0).float()  # fused SGD then changes nothing

    def _state(self) -> list:
        """Returns every tensor that a step changes."""
        buffers = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        counters = [self.start, self.step, self.failed_at, self.loss, self.correct]
        return [*self.network.state_dict().values(), *buffers, *counters]

    def on_stream(self):
        """Returns a context in which this network's work on a GPU goes into a queue of its own."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def begin(self, epoch: int):
        """Prepares an epoch, whose steps `run_epoch` then takes."""
        self.network.train()
        if self.stream:  # what others have put into this network's tensors is there
            self.stream.wait_stream(torch.cuda.current_stream())
        with self.on_stream():
            self.epoch.fill_(epoch)
            self.order.copy_(permutation(self.draws.seed, epoch, self.samples, ORDER))
            self.step.fill_(epoch * self.steps)
            for tensor in (self.start, self.loss, self.correct):
                tensor.zero_()
        self.seen.copy_(torch.tensor([0.0, 0.0, -1.0]))

    def advance(self, step: int):
        """Takes the epoch's step number `step`, on a GPU without waiting for it.

        Once a failed step has been seen, `advance` does nothing.
        """
        if self.seen[2] >= 0:
            return
        size = min(self.recipe.batch_size, len(self.samples) - step * self.recipe.batch_size)
        with self.on_stream():
            if size in self.graphs:
                self.graphs[size].replay()
            else:
                self._step(size)

    def progress(self) -> tuple[int, float]:
        """Returns (images done in this epoch, their mean loss).

        On a GPU nothing is waited for, so the two numbers are those of some steps ago.
        """
        with self.on_stream():
            now = torch.stack(
                [t.squeeze().double() for t in (self.start, self.loss, self.failed_at)]
            )
            self.seen.copy_(now, non_blocking=True)
        done, loss, _ = self.seen.tolist()
        return int(done), loss / max(1, done)

    def end(self) -> dict:
        """Returns the epoch's metrics.

        Raises NotFinite where a loss or a gradient was not finite. The weights and momenta are then
        those of the step before. Running statistics of normalisations may have been spoilt.
        """
        step, count = self.failed_at.item(), len(self.samples)
        if step >= 0:
            raise NotFinite(step // self.steps + 1, step % self.steps + 1, self.rates[step].item())
        return {
            "lr": self.rates[(self.epoch.item() + 1) * self.steps - 1].item(),
            "train_loss": self.loss.item() / count,
            "train_accuracy": self.correct.item() / count,
        }

    def _set_batch_counts(self, batches):
        for norm in self.norms:
            norm.num_batches_tracked = batches

    @contextmanager
    def _with_batch_counts(self):
        """Yields the network with its counts of batches, which its state_dict has elsewhere."""
        self._set_batch_counts(self.step.squeeze().clone())
        try:
            yield self.network
        finally:
            self._set_batch_counts(None)

    def state_dict(self) -> dict:
        with self._with_batch_counts() as network:
            weights = network.state_dict()
        return {"network": weights, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict):
        """Loads a state in place, as a captured graph keeps reading the same tensors."""
        with self._with_batch_counts() as network:
            network.load_state_dict(state["network"])
        saved = state["optimizer"]["state"]
        for index, parameter in enumerate(self._trained()):
            for name, value in saved.get(index, {}).items():
                self.optimizer.state[parameter][name].copy_(value)


def run_epoch(trainers: list[Trainer], report=None) -> dict[Trainer, Exception]:
    """Takes the steps of one epoch of trainers of one configuration; each has begun its own epoch.

    report() is called every REPORT_EVERY steps, and after the last step. On a GPU the kernels of
    different trainers overlap. Once all steps are done, `run_epoch` returns {failed trainer: the
    exception that stopped it}.
    """
    failed = {}
    for step in range(trainers[0].steps):
        for trainer in trainers:
            if trainer not in failed:
                try:
                    trainer.advance(step)
                except Exception as error:  # as where memory runs out: no reason to stop others
                    failed[trainer] = error
        if report and ((step + 1) % REPORT_EVERY == 0 or step + 1 == trainers[0].steps):
            report()
    if trainers[0].stream:
        torch.cuda.synchronize()
    return failed
