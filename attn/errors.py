"""Mistakes that a person can mend: the programs print the message alone, without a traceback."""

from errno import EDQUOT, EFBIG, ENOSPC

FULL = (ENOSPC, EFBIG, EDQUOT)  # a disk, a file by its limit, a person's share


class UserError(Exception):
    """One sentence that names the value, the place and the choices."""


class DataError(UserError):
    """A dataset that is missing, damaged or too small."""


class DataMissing(DataError):
    """A dataset that is nowhere and could not be fetched: nothing is damaged."""


class RunError(UserError):
    """A run folder that cannot be used as asked."""


class BusyError(RunError):
    """A run folder that another process has locked."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a queue sends before it kills: the program ends as at Ctrl-C."""


def stopped_by(stop: KeyboardInterrupt) -> int:
    """Returns the exit status of a program that was stopped: 128 and the signal's number."""
    return 143 if isinstance(stop, Terminated) else 130


def plain(error: Exception) -> str:
    """Returns one line for an error that a person can mend: a mistake, or a full disk.

    The line is empty where the error is a bug.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror and (error.filename or error.errno in FULL):
        return f"{error.filename or 'writing a file'}: {error.strerror}"
    return ""


def one_of(key: str, value, known, error: type[Exception] = UserError):
    """Raises an error, with the choices, where the value is none of the known values."""
    if value not in list(known):  # a value such as a list has no hash
        raise error(f"{key}={value}: choose one of {', '.join(map(str, known))}")
