"""Shows a person how runs train: a line per epoch, and in a terminal a bar for each run."""

import sys
import time

from tqdm import tqdm

from attn.runs.folder import Run
from attn.training.events import Busy, EpochEnded, Event, Failed, Finished, Note, Started, Stepped

SLOW_HOURS = 0.5
CPU_HINT = "recipe=quick backbone=resnet20 is meant for CPUs: it takes minutes."


class Progress:
    """Shows the events of `attn.training.session.train` for the runs of one configuration.

    said: the notes that were shown before. mark: what stands before each seed. waves: the time that
    all runs take, as a multiple of one run's time. hint: a text that is said once, where that time
    turns out to be more than half an hour; empty for no hint.
    """

    def __init__(self, runs: list[Run], said: set, mark: str = "", waves: int = 1, hint: str = ""):
        self.terminal = sys.stderr.isatty()
        self.names = {run.name: f"  {mark}seed {run.seed}" for run in runs}
        self.waves, self.hint, self.said = waves, hint, said
        self.bars, self.starts, self.failed, self.busy = {}, {}, [], []

    def handle(self, run: str, event: Event):
        """Shows an event of the run with that name."""
        match event:
            case Note(text, of_all):
                self._note("" if of_all else self.names[run], text)
            case Started(epoch, done, total):
                self._start(run, epoch, done, total)
            case Stepped(done, total, loss):
                self._step(run, done, total, loss)
            case EpochEnded(epoch, epochs, metrics):
                self._epoch(run, epoch, epochs, metrics)
            case Finished():
                self.bars.pop(run).close()
            case Failed(reason):
                self.failed.append(run)
                self._end(run, f"FAILED: {reason}")
            case Busy(reason):
                self.busy.append(run)
                self._end(run, reason)

    def say(self, text: str):
        tqdm.write(text)
        sys.stdout.flush()

    def _note(self, name, text):
        """Shows a text once; name: of which run it tells, empty for all."""
        if (name, text) not in self.said:
            self.said.add((name, text))
            self.say(f"{name}  {text}")

    def _start(self, run, epoch, done, total):
        self.starts[run] = time.perf_counter(), done
        if epoch:
            self.say(f"{self.names[run]}  goes on after epoch {epoch}")
        bar = {"unit": " images", "unit_scale": True, "leave": False, "dynamic_ncols": True}
        self.bars[run] = tqdm(
            desc=self.names[run], initial=done, total=total, disable=not self.terminal, **bar
        )

    def _step(self, run, done, total, loss):
        bar = self.bars[run]
        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        bar.update(done - bar.n)
        if self.hint:
            began, first = self.starts[run]
            rate = (done - first) / (time.perf_counter() - began)
            hours = (total - first) / rate * self.waves / 3600
            if hours > SLOW_HOURS:
                self._note("", f"takes about {hours:.1f} hours at this speed. {self.hint}")
            self.hint = ""

    def _epoch(self, run, epoch, epochs, metrics):
        tested = f"{metrics['test_accuracy']:.1%} of {metrics['test_images']:,}"
        self.say(
            f"{self.names[run]}  epoch {epoch + 1}/{epochs}  loss {metrics['train_loss']:.3f}  "
            f"train {metrics['train_accuracy']:.1%}  test {tested}  "
            f"{metrics['images_per_second']:.0f} images/s"
        )

    def _end(self, run, text):
        self.say(f"{self.names[run]}  {text}")
        if run in self.bars:
            self.bars.pop(run).close()
