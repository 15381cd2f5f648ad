"""Runs the real programs, each in a fork of a process that has imported what they import.

The imports take three seconds of CPU, which every program of the tests would take again. A fork has
its own words, environment, standard output and exit status.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

LIMIT = 900  # seconds that a program may take


def run(words: list[str], environment: dict, root: Path, out: Path) -> subprocess.CompletedProcess:
    """Runs a program from `root`; its standard output and error are kept under `out` meanwhile."""
    server, paths = _server(root), [out / "stdout", out / "stderr"]
    asked = {"words": words, "environment": environment, "paths": [str(path) for path in paths]}
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    ready, _, _ = select.select([server.stdout], [], [], LIMIT)
    if not ready:
        os.killpg(server.pid, signal.SIGKILL)
        _server.cache_clear()
        raise TimeoutError(f"{' '.join(words)} has not ended after {LIMIT} s")
    status = int(server.stdout.readline())
    return subprocess.CompletedProcess(words, status, *(path.read_text() for path in paths))


@functools.cache
def _server(root: Path) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "attn.tests.forked"]
    return subprocess.Popen(command, cwd=root, start_new_session=True, **pipes)


def _next() -> dict:
    """Returns in each fork what it is asked to run; the server itself never returns."""
    for line in sys.stdin:
        if os.fork() == 0:
            return json.loads(line)
        _, status = os.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def _become(asked: dict):
    """Makes this process the program that is asked for."""
    for number, path in enumerate([os.devnull, *asked["paths"]]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    script = Path(asked["words"][0]).resolve()
    sys.argv, sys.path[0] = asked["words"], str(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
        _end(0)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        _end(1 if isinstance(end.code, str) else end.code or 0)
    except BaseException:
        traceback.print_exc()
        _end(1)


def _end(status: int):
    """Ends as an interpreter does, but for the memory, whose release would take seconds."""
    threading._shutdown()  # at which loky ends its workers; else they idle for five minutes
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    import attn.report.network
    import attn.report.report
    import attn.training.launch  # noqa: F401

    gc.freeze()  # collecting would copy what a fork shares
    _become(_next())
