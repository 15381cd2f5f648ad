"""The parts that the runs of one configuration share: images on the device, how a step is made."""

import gc

import torch
from torch import nn

from attn.compute.precision import is_compiled, set_backends
from attn.config.schema import Config
from attn.data import Dataset, subset
from attn.draws import Draws
from attn.evaluation.predict import fixed_test_order, split_inputs
from attn.network import pretrained
from attn.network.build import outline
from attn.runs.environment import revision
from attn.training.trainer import Trainer

REVISION = revision()  # of the code that is imported now, whatever is committed while it trains


class Shared:
    """The shared parts, made once for the runs that train together.

    compiled: whether to compile the step; None compiles it where that is expected to pay.
    """

    def __init__(self, config: Config, data: Dataset, device: torch.device, compiled: bool | None):
        if device.type == "cuda":  # the last configuration's graphs hold their memory in cycles
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()  # from which advice follows where memory runs out
        self.data, self.device, self.recipe = data, device, config.recipe
        set_backends(config.recipe.precision, config.strict)
        self.samples = subset(data.labels["train"], config.recipe.images)
        self.inputs = {s: split_inputs(config, data, s, device) for s in ("train", "test")}
        self.test_order = fixed_test_order(len(data.labels["test"]))
        self.test_order_there = self.test_order.to(device)  # else every batch waits for a copy
        self.weights = pretrained.weights(config)
        self.revision = REVISION
        images = len(self.samples)
        self.compiled = is_compiled(compiled, device, config, images, outline(config))
        if self.compiled:
            torch.compiler.reset()  # else its limit of recompilations counts every configuration
        self.captured = True

    def trainer(self, network: nn.Module, draws: Draws) -> Trainer:
        inputs = self.inputs["train"]
        how = self.compiled, self.captured
        trainer = Trainer(network, inputs, self.samples, self.recipe, draws, *how)
        # What could not be compiled or captured for one seed is not tried for the next.
        self.compiled = self.compiled and "compiled" in trainer.mode
        self.captured = self.captured and bool(trainer.graphs)
        return trainer
