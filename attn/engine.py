"""Training of one network: the step and its capture.

All that a step needs lies on the device, and nothing is read back within an epoch but a running
loss for the progress bar. So on a GPU the whole step is one CUDA graph; where capture fails,
and on the CPU, the same step runs eagerly.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import get_total_norm

from attn.capture import capture
from attn.data.inputs import Inputs
from attn.draws import ORDER, Draws, permutation
from attn.errors import RunError
from attn.precision import autocast, set_float32
from attn.schedule import learning_rates
from attn.schema import Recipe

REPORT_EVERY = 20  # steps


class NotFinite(RunError):
    """A loss or gradient that is not finite, at an epoch and a step counted from 1."""

    def __init__(self, epoch: int, step: int, rate: float):
        super().__init__(
            f"the loss or a gradient is not finite in epoch {epoch}, step {step}, at learning rate "
            f"{rate:g}; that update was not applied. A smaller recipe.lr may help."
        )


class Trainer:
    """One network in training.

    inputs: the training images, on the device. samples: the positions (N,) of the training
    images that are used. draws: the seed's random numbers, which the network's dropout shares.
    """

    def __init__(self, network: nn.Module, inputs: Inputs, samples, recipe: Recipe, draws: Draws):
        self.device = device = inputs.images.device
        self.network = network.to(device, memory_format=inputs.memory_format)
        self.inputs, self.recipe, self.draws = inputs, recipe, draws
        self.samples = samples.to(device)
        self.steps = -(-len(samples) // recipe.batch_size)  # an epoch's
        self.rates = learning_rates(recipe, self.steps * recipe.epochs).to(device)
        self.epoch = torch.zeros((), dtype=torch.int64, device=device)
        self.order = self.samples.clone()
        self.window = torch.arange(recipe.batch_size, device=device)
        self.start = torch.zeros(1, dtype=torch.int64, device=device)  # of the batch, in the order
        self.step = torch.zeros(1, dtype=torch.int64, device=device)  # of the run
        self.failed_at = torch.full((1,), -1, dtype=torch.int64, device=device)  # a step, or -1
        self.loss = torch.zeros((), device=device)  # sums over the epoch's images
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=torch.zeros((), device=device),  # a tensor: a captured step reads it anew
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        if recipe.momentum:
            for parameter in self.network.parameters():
                buffer = torch.zeros_like(parameter)
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        set_float32(recipe)
        torch.backends.cudnn.benchmark = True
        self.graphs = {}
        if device.type == "cuda":
            self.network.train()
            sizes = {len(batch) for batch in self.samples.split(recipe.batch_size)}
            self.graphs = capture(self._step, sizes, self._state())

    def _step(self, size: int):
        """One update on the next `size` images of the order; reads and writes the device only."""
        samples = self.order.index_select(0, self.start + self.window[:size])  # (size,)
        self.draws.at(self.epoch, samples)
        x, labels = self.inputs(samples, self.draws)
        with autocast(self.device, self.recipe):
            logits = self.network(x)  # (size, classes)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.param_groups[0]["lr"].copy_(self.rates.index_select(0, self.step).squeeze())
        self._mask(loss)
        self.optimizer.step()
        self.loss += loss.detach() * size
        self.correct += (logits.argmax(1) == labels).sum()
        self.start += size
        self.step += 1

    def _mask(self, loss):
        """From the first step whose loss or gradient is not finite on, no update is applied."""
        norm = get_total_norm([parameter.grad for parameter in self.network.parameters()])
        failed = ~(loss.detach() + norm).isfinite() & (self.failed_at < 0)
        self.failed_at.copy_(torch.where(failed, self.step, self.failed_at))
        self.optimizer.found_inf = (self.failed_at >= 0).float()  # fused SGD then changes nothing

    def _check(self):
        """Raises NotFinite once a step has failed."""
        step = self.failed_at.item()
        if step >= 0:
            raise NotFinite(step // self.steps + 1, step % self.steps + 1, self.rates[step].item())

    def _state(self) -> list:
        """Every tensor that a step changes."""
        buffers = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        counters = [self.start, self.step, self.failed_at, self.loss, self.correct]
        return [*self.network.state_dict().values(), *buffers, *counters]

    def train_epoch(self, epoch: int, report) -> dict:
        """Trains on every sample once; report(images done, running loss) now and then.

        Raises NotFinite where a loss or a gradient was not finite: from that step on the weights
        are as they were before it.
        """
        self.network.train()
        self.epoch.fill_(epoch)
        self.order.copy_(permutation(self.draws.seed, epoch, self.samples, ORDER))
        self.step.fill_(epoch * self.steps)
        for tensor in (self.start, self.loss, self.correct):
            tensor.zero_()
        for step in range(self.steps):
            done = step * self.recipe.batch_size
            size = min(self.recipe.batch_size, len(self.samples) - done)
            if size in self.graphs:
                self.graphs[size].replay()
            else:
                self._step(size)
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == self.steps:
                self._check()
                report(done + size, self.loss.item() / (done + size))
        count = len(self.samples)
        return {
            "lr": self.rates[(epoch + 1) * self.steps - 1].item(),
            "train_loss": self.loss.item() / count,
            "train_accuracy": self.correct.item() / count,
        }

    def state_dict(self) -> dict:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict):
        """In place: a captured graph keeps reading the same tensors."""
        self.network.load_state_dict(state["network"])
        saved = state["optimizer"]["state"]
        for index, parameter in enumerate(self.network.parameters()):
            for name, value in saved.get(index, {}).items():
                self.optimizer.state[parameter][name].copy_(value)
