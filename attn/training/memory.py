"""Says what would fit, where memory runs out."""

import os
import resource
from contextlib import suppress
from pathlib import Path

import torch

GIB = 2**30
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def ran_out(error: Exception) -> bool:
    """Returns whether an error says that there is no memory left, on a GPU or on a CPU."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)  # torch's RuntimeError on a CPU


def advice(device: torch.device, together: int) -> str:
    """Returns what a run took until memory ran out, what there is, and how many runs fit.

    together: how many runs share this process's memory; on a CPU each run has a process.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        there = free + torch.cuda.memory_reserved(device)  # what others hold is not there
        each = torch.cuda.max_memory_reserved(device) / together
    else:
        there, each = available(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = (
        f"memory ran out: a run took {each / GIB:.1f} GiB until then, {there / GIB:.1f} are there"
    )
    fitting = int(there / each) if each else 0
    if device.type == "cuda":
        fitting = min(fitting, together - 1)  # a run that was stopped would have taken more
    if fitting > 0:
        return f"{told}, so {fitting} may fit at once: ask for so many seeds at a time"
    return f"{told}: a smaller recipe.batch_size takes less"


def available() -> int:
    """Returns the bytes that this process may have: of the machine, its container and its limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits += [soft] if soft != resource.RLIM_INFINITY else []
    for path in CGROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)
