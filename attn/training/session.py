"""The runs of one configuration, together, from where they stand to their summaries."""

import time
import traceback
from contextlib import ExitStack, suppress

import torch

from attn.data import Dataset
from attn.draws import Draws
from attn.errors import RunError, plain
from attn.evaluation.predict import Predictor, evaluate, score_rows, untrained_scores
from attn.names import POST_IMAGES
from attn.network import pretrained
from attn.network.build import build, count, stem_norms
from attn.runs import checkpoint, environment, files
from attn.runs.folder import Run
from attn.runs.log import Log
from attn.training.shared import Shared
from attn.training.trainer import run_epoch

UNTRAINED_IMAGES = 250
SCORE_IMAGES = 1000  # of the fixed test order: an epoch's scores
# Between checkpoints. One of MobileNetV2 with attention at `last`, 44 MB, takes 0.13 s to write
# (CPU, 2 cores): too long for a GPU to wait after every epoch of every seed.
CHECKPOINT_SECONDS = {"cpu": 0, "cuda": 30}


def train(runs: list[Run], data: Dataset, device: torch.device, report, compiled=None):
    """Trains together what is missing of the runs of one configuration, and writes their folders.

    report(event, run name, values) hears of all that happens. A run that fails is reported, and
    error.txt in its folder says why until it is started again; the others go on. compiled: whether
    the step is compiled; None: where that is expected to pay.
    """
    with ExitStack() as locks:
        sessions = [Session(run, report) for run in runs]
        _each(sessions, lambda session: session.claim(locks, device))
        if all(session.over for session in sessions):
            return
        try:
            shared = Shared(runs[0].config, data, device, compiled)
            _each(sessions, lambda session: session.open(shared))
            while training := [session for session in sessions if not session.over]:
                _epoch(training)
        except BrokenPipeError:  # nobody reads what is reported: no run's failure
            raise
        except Exception as error:  # in what they share
            for session in sessions:
                session.fail(error)


def _epoch(sessions: list):
    """Trains an epoch of each, tests them, and writes their rows, and checkpoints that are due."""
    _each(sessions, Session.begin)
    sessions = [session for session in sessions if not session.over]
    if not sessions:
        return
    failed = run_epoch([s.trainer for s in sessions], lambda: [s.show() for s in sessions])
    now = time.perf_counter()
    for session in sessions:
        session.trained, session.together = now, len(sessions)
        if session.trainer in failed:
            session.fail(failed[session.trainer])
    _each(sessions, Session.test)
    _each(sessions, Session.end)


def _each(sessions: list, action):
    """Does it to each that is not over; one that fails is over, and the others go on."""
    for session in sessions:
        if not session.over:
            try:
                action(session)
            except BrokenPipeError:
                raise
            except Exception as error:
                session.fail(error)


class Session:
    """A run being trained: the trainer, the log, and the seconds spent so far.

    seconds: its share of the time of all that train together; train_seconds: that of its training.
    over: whether nothing is left to do, because it is finished or has failed.
    """

    def __init__(self, run: Run, report):
        self.run, self.recipe = run, run.config.recipe
        self.report = lambda event, **values: report(event, run.name, values)
        self.over = self.writing = False
        self.epochs_done, self.seconds, self.train_seconds = 0, 0.0, 0.0

    def claim(self, locks: ExitStack, device: torch.device):
        """Locks the folder and reads where the run stands.

        Raises RunError where another process has the run, or where its checkpoint cannot be used
        on this kind of device.
        """
        locks.enter_context(self.run.locked())
        self.over = self.run.finished
        if not self.over:
            self.state = self.run.restore(device.type, lambda text: self.report("note", text=text))
            self.run.write_config()
            self.writing = True

    def open(self, shared: Shared):
        """Builds the network, and puts it where the run stands."""
        self.shared = shared
        draws = Draws(self.run.seed)
        network = build(self.run.config, self.run.seed, draws, shared.weights)
        if shared.weights:
            self.report("note", text=pretrained.describe(network, shared.weights))
        self.size = count(network, self.run.config)
        if shared.compiled:
            self.report("note", text="compiling the step, which may take a minute")
        self.trainer = shared.trainer(network, draws)
        stream = self.trainer.stream if shared.captured else None
        self.predictor = Predictor(network, shared.inputs["test"], self.recipe, stream)
        if self.trainer.why:
            self.report("note", text=f"computes in {self.trainer.precision}: {self.trainer.why}")
        for note in self.trainer.notes + self.predictor.notes:
            self.report("note", text=note)
        if self.state is not None:
            self._go_on_from(self.state)
        self._record_environment()
        for name in ("metrics.csv", "scores.csv"):
            files.truncate_rows(self.run.folder / name, self.epochs_done)
        self.log = Log(self.run.folder, self.epochs_done)
        if self.epochs_done == 0:
            example = int(shared.test_order[0])
            self.log.pictures(shared.inputs["test"].pictures(example))
            first = shared.test_order[:UNTRAINED_IMAGES]
            self._write_scores(-1, untrained_scores(network, shared.inputs["test"], first))
        self.total = self.recipe.epochs * len(shared.samples)
        self.saved = time.perf_counter()
        self.report("start", epoch=self.epochs_done, done=self._images_done(), total=self.total)
        if self.epochs_done == self.recipe.epochs:
            self.finish()

    def _go_on_from(self, state: dict):
        """Raises RunError where what was done was computed in other numbers than this machine's."""
        here = self.trainer.precision
        there = state.get("precision", here)  # the first checkpoints did not say
        if there != here:
            raise RunError(
                f"{self.run.folder / checkpoint.NAME} was computed in {there}, this machine "
                f"computes in {here}: go on there, or delete the folder to start again"
            )
        self.trainer.load_state_dict(state)
        self.epochs_done = state["run"]["epochs"]
        self.seconds, self.train_seconds = state["seconds"], state["train_seconds"]

    def _record_environment(self):
        trainer, folder = self.trainer, self.run.folder
        here = environment.here(self.shared.device, trainer.precision, trainer.mode)
        if note := environment.record(folder, here, self.epochs_done, self.recipe.epochs):
            self.report("note", text=note)

    def _images_done(self) -> int:
        return self.epochs_done * len(self.shared.samples)

    def begin(self):
        self.began = time.perf_counter()
        self.trainer.begin(self.epochs_done)

    def show(self):
        done, loss = self.trainer.progress()
        self.report("step", done=self._images_done() + done, total=self.total, loss=loss)

    def test(self):
        """Asks for the logits of the recipe's test images, after the last epoch of all, and scores.

        On a GPU they are computed while other runs ask for theirs.
        """
        order = self.shared.test_order
        last = self.epochs_done + 1 == self.recipe.epochs
        tested = len(order) if last else self.recipe.test_images or len(order)
        counts = {min(SCORE_IMAGES, tested)} | ({POST_IMAGES, len(order)} if last else set())
        self.tested = order[:tested]
        with self.trainer.on_stream():
            there = self.shared.test_order_there[:tested]
            self.logits, self.scores = evaluate(self.predictor, there, counts)

    def end(self):
        """Writes the epoch's rows, then its checkpoint if due; after the last epoch the summary."""
        epoch, seconds = self.epochs_done, self.trained - self.began
        metrics = self.trainer.end()
        with self.trainer.on_stream():
            logits = self.logits.cpu()
            self._write_scores(epoch, self.scores)
        labels = self.shared.data.labels["test"][self.tested]
        self.seconds += (time.perf_counter() - self.began) / self.together
        self.train_seconds += seconds
        metrics |= {
            "test_accuracy": (logits.argmax(1) == labels).double().mean().item(),
            "test_images": len(labels),
            "images_per_second": len(self.shared.samples) / seconds,
            "seconds": time.perf_counter() - self.began,
        }
        if epoch + 1 == self.recipe.epochs:
            self._write_predictions(logits)
        files.append_rows(self.run.folder / "metrics.csv", [{"epoch": epoch, **metrics}])
        self.log.epoch(epoch, metrics)
        self.epochs_done = epoch + 1
        last, device = self.epochs_done == self.recipe.epochs, self.shared.device.type
        if last or time.perf_counter() - self.saved >= CHECKPOINT_SECONDS[device]:
            self._save(device)
        self.report("epoch", epoch=epoch, epochs=self.recipe.epochs, metrics=metrics)
        if last:
            self.finish()

    def _save(self, device: str):
        state = self.trainer.state_dict() | {
            "precision": self.trainer.precision,
            "seconds": self.seconds,
            "train_seconds": self.train_seconds,
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

    def _write_predictions(self, logits):
        """Test logits in the dataset's own order, and one image's input channels as they look."""
        canonical = torch.empty_like(logits)
        canonical[self.tested] = logits
        example = int(self.tested[0])
        files.write_arrays(
            self.run.folder / "predictions.npz",
            logits=canonical.half().numpy(),
            example=self.shared.inputs["test"].pictures(example).numpy(),
            example_label=self.shared.data.labels["test"][example].numpy(),
        )

    def _write_stem(self):
        """Writes how strongly the first convolution takes up each input channel."""
        with self.trainer.on_stream():
            norms = stem_norms(self.trainer.network)
        rows = [f"{channel},{norm!r}\n" for channel, norm in enumerate(norms)]
        files.write(self.run.folder / "stem.csv", "".join(["channel,norm\n", *rows]))

    def finish(self):
        """The number reported is the last epoch's test accuracy, never the best one's."""
        self._write_stem()
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
            self.shared.revision,
            {
                "mode": self.trainer.mode,
                "strict": self.run.config.strict,
                "memory_format": str(self.trainer.inputs.memory_format).removeprefix("torch."),
            },
        )
        self.over = True
        self.log.finish(summary)
        self.report("done", summary=summary)

    def fail(self, error: Exception):
        """The run is over; its folder says why, where this process may write it."""
        if self.over:
            return
        self.over = True
        message, trace = plain(error), "".join(traceback.format_exception(error))
        if self.writing:
            with suppress(OSError):  # a full disk, which may be why
                self.run.fail(message or f"{type(error).__name__}: {error}\n\n{trace}")
        self.report("failed", reason=message or trace)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "cpu"
