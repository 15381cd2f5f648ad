"""The curves, pictures and results that a run shows in TensorBoard."""

from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from attn.names import of_input_channels

CURVES = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "lr": "learning_rate",
    "images_per_second": "images_per_second",
}
HPARAMS = ("backbone", "attention", "location", "stages", "data", "recipe", "seed", "precision")


class Log:
    """The TensorBoard log of a run, in which a step is an epoch, counted from 1.

    A resumed run replaces the entries after the epoch from which it goes on.
    """

    def __init__(self, folder: Path, epochs_done: int):
        self.writer = SummaryWriter(str(folder), purge_step=epochs_done + 1)

    def pictures(self, channels: torch.Tensor):
        """Adds a picture of each channel of one test image, (C, H, W) uint8, side by side."""
        for channel, picture in enumerate(channels):
            self.writer.add_image(f"input/channel_{channel}", picture[None], 0)

    def epoch(self, epoch: int, metrics: dict):
        for name, tag in CURVES.items():
            self.writer.add_scalar(tag, metrics[name], epoch + 1)
        self.writer.flush()

    def scores(self, epoch: int, scores: dict):
        """Adds the mean score of each input channel.

        A gate elsewhere has too many channels for curves.
        """
        for module in filter(of_input_channels, scores):
            for channel, mean in enumerate(scores[module][0]):
                self.writer.add_scalar(f"score/channel_{channel}", mean, epoch + 1)

    def finish(self, summary: dict):
        values = {name: summary[name] for name in HPARAMS}
        for part in hparams(values, {"accuracy/test": summary["test_accuracy"]}):
            self.writer.file_writer.add_summary(part)
        self.writer.close()
