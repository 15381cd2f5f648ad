"""Trains runs: on a CPU side by side, a process and a thread each; on a GPU in turn."""

import sys
import time
import traceback

import torch

from attn import workers
from attn.data import load
from attn.errors import RunError, UserError
from attn.progress import Progress
from attn.runs import Run
from attn.training import train

CPU_HINT = "recipe=quick backbone=resnet20 is meant for CPUs: it takes minutes."


def train_all(runs: list[Run], device: torch.device):
    """Trains every run that is not finished; one that fails does not stop the others.

    Raises RunError, after the last, where any failed.
    """
    left = [run for run in runs if not run.finished]
    for run in runs:
        if run.finished:
            print(f"{run.name}  finished")
    if not left:
        return
    try:
        failed = _side_by_side(left) if device.type == "cpu" else _in_turn(left, device)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on after the last finished epoch.", file=sys.stderr)
        sys.exit(130)  # an ordinary exception would let a sweep go on to its next cell
    if failed:
        raise RunError(f"{len(failed)} of {len(left)} runs failed: {', '.join(failed)}")


def _in_turn(runs: list[Run], device: torch.device) -> list[str]:
    """One run after another; returns the names of those that failed."""
    progress = Progress()
    for run in runs:
        try:
            train(run, load(run.config.data.source, run.config.data.root), device, progress.handle)
        except UserError as error:
            progress.handle("failed", run.name, {"reason": str(error)})
        except Exception:
            progress.handle("failed", run.name, {"reason": traceback.format_exc()})
    return progress.failed


def _side_by_side(runs: list[Run]) -> list[str]:
    """A process and a thread for each run, as many at once as there are processors.

    One thread whether alone or not: the number of threads changes the last bits of a convolution.
    """
    events = workers.CONTEXT.Queue()
    at_once = min(len(runs), workers.processors())
    progress = Progress(waves=-(-len(runs) // at_once), hint=CPU_HINT)
    waiting, working = list(runs), {}
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                run = waiting.pop(0)
                process = workers.CONTEXT.Process(target=_work, args=(run, events), daemon=True)
                process.start()
                working[run.name] = process
            _show(events, progress)
            for name in [n for n, process in working.items() if not process.is_alive()]:
                _show(events, progress)
                status = working.pop(name).exitcode
                if status and name not in progress.failed:
                    reason = f"its process ended with status {status}"
                    progress.handle("failed", name, {"reason": reason})
    finally:
        for process in working.values():
            process.terminate()
    return progress.failed


def _show(events, progress: Progress):
    """Shows what has been reported; waits a moment where nothing has."""
    if events.empty():
        time.sleep(0.05)
    while not events.empty():
        progress.handle(*events.get())


def _work(run: Run, events):
    """The body of a process that trains one run."""
    workers.end_with_parent()
    torch.set_num_threads(1)

    def report(event, name, values):
        events.put((event, name, values))

    try:
        data = load(run.config.data.source, run.config.data.root)
        train(run, data, torch.device("cpu"), report)
    except UserError as error:
        report("failed", run.name, {"reason": str(error)})
    except KeyboardInterrupt:
        pass  # the parent says what there is to say
    except Exception:
        report("failed", run.name, {"reason": traceback.format_exc()})
