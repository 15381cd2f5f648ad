"""Processes that train on a CPU: forked from one that has imported torch, gone with their parent.

Nothing heavy is imported here: `start` lets that process import torch while this one does.
"""

import multiprocessing
import os
import threading
from multiprocessing import connection, forkserver

CONTEXT = multiprocessing.get_context("forkserver")


def start():
    """Starts the process that the others will be forked from."""
    CONTEXT.set_forkserver_preload(["attn.launch"])
    forkserver.ensure_running()


def processors() -> int:
    """Those that this process may use; all of them where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def end_with_parent():
    """Ends this process when its parent does: else it would train on and hold its run's lock."""

    def watch():
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
