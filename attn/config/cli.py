"""The command line of every program: what it asks for, where to write, how to stop."""

import codecs
import os
import select
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attn.config import catalogue
from attn.config.help import explain
from attn.config.schema import Eval, Recipe, Train
from attn.errors import FULL, Terminated, UserError, plain, stopped_by


def register():
    """Makes the schemas and the help known to Hydra, by the names that configs/*.yaml use."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=Train)
    store.store(name="eval_schema", node=Eval)
    OmegaConf.register_new_resolver("catalogue", explain, replace=True)
    OmegaConf.register_new_resolver("by_backbone", _by_backbone, replace=True)


def _by_backbone(values, *, _root_):
    return catalogue.pick(values, _root_.backbone.name)


def expand_home(words: list[str]) -> list[str]:
    """Returns the command line with this user's folder for ~, as no shell expands ~ behind a =."""
    pairs = (word.partition("=") for word in words)
    return [
        f"{key}={Path(value).expanduser()}" if value.startswith("~/") else key + equals + value
        for key, equals, value in pairs
    ]


SWEEPS = ("-m", "--multirun")
QUESTIONS = (  # Hydra's flags that ask for something else than to run
    *("-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "--resolve", "-p", "--package"),
    *("-sc", "--shell-completion", "-i", "--info"),
)


def is_question(words: list[str]) -> bool:
    """Returns whether the command line asks Hydra for something else than to run.

    Raises UserError for any other flag: a run is asked for by settings alone.
    """
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    for flag in flags:
        if flag not in (*SWEEPS, *QUESTIONS):
            key = _whole_key(flag.lstrip("-"))
            raise UserError(f"{flag}: there is no such flag; a setting is written {key}=value")
    return any(flag not in SWEEPS for flag in flags)


def _whole_key(key: str) -> str:
    """Returns the key with its group in front where it is a recipe's, as in recipe.epochs."""
    return f"recipe.{key}" if key in Recipe.__annotations__ else key


def is_sweep(words: list[str]) -> bool:
    flags = set(SWEEPS) & set(words)
    return bool(flags) or any(word.startswith("experiment=") for word in words)


def check_writable(folder: Path, asked: str, key: str = ""):
    """Raises UserError where the folder cannot be written.

    The message begins with `asked`. key: the key that names another folder, where `asked` does not.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{asked}: {there} is a file; name a folder")
    try:  # os.access says yes to an administrator, also of /proc
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(1 << 16))  # an empty file fits on a full disk
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"{asked}: {there}: {error.strerror}") from None
        other = f"name another folder with {key}" if key else "name another folder"
        raise UserError(f"{asked}: {there} cannot be written to; {other}") from None


def reader_gone():
    """Ends the program in silence where the reader of its output, such as `head`, reads no more.

    The caller handles a BrokenPipeError, which is raised again where another pipe broke.
    """
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if not poll.poll(0):  # no error there
        raise
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes as it ends
    sys.exit(1)


@contextmanager
def one_line_errors():
    """Ends the program, or in a sweep this cell, with a person's mistake and no traceback.

    In a sweep the block raises an error of Hydra's own kind, which Hydra prints without a
    traceback.
    """
    try:
        yield
    except BrokenPipeError:
        reader_gone()
    except (UserError, OmegaConfBaseException, OSError) as error:
        message = plain(error) if isinstance(error, OSError) else str(error)
        if not message:
            raise
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the next cells go on
            raise CompactHydraException(message) from None
        raise SystemExit(message) from None


@contextmanager
def refusing():
    """Ends the program with what is wrong on the command line, without a traceback."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException, OSError, yaml.YAMLError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        message = _reason(error)
        if not message:
            raise
        raise SystemExit(message) from None


def _reason(error: Exception) -> str:
    """Returns what an error says, empty for a bug.

    Hydra names the key and the value in the error's cause alone; some of its errors are an OSError
    too.
    """
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return plain(error)
    if isinstance(error, yaml.YAMLError):  # which names file and line
        return " ".join(str(error).split())
    if isinstance(error, OmegaConfBaseException):
        key = f"{error.full_key}: " if error.full_key else ""
        return key + str(error).partition("\n")[0]
    if isinstance(error.__cause__, OmegaConfBaseException):
        return f"{str(error).partition(chr(10))[0]} {_reason(error.__cause__)}"
    return str(error)


@contextmanager
def stoppable():
    """Ends the program without a traceback at a mistake, an interruption or a reader that has gone.

    SIGTERM is an interruption.
    """

    signal.signal(signal.SIGTERM, _terminate)
    codecs.register_error("in_ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="in_ascii")
    try:
        try:
            with refusing():
                yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        reader_gone()
    except KeyboardInterrupt as stop:
        stop_at_once_next()
        print("\nStopped.", file=sys.stderr)
        sys.exit(stopped_by(stop))


def _terminate(*_):
    raise Terminated


@contextmanager
def stopped_by_sigterm():
    """Makes SIGTERM interrupt the block, and puts the earlier handler back after it.

    A queue sends SIGTERM before it kills a job. submitit's own handler ignores it in the job, but
    it ends the job's processes, whose runs would then count as failed. In a thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _terminate:  # stop_at_once_next() has its own
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def stop_at_once_next():
    """Lets the next signal end this process at once, whatever it is in the middle of."""
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, lambda number, _: os._exit(128 + number))


# Signs in what the programs print, for a terminal whose encoding has none of them.
ASCII = {"\N{MINUS SIGN}": "-", "…": "...", "“": '"', "”": '"', "≤": "<=", "±": "+-"}


def _in_ascii(error: UnicodeEncodeError) -> tuple[str, int]:
    text = error.object[error.start : error.end]
    return "".join(ASCII.get(sign, "?") for sign in text), error.end
