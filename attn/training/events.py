"""The events of a run in training, as they are reported to the code that shows them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something that a person should know.

    of_all: whether it is true of every run of the configuration.
    """

    text: str
    of_all: bool = False


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `epoch` epochs; done and total are numbers of images."""

    epoch: int
    done: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """Some steps are done; done and total are numbers of images.

    loss: the mean loss of the epoch so far.
    """

    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class EpochEnded:
    """An epoch, counted from 0, is trained, tested and written."""

    epoch: int
    epochs: int
    metrics: dict


@dataclass(frozen=True)
class Finished:
    """A run has its summary."""


@dataclass(frozen=True)
class Failed:
    """A run has ended without a summary."""

    reason: str


@dataclass(frozen=True)
class Busy:
    """Another process trains the run."""

    reason: str


Event = Note | Started | Stepped | EpochEnded | Finished | Failed | Busy
