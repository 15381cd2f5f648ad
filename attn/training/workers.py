"""Processes that train on a CPU or compile: forked from one with torch, gone with their parent.

Nothing heavy is imported here: `start` lets that process import torch while this one does.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection, forkserver

CONTEXT = multiprocessing.get_context("forkserver")


# A step frees and takes again the same large blocks: glibc shall keep them, and in huge pages.
ALLOCATOR = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 2**33}


def start():
    """Starts the process that the others will be forked from."""
    tunables = ":".join(f"glibc.malloc.{name}={value}" for name, value in ALLOCATOR.items())
    os.environ.setdefault("GLIBC_TUNABLES", tunables)  # read as that process starts
    # What the compiler of an ended process leaves behind is removed: nobody need hear of it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    CONTEXT.set_forkserver_preload(["attn.training.launch"])
    # A person's Ctrl-C reaches all: this process answers it, and ends the others.
    answer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, answer)


def processors() -> int:
    """Those that this process may use; all of them where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def stay_on(processor: int | None):
    """Keeps this process on one of those that it may use: its data stay in that one's cache."""
    if processor is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[processor]})


def end_with_parent():
    """Ends this process when its parent does: else it would train on and hold its run's lock."""

    def watch():
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
