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


def advice(device: torch.device, together: int, who: int = resource.RUSAGE_SELF) -> str:
    """Returns what a run took until memory ran out, what there is, and how many runs fit.

    together: how many runs share the memory of a GPU; on a CPU each run has a process. who: whose
    memory counts on a CPU, this process's or that of the largest child that has ended.
    """
    if device.type == "cuda":
        each = torch.cuda.max_memory_reserved(device) / together
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        each, there = resource.getrusage(who).ru_maxrss * 1024, available()
    # A run that was stopped half-way would have taken more than it did.
    fitting = min(int(there / each), together - 1) if device.type == "cuda" else int(there / each)
    sizes = f"memory ran out: a run takes {each / GIB:.1f} GiB or more, {there / GIB:.1f} are there"
    if fitting > 1:
        return f"{sizes}: {fitting} may fit at once; ask for so many seeds at a time"
    return f"{sizes}: ask for one seed at a time, or for a smaller recipe.batch_size"


def available() -> int:
    """Returns the bytes that this process may have: of the machine, its container and its limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits += [soft] if soft != resource.RLIM_INFINITY else []
    for path in CGROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)
