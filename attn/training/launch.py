"""Trains a configuration's runs together: on a CPU in a process each, on a GPU on a stream each."""

import signal
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing import connection

import torch

from attn.config.cli import stop_at_once_next
from attn.data import load
from attn.errors import BusyError, RunError, plain, stopped_by
from attn.runs.folder import Run, renamed
from attn.training import workers
from attn.training.cells import Cells
from attn.training.events import Failed
from attn.training.progress import CPU_HINT, Progress
from attn.training.session import train

AT_ONCE = 10  # on one GPU, at most
MOMENT = 0.5  # seconds in which a signal that ended a run's process reaches this one too


def launch(runs: list[Run], device, compiled: bool | None, beside, cells: Cells, cell: int | None):
    """Trains every unfinished run of one configuration; a run that fails stops no other run.

    device: torch's device. beside: a context in which the runs on a GPU train. cell: the
    configuration's number in its sweep, from 0; None outside of a sweep. Raises RunError, after the
    last run, where any run failed.
    """
    print(f"\n{cells.heading(runs, cell)}", flush=True)
    _refuse_renamed(runs)
    left = [run for run in runs if not run.finished]
    if len(left) < len(runs):
        print(f"  finished before: {len(runs) - len(left)} of {len(runs)}")
    failed, busy, began = [], [], time.perf_counter()
    try:
        if left and device.type == "cpu":
            failed, busy = _side_by_side(left, compiled, cells, cell)
        elif left:
            with beside:
                failed, busy = _on_one_device(left, device, compiled, cells, cell)
    except KeyboardInterrupt as stop:
        stop_at_once_next()
        print("\nStopped. The same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(stopped_by(stop))  # an ordinary exception would let a sweep go on to its next cell
    cells.busy += busy
    trained = len(left) > len(busy) + len(failed)  # here, and not by other processes
    for line in cells.end(runs, cell, time.perf_counter() - began if trained else 0):
        print(f"  {line}", flush=True)
    if failed:
        raise RunError(f"{len(failed)} of {len(left)} runs failed: {', '.join(failed)}")


def _refuse_renamed(runs: list[Run]):
    """Raises RunError where the folder of a finished run has another name now."""
    missing = [run for run in runs if not run.folder.exists()]
    others = renamed(missing[0].root) if missing else {}
    for run in missing:
        if run.name in others:
            folder = run.root / others[run.name]
            raise RunError(f"{folder} was {run.name}: rename it back, or delete it")


def _on_one_device(runs: list[Run], device, compiled, cells: Cells, cell) -> tuple[list, list]:
    """Trains the runs in one process, with a stream for each.

    Returns the names of the runs that failed, and of those that other processes train.
    """
    waves = -(-len(runs) // AT_ONCE)
    progress = Progress(runs, cells.said, cells.mark(cell), waves)
    data = load(runs[0].config.data.source, runs[0].config.data.root)
    for wave in range(waves):  # of one size: a small one would leave most of the GPU idle
        train(runs[wave::waves], data, device, progress.handle, compiled)
    return progress.failed, progress.busy


def _side_by_side(runs: list[Run], compiled, cells: Cells, cell) -> tuple[list, list]:
    """Trains each run in a process of one thread; returns what `_on_one_device` does.

    As many processes train at once as there are processors. A run has one thread even where it
    trains alone, as the number of threads changes the last bits of a convolution.
    """
    at_once = min(len(runs), workers.processors())
    waves = -(-len(runs) // at_once)
    progress = Progress(runs, cells.said, cells.mark(cell), waves, CPU_HINT)
    full = at_once == workers.processors()
    free = [slot if full else None for slot in range(at_once)]  # a processor each if all are used
    waiting, working = list(runs), {}
    try:
        while waiting or working:
            while waiting and free:
                run, processor = waiting.pop(0), free.pop(0)
                heard, process = _start(run, compiled, processor)
                working[heard] = run, process, processor
            for heard in connection.wait(working):
                if event := _next(heard):
                    progress.handle(*event)
                    continue
                run, process, processor = working.pop(heard)
                free.append(processor)
                process.join()
                if process.exitcode and run.name not in progress.failed:
                    time.sleep(MOMENT)
                    _fail(run, reason := _ended(process.exitcode))
                    progress.handle(run.name, Failed(reason))
    finally:
        for _, process, _ in working.values():
            process.terminate()
    return progress.failed, progress.busy


def _fail(run: Run, reason: str):
    """Writes into a run's folder why the run failed, unless another process trains it by now."""
    with suppress(BusyError, OSError), run.locked():
        run.fail(reason)


def _ended(status: int) -> str:
    """Returns why a process ended that did not say so itself."""
    reason = f"its process ended with status {status}"
    if status != -signal.SIGKILL:
        return reason
    return f"{reason}: it was killed, as the system does where memory runs out"


def _next(heard) -> tuple | None:
    """Returns what a process reports, (run's name, event).

    Returns None once the process has ended, however it ended.
    """
    try:
        return heard.recv()
    except (EOFError, OSError):  # at an event's end, or in the middle of one
        return None


def _start(run: Run, compiled, processor) -> tuple:
    """Starts a process that trains a run; returns (connection, process).

    The process reports its events on the connection.
    """
    heard, told = workers.CONTEXT.Pipe(duplex=False)
    process = workers.process(_work, (run, told, compiled, processor))
    process.start()
    told.close()
    return heard, process


def _work(run: Run, told, compiled, processor):
    """Trains one run in a process of its own, and reports its events."""
    workers.end_with_parent()
    workers.stay_on(processor)
    torch.set_num_threads(1)

    def report(*told_of):
        told.send(told_of)

    try:
        data = load(run.config.data.source, run.config.data.root)
        train([run], data, torch.device("cpu"), report, compiled)
    except Exception as error:
        report(run.name, Failed(plain(error) or traceback.format_exc()))
