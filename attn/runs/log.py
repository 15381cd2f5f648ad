"""The curves, pictures and results that a run shows in TensorBoard."""

import csv
from pathlib import Path

import torch
import yaml
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from attn.names import COLOURS, channel_name, of_input_channels

CURVES = {
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "lr": "learning_rate",
    "images_per_second": "images_per_second",
}
HPARAMS = ("backbone", "attention", "location", "stages", "data", "recipe", "seed", "precision")
COUNTS = ("parameters", "multiply_adds")
GAP = "score/gap"  # the lowest score of a colour minus the highest of a noise channel


class Log:
    """The TensorBoard log of a run, in which a step is an epoch, counted from 1.

    The log follows the run's CSV files: a resumed run writes it anew from them. TensorBoard orders
    several files of events by their times, and a clock may step back between them.
    """

    def __init__(self, folder: Path):
        for older in folder.glob("events.out.tfevents.*"):
            older.unlink()
        self.folder, self.writer = folder, SummaryWriter(str(folder))

    def replay(self, images: int):
        """Adds the epochs that metrics.csv and scores.csv have.

        images: the scores of an epoch are those over the most test images up to this number.
        """
        for row in _rows(self.folder / "metrics.csv"):
            self.epoch(
                int(row["epoch"]), {name: float(row[name]) for name in CURVES if name in row}
            )
        if not (self.folder / "scores.csv").exists():
            return
        found = {}  # by (epoch, images) and module, the means of the channels
        for row in _rows(self.folder / "scores.csv"):
            modules = found.setdefault((int(row["epoch"]), int(row["images"])), {})
            modules.setdefault(row["module"], []).append(float(row["mean"]))
        most = dict(sorted(key for key in found if key[1] <= images))  # by epoch
        for epoch, count in most.items():
            means = {m: (torch.tensor(v),) for m, v in found[epoch, count].items()}
            self.scores(epoch, means)

    def begin(self, config: dict, channels: torch.Tensor):
        """Adds the configuration as text, and a test image's channels (C, H, W) side by side."""
        text = yaml.safe_dump(config, sort_keys=False).replace("\n", "\n    ")
        self.writer.add_text("configuration", f"    {text}", 0)  # indented: Markdown's code
        self.writer.add_image("input channels", torch.cat(tuple(channels), 1)[None], 0)

    def epoch(self, epoch: int, metrics: dict):
        for name, tag in CURVES.items():
            if name in metrics:  # runs from before it have no test_loss
                self.writer.add_scalar(tag, metrics[name], epoch + 1)
        self.writer.flush()

    def scores(self, epoch: int, scores: dict):
        """Adds the mean score of each input channel, and histograms of the scores of every place.

        scores: {module: (mean, ...)}, each (C,), over test images. A histogram counts channels.
        """
        for module, (mean, *_) in scores.items():
            self.writer.add_histogram(f"gate/{module}", mean, epoch + 1)
            if of_input_channels(module):
                self._inputs(epoch, mean)

    def _inputs(self, epoch: int, mean: torch.Tensor):
        for channel, score in enumerate(mean):
            name = channel_name(channel).replace(" ", "_")
            self.writer.add_scalar(f"score/{name}", score, epoch + 1)
        if len(mean) > COLOURS:
            gap = mean[:COLOURS].min() - mean[COLOURS:].max()
            self.writer.add_scalar(GAP, gap, epoch + 1)

    def finish(self, summary: dict, epochs: int):
        """Adds the run's settings and results to the table of hyperparameters."""
        for name in COUNTS:
            self.writer.add_scalar(name, summary[name], epochs)
        values = {name: summary[name] for name in HPARAMS}
        metrics = dict.fromkeys(("accuracy/test", "loss/test", GAP, *COUNTS), 0.0)  # names alone
        for part in hparams(values, metrics):
            self.writer.file_writer.add_summary(part)
        self.writer.close()


def _rows(path: Path):
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
