"""One run from where it stands to its summary."""

import io
import time
import traceback

import numpy as np
import torch

from attn import files, pretrained
from attn.build import build, count
from attn.data import Dataset, subset
from attn.data.inputs import Inputs
from attn.draws import Draws
from attn.engine import Trainer
from attn.errors import UserError
from attn.evaluation import POST_IMAGES, evaluate, fixed_test_order, score_rows
from attn.logs import Log
from attn.precision import memory_format
from attn.runs import Run, revision
from attn.schema import Config

SCORE_IMAGES = 1000  # of the fixed test order: an epoch's scores


def split_inputs(config: Config, data: Dataset, split: str, device) -> Inputs:
    """One split as the inputs of a configuration, on the device."""
    recipe = config.recipe
    return Inputs(
        data.images[split],
        data.labels[split],
        recipe.size,
        config.data.noise,
        device,
        memory_format(device, recipe),
        recipe.augment,
    )


def train(run: Run, data: Dataset, device: torch.device, report):
    """Trains what is missing of a run and writes its folder; report(event, run name, values).

    Where it fails, error.txt in the folder says why, until the run is started again.

    Raises RunError where another process has the run, where its checkpoint cannot be used on
    this kind of device, or where the loss is not finite.
    """
    with run.locked():
        if run.finished:
            return
        state = run.restore(device.type, lambda text: report("note", run.name, {"text": text}))
        run.write_config()
        try:
            session = Session(run, data, device, report, state)
            for epoch in range(session.epochs_done, run.config.recipe.epochs):
                session.epoch(epoch)
            session.finish()
        except UserError as error:
            run.fail(str(error))
            raise
        except Exception as error:
            run.fail(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
            raise


class Session:
    """A run being trained: the trainer, the log, and the seconds spent so far."""

    def __init__(self, run: Run, data: Dataset, device: torch.device, report, state: dict | None):
        self.run, self.data, self.device = run, data, device
        self.report = lambda event, **values: report(event, run.name, values)
        self.recipe = recipe = run.config.recipe
        draws = Draws(run.seed)
        weights = pretrained.weights(run.config)
        network = build(run.config, run.seed, draws, weights)
        if weights:
            self.report("note", text=pretrained.describe(network, weights))
        self.size = count(network, run.config)
        splits = ("train", "test")
        self.inputs = {s: split_inputs(run.config, data, s, device) for s in splits}
        samples = subset(data.labels["train"], recipe.images)
        self.trainer = Trainer(network, self.inputs["train"], samples, recipe, draws)
        self.test_order = fixed_test_order(len(data.labels["test"]))
        self.epochs_done, self.seconds, self.train_seconds = 0, 0.0, 0.0
        if state is not None:
            self.trainer.load_state_dict(state)
            self.epochs_done = state["run"]["epochs"]
            self.seconds, self.train_seconds = state["seconds"], state["train_seconds"]
        for name in ("metrics.csv", "scores.csv"):
            files.truncate_rows(run.folder / name, self.epochs_done)
        self.revision = revision()
        self.log = Log(run.folder, self.epochs_done)
        if self.epochs_done == 0:
            self.log.pictures(self.inputs["test"].pictures(int(self.test_order[0])))
        self.total = recipe.epochs * len(samples)
        done = self.epochs_done * len(samples)
        self.report("start", epoch=self.epochs_done, done=done, total=self.total)

    def epoch(self, epoch: int):
        """Trains and tests; writes the rows, and last the checkpoint."""
        began = time.perf_counter()

        def progress(done, loss):
            done += epoch * len(self.trainer.samples)
            self.report("step", done=done, total=self.total, loss=loss)

        metrics = self.trainer.train_epoch(epoch, progress)
        train_seconds = time.perf_counter() - began
        tested = self._test(epoch)
        self.train_seconds += train_seconds
        self.seconds += time.perf_counter() - began
        metrics |= tested | {
            "images_per_second": len(self.trainer.samples) / train_seconds,
            "seconds": time.perf_counter() - began,
        }
        files.append_rows(self.run.folder / "metrics.csv", [{"epoch": epoch, **metrics}])
        self.log.epoch(epoch, metrics)
        self.epochs_done = epoch + 1
        seconds = {"seconds": self.seconds, "train_seconds": self.train_seconds}
        state = self.trainer.state_dict() | seconds
        self.run.save(state, self.epochs_done, self.device.type)
        self.report("epoch", epoch=epoch, epochs=self.recipe.epochs, metrics=metrics)

    def _test(self, epoch: int) -> dict:
        """Accuracy on the recipe's test images, after the last epoch on all; scores and logits."""
        last = epoch + 1 == self.recipe.epochs
        everything = len(self.test_order)
        tested = everything if last else self.recipe.test_images or everything
        counts = {min(SCORE_IMAGES, tested)} | ({POST_IMAGES, everything} if last else set())
        order = self.test_order[:tested]
        network = self.trainer.network
        logits, scores = evaluate(network, self.inputs["test"], order, self.recipe, counts)
        self._write_scores(epoch, scores)
        if last:
            self._write_predictions(order, logits)
        accuracy = (logits.argmax(1) == self.data.labels["test"][order]).double().mean().item()
        return {"test_accuracy": accuracy, "test_images": tested}

    def _write_scores(self, epoch: int, scores: dict):
        rows = score_rows(scores, epoch=epoch)
        if rows:
            files.append_rows(self.run.folder / "scores.csv", rows)
            self.log.scores(epoch, scores[max(n for n in scores if n <= SCORE_IMAGES)])

    def _write_predictions(self, order, logits):
        """Test logits in the dataset's own order, and one image's input channels as they look."""
        canonical = torch.empty_like(logits)
        canonical[order] = logits
        example = int(self.test_order[0])
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            logits=canonical.half().numpy(),
            example=self.inputs["test"].pictures(example).numpy(),
            example_label=self.data.labels["test"][example].numpy(),
        )
        files.write(self.run.folder / "predictions.npz", buffer.getvalue())

    def finish(self):
        """The number reported is the last epoch's test accuracy, never the best one's."""
        accuracy = files.last_row(self.run.folder / "metrics.csv")["test_accuracy"]
        summary = self.run.finish(
            {
                "test_accuracy": float(accuracy),
                **self.size,
                "train_seconds": round(self.seconds, 1),
                "images_per_second": round(self.total / self.train_seconds, 1),
                "device": device_name(self.device),
                "precision": self.recipe.precision,
                "source": self.data.source,
            },
            self.revision,
        )
        self.log.finish(summary)
        self.report("done", summary=summary)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "cpu"
