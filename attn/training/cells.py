"""The cells of a command line, as they train one after another in a process."""

import os
import statistics

from attn.names import ranges


class Cells:
    """The cells of a command line, and what is known of those that have trained so far.

    commands: the words of each cell. busy: the names of the runs that other processes train. said:
    the notes that were shown.
    """

    def __init__(self, commands: list[list[str]] = ()):
        self.commands, self.process = commands, os.getpid()
        self.busy, self.said = [], set()
        self.seconds = []  # of each cell that trained

    def elsewhere(self) -> bool:
        """Returns whether this is a process of a launcher's, and not that of the command line."""
        return self.process != os.getpid()

    def place(self, cell: int | None) -> str:
        of = f" of {len(self.commands)}" if self.commands else ""
        return "" if cell is None else f"cell {cell + 1}{of}: "

    def heading(self, runs: list, cell: int | None) -> str:
        """Returns the line above a cell's runs; cell: its number from 0, None outside a sweep."""
        seeds = ranges(sorted(run.seed for run in runs))
        return f"{self.place(cell)}{runs[0].config.title}, seed{'s' * (len(runs) > 1)} {seeds}"

    def mark(self, cell: int | None) -> str:
        """Returns what stands before a run's lines where cells train beside each other."""
        return f"cell {cell + 1}  " if cell is not None and self.elsewhere() else ""

    def end(self, runs: list, cell: int | None, seconds: float) -> list[str]:
        """Returns the accuracy of a cell's finished runs, their folders and the time left, as text.

        seconds: how long the cell trained; 0 for a cell that was finished before.
        """
        if seconds:
            self.seconds.append(seconds)
        lines = []
        values = [run.accuracy for run in runs]
        if found := mean_accuracy([value for value in values if value is not None]):
            lines.append(f"{found}: {runs[0].pattern if len(runs) > 1 else runs[0].folder}")
        left = len(self.after(cell))
        if left and self.seconds:
            took = duration(left * statistics.mean(self.seconds))
            lines.append(f"about {took} for the {'cell' if left == 1 else f'{left} cells'} left")
        return lines

    def after(self, cell: int | None) -> list[list[str]]:
        """Returns the cells that this process trains after a cell.

        There are none outside of a sweep, nor in a job of a launcher that has sent this process a
        single cell.
        """
        alone = cell is None or self.elsewhere()
        return [] if alone else self.commands[cell + 1 :]


def mean_accuracy(values: list[float]) -> str:
    """Returns the mean of test accuracies with its sd as text; empty without any."""
    if not values:
        return ""
    text = f"test accuracy {100 * statistics.mean(values):.2f}%"
    if len(values) == 1:
        return text
    return f"{text}, sd {100 * statistics.stdev(values):.2f} over {len(values)} seeds"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
