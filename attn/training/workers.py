"""Processes that train on a CPU or compile ahead; each ends when its parent ends.

They are forked from a server process that has imported torch. This module imports nothing heavy:
`start` lets the server import torch while this process imports it.
"""

import fcntl
import functools
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from multiprocessing import connection, forkserver
from pathlib import Path

from attn.config.launchers import VISIBLE, visible_gpus

CONTEXT = multiprocessing.get_context("forkserver")


# A step frees and takes again the same large blocks: glibc shall keep them, and in huge pages.
ALLOCATOR = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 2**33}


def start():
    """Starts the server process, from which the other processes are forked."""
    tunables = ":".join(f"glibc.malloc.{name}={value}" for name, value in ALLOCATOR.items())
    os.environ.setdefault("GLIBC_TUNABLES", tunables)  # read as that process starts
    # What the compiler of an ended process leaves behind is removed: nobody need hear of it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    CONTEXT.set_forkserver_preload(["attn.training.launch"])
    # A person's Ctrl-C reaches all: this process answers it, and ends the others.
    answer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, answer)


def process(target, args: tuple):
    """Returns a process that is forked from the server and ends with this process.

    A launcher's worker may have a start method of its own, such as loky, which it would hand on to
    processes that do not know it.
    """
    multiprocessing.set_start_method("forkserver", force=True)
    return CONTEXT.Process(target=target, args=args, daemon=True)


def processors() -> int:
    """Returns the number of processors that this process may use.

    Where the system does not say, that is the number of all processors.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def take_gpu(folder: str = ""):
    """Keeps this process on one of several GPUs, before torch asks for them.

    A launcher's processes on one machine each take the first GPU that none of them has yet, as long
    as they live; where all are taken they share. The folder, of temporary files unless another is
    given, holds the locks.
    """
    gpus = visible_gpus()
    if len(gpus) < 2:
        return
    for gpu in gpus:
        name = f"attn-{os.getuid()}-gpu-{gpu.replace('/', '_')}.lock"
        lock = os.open(Path(folder or tempfile.gettempdir(), name), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which ends with the process
        except BlockingIOError:
            os.close(lock)
            continue
        os.environ[VISIBLE] = gpu
        return
    os.environ[VISIBLE] = gpus[os.getpid() % len(gpus)]


def stay_on(processor: int | None):
    """Keeps this process on one of its processors, so that its data stay in that processor's cache.

    processor: a position among the processors that the process may use; None changes nothing.
    """
    if processor is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[processor]})


@functools.cache
def end_with_launcher():
    """Ends this process, in which a launcher runs jobs, when the launcher has ended.

    Else a killed launcher would leave processes that write on.
    """
    launcher = os.getppid()

    def watch():
        while os.getppid() == launcher:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_with_parent():
    """Ends this process when its parent ends; else it would train on and hold its run's lock."""

    def watch():
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
