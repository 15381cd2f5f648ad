"""Trains the runs of one configuration together, from where they stand to their summaries."""

import functools
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional

from attn.data import Dataset
from attn.draws import Draws
from attn.errors import BusyError, RunError, plain
from attn.evaluation.predict import (
    Predictor,
    evaluate,
    has_scores,
    score_rows,
    untrained_scores,
)
from attn.names import POST_IMAGES
from attn.network import pretrained
from attn.network.build import build, count, stem_norms
from attn.runs import checkpoint, environment, files, whole
from attn.runs.folder import Run
from attn.runs.log import Log
from attn.training import memory
from attn.training.events import Busy, EpochEnded, Failed, Finished, Note, Started, Stepped
from attn.training.shared import Shared
from attn.training.trainer import run_epoch

UNTRAINED_IMAGES = 250
SCORE_IMAGES = 1000  # of the fixed test order: an epoch's scores
# Seconds between two checkpoints of a run. A checkpoint of MobileNetV2 with attention at `last`, 44
# MB, takes 0.13 s to write (CPU, 2 cores): too long for a GPU to wait after every epoch and seed.
CHECKPOINT_SECONDS = {"cpu": 0, "cuda": 30}


def train(runs: list[Run], data: Dataset, device: torch.device, report, compiled=None):
    """Trains the missing epochs of a configuration's runs together, and writes their folders.

    report(run's name, event) is called for everything that happens to a run. A run that fails is
    reported, and error.txt in its folder says why until the run is started again. The other runs go
    on. compiled: whether the step is compiled; None compiles it where that is expected to pay.
    """
    with ExitStack() as locks:
        claims = [claim for run in runs if (claim := _claim(run, device, report, locks))]
        claims = _each(claims, Claim.begin)
        if not claims:
            return
        try:
            shared, sessions = Shared(runs[0].config, data, device, compiled), []
            for claim in claims:  # of those that hold memory by then
                claim.together = len(sessions) + 1
                sessions += _each([claim], lambda claim: Session(claim, shared))
            for session in sessions:
                session.claim.together = len(sessions)
            while sessions:
                _each([session for session in sessions if session.trained], Session.finish)
                sessions = _epoch([session for session in sessions if not session.trained])
        except BrokenPipeError:  # nobody reads what is reported: no run's failure
            raise
        except Exception as error:  # in what they share
            for claim in claims:
                claim.fail(error)


def _epoch(sessions: list) -> list:
    """Trains each session for an epoch, tests the networks, and writes rows and checkpoints.

    Returns the sessions that have not failed.
    """
    began = time.perf_counter()
    sessions = _each(sessions, Session.begin)
    if not sessions:
        return []
    failed = run_epoch([s.trainer for s in sessions], lambda: [s.show() for s in sessions])
    seconds = time.perf_counter() - began
    for session in sessions:
        if session.trainer in failed:
            session.fail(failed[session.trainer])
    together = len(sessions)
    tested = _each([s for s in sessions if s.trainer not in failed], Session.test)
    return _each(tested, lambda test: test.session.end(test, began, seconds, together))


def _each(items: list, action) -> list:
    """Applies `action` to each item, and returns the results.

    An item whose action raises has failed, and its `fail` gets the error; the other items go on.
    """
    results = []
    for item in items:
        try:
            results.append(action(item))
        except BrokenPipeError:
            raise
        except Exception as error:
            item.fail(error)
    return results


class Claim:
    """A run whose folder this process has locked.

    state: the checkpoint from which the run goes on, or None. over: whether the run is finished or
    has failed. together: how many runs this process began to train together.
    """

    def __init__(self, run: Run, tell, device: torch.device):
        self.run, self.state, self.tell, self.device = run, None, tell, device
        self.over, self.together = False, 1

    def begin(self) -> "Claim":
        """Reads where the run stands, and makes its folder ready for what is trained next.

        Raises RunError where the checkpoint cannot be used on this kind of device.
        """
        self.state = self.run.restore(self.device.type, lambda text: self.tell(Note(text)))
        self.run.cut_back(self.state["run"]["epochs"] if self.state else 0)
        self.run.write_config()
        return self

    def fail(self, error: Exception):
        """Ends the run as failed, writes the reason into its folder, and reports it."""
        if not self.over:
            self.over = True
            message, trace = plain(error), "".join(traceback.format_exception(error))
            reason = message or f"{type(error).__name__}: {error}\n\n{trace}"
            if memory.ran_out(error):
                message = memory.advice(self.device, self.together)
                reason = f"{message}\n\n{trace}"
            with suppress(OSError):  # a full disk, which may be why
                self.run.fail(reason)
            self.tell(Failed(message or trace))


def _claim(run: Run, device: torch.device, report, locks: ExitStack) -> Claim | None:
    """Locks a run's folder.

    Returns the Claim, or None where the run is finished, or where another process has locked the
    folder, which is reported.
    """
    tell = functools.partial(report, run.name)
    try:
        locks.enter_context(run.locked())
        return None if run.finished else Claim(run, tell, device)
    except BrokenPipeError:
        raise
    except BusyError as error:
        tell(Busy(str(error)))
        return None
    except Exception as error:
        tell(Failed(plain(error) or "".join(traceback.format_exception(error))))
        return None


@dataclass(frozen=True)
class Tested:
    """The results of a network on test images.

    samples: the positions (N,) of the images. logits: (N, classes). scores: as
    `attn.evaluation.predict.evaluate` returns them.
    """

    session: "Session"
    samples: torch.Tensor
    logits: torch.Tensor
    scores: dict

    def fail(self, error: Exception):
        self.session.fail(error)


class Session:
    """A run in training: its trainer, its log, and the seconds spent so far.

    seconds: the time of epochs with their tests, divided among the runs that train together; the
    summary calls it train_seconds. train_seconds: the time of training without tests, not divided.
    """

    def __init__(self, claim: Claim, shared: Shared):
        """Builds the network, and restores it from the run's checkpoint where there is one."""
        self.run, self.recipe, self.shared = claim.run, claim.run.config.recipe, shared
        self.tell, self.fail, self.claim = claim.tell, claim.fail, claim
        draws = Draws(self.run.seed)
        network = build(self.run.config, self.run.seed, draws, shared.weights)
        self.size = count(network, self.run.config)
        if shared.compiled:
            self.tell(Note("compiling the step, which may take a minute", of_all=True))
        self.trainer = shared.trainer(network, draws)
        stream = self.trainer.stream if shared.captured else None
        precision = self.trainer.precision
        self.predictor = Predictor(network, shared.inputs["test"], self.recipe, stream, precision)
        for text in self._notes(network):
            self.tell(Note(text, of_all=True))
        self.epochs_done, self.seconds, self.train_seconds = self._restored(claim.state)
        self.made = {"revision": shared.revision, "mode": self.trainer.mode}
        if self.trained:  # nothing is computed any more: a summary is written again
            self.made = claim.state.get("made", self.made)
        self._record_environment()
        self.log = Log(self.run.folder)
        example = shared.inputs["test"].pictures(int(shared.test_order[0]))
        self.log.begin(asdict(self.run.config), example)
        if self.epochs_done:
            self.log.replay(SCORE_IMAGES)
        else:
            first = shared.test_order[:UNTRAINED_IMAGES]
            self._write_scores(-1, untrained_scores(network, shared.inputs["test"], first))
        self.total = self.recipe.epochs * len(shared.samples)
        self.saved = time.perf_counter()
        self.tell(Started(self.epochs_done, self._images_done(), self.total))

    def _notes(self, network) -> list[str]:
        """Returns what a person should know of how this run computes."""
        notes = []
        if self.shared.weights:
            notes.append(pretrained.describe(network, self.shared.weights))
        if self.run.config.location != "none" and not has_scores(network):
            notes.append("this mechanism records no scores: it has no attn.network.scores.Scores")
        if self.trainer.why:
            notes.append(f"computes in {self.trainer.precision}: {self.trainer.why}")
        return notes + self.trainer.notes + self.predictor.notes

    def _restored(self, state: dict | None) -> tuple[int, float, float]:
        """Restores the trainer from a checkpoint; returns (epochs done, seconds, train_seconds).

        Raises RunError where the checkpoint was computed in another precision than this machine
        computes in.
        """
        if state is None:
            return 0, 0.0, 0.0
        checkpoint.check_parts(self.run.folder, state)
        here = self.trainer.precision
        there = state.get("precision", here)  # the first checkpoints did not say
        if there != here:
            raise RunError(
                f"{self.run.folder / checkpoint.NAME} was computed in {there}, this machine "
                f"computes in {here}: go on there, or delete the folder to start again"
            )
        self.trainer.load_state_dict(state)
        return state["run"]["epochs"], state["seconds"], state["train_seconds"]

    def _record_environment(self):
        trainer, folder = self.trainer, self.run.folder
        here = environment.here(self.shared.device, trainer.precision, trainer.mode)
        if note := environment.record(folder, here, self.epochs_done, self.recipe.epochs):
            self.tell(Note(note))

    @property
    def trained(self) -> bool:
        """Returns whether all epochs are done."""
        return self.epochs_done == self.recipe.epochs

    def _images_done(self) -> int:
        return self.epochs_done * len(self.shared.samples)

    def begin(self) -> "Session":
        self.trainer.begin(self.epochs_done)
        return self

    def show(self):
        done, loss = self.trainer.progress()
        self.tell(Stepped(self._images_done() + done, self.total, loss))

    def test(self) -> Tested:
        """Returns the logits and scores of the recipe's test images.

        After the last epoch the test images are all of the test set. On a GPU logits and scores are
        computed while other runs ask for their own.
        """
        order = self.shared.test_order
        last = self.epochs_done + 1 == self.recipe.epochs
        tested = len(order) if last else self.recipe.test_images or len(order)
        counts = {min(SCORE_IMAGES, tested)} | ({POST_IMAGES, len(order)} if last else set())
        with self.trainer.on_stream():
            there = self.shared.test_order_there[:tested]
            return Tested(self, order[:tested], *evaluate(self.predictor, there, counts))

    def end(self, tested: Tested, began: float, seconds: float, together: int) -> "Session":
        """Writes the epoch's rows, then its checkpoint if that is due.

        began: when the epoch began. seconds: how long the epoch's training took, for all sessions
        together. together: how many sessions trained together.
        """
        epoch, metrics = self.epochs_done, self.trainer.end()
        with self.trainer.on_stream():
            logits = tested.logits.cpu()
            self._write_scores(epoch, tested.scores)
        labels = self.shared.data.labels["test"][tested.samples]
        self.seconds += (time.perf_counter() - began) / together
        self.train_seconds += seconds
        metrics |= {
            "test_loss": functional.cross_entropy(logits, labels).item(),
            "test_accuracy": (logits.argmax(1) == labels).double().mean().item(),
            "test_images": len(labels),
            "images_per_second": len(self.shared.samples) / seconds,
            "seconds": time.perf_counter() - began,
        }
        if epoch + 1 == self.recipe.epochs:
            self._write_predictions(tested.samples, logits)
        files.append_rows(self.run.folder / "metrics.csv", [{"epoch": epoch, **metrics}])
        self.log.epoch(epoch, metrics)
        self.epochs_done = epoch + 1
        device = self.shared.device.type
        if self.trained or time.perf_counter() - self.saved >= CHECKPOINT_SECONDS[device]:
            self._save(device)
        self.tell(EpochEnded(epoch, self.recipe.epochs, metrics))
        return self

    def _save(self, device: str):
        state = self.trainer.state_dict() | {
            "precision": self.trainer.precision,
            "seconds": self.seconds,
            "train_seconds": self.train_seconds,
            "made": self.made,
        }
        self.run.save(state, self.epochs_done, device)
        self.saved = time.perf_counter()

    def _write_scores(self, epoch: int, scores: dict):
        rows = score_rows(scores, epoch=epoch)
        if not rows and self.run.config.location != "none":  # a mechanism that records none
            files.write(self.run.folder / "scores.csv", "module,channel,epoch,images,mean\n")
        if rows:
            files.append_rows(self.run.folder / "scores.csv", rows)
            self.log.scores(epoch, scores[max(n for n in scores if n <= SCORE_IMAGES)])

    def _write_predictions(self, samples, logits):
        """Writes test logits in the dataset's own order, and one image's channels as they look."""
        canonical = torch.empty_like(logits)
        canonical[samples] = logits
        example = int(samples[0])
        files.write_arrays(
            self.run.folder / "predictions.npz",
            logits=canonical.half().numpy(),
            example=self.shared.inputs["test"].pictures(example).numpy(),
            example_label=self.shared.data.labels["test"][example].numpy(),
        )

    def _write_missing_predictions(self):
        """Writes predictions.npz where it is missing or damaged in a run that was finished."""
        try:
            whole.check_predictions(self.run.folder, needed=True)
        except whole.Damaged:
            with self.trainer.on_stream():
                logits, _ = evaluate(self.predictor, self.shared.test_order_there)
                self._write_predictions(self.shared.test_order, logits.cpu())

    def _write_stem(self):
        """Writes stem.csv: how strongly the first convolution takes up each input channel."""
        with self.trainer.on_stream():
            norms = stem_norms(self.trainer.network)
        rows = [f"{channel},{norm!r}\n" for channel, norm in enumerate(norms)]
        files.write(self.run.folder / "stem.csv", "".join(["channel,norm\n", *rows]))

    def finish(self):
        """Writes the summary, whose test accuracy is the last epoch's, never the best epoch's."""
        self._write_stem()
        self._write_missing_predictions()
        accuracy = files.last_row(self.run.folder / "metrics.csv")["test_accuracy"]
        summary = self.run.finish(
            {
                "test_accuracy": float(accuracy),
                **self.size,
                "train_seconds": round(self.seconds, 1),
                "images_per_second": round(self.total / self.train_seconds, 1),
                "device": device_name(self.shared.device),
                "precision": self.trainer.precision,
                "source": self.shared.data.source,
            },
            self.made["revision"],
            {
                "train_images": len(self.shared.data.labels["train"]),
                "mode": self.made["mode"],
                "strict": self.run.config.strict,
                "memory_format": str(self.trainer.inputs.memory_format).removeprefix("torch."),
            },
        )
        self.claim.over = True
        self.log.finish(summary, self.epochs_done)
        self.tell(Finished())


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "cpu"
