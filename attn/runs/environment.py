"""The environment of a run: what changes its numbers beside its configuration and its seed.

Rounding depends on the kernels that compute a sum. Within some dozen steps, training turns a
different rounding into a different run. scripts/environments.py shows which parts of an environment
do that. `environment.json` in a run folder lists, in turn, the environments in which the run was
computed.
"""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from attn.runs import files

NAME = "environment.json"
ROOT = Path(__file__).resolve().parents[2]
AMX = "AVX512_CORE_AMX"
# oneDNN's names, the highest first, and what a processor must have for them.
INSTRUCTION_SETS = {
    AMX: "amx_bf16",
    "AVX512_CORE_FP16": "avx512_fp16",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE": "avx512_vl",
    "AVX2_VNNI": "avx_vnni",
    "AVX2": "avx2",
    "AVX": "avx",
    "SSE41": "sse4_1",
}
PARTS = ("torch", "processor", "instruction_set", "threads", "precision", "mode")
UNKNOWN = "not recorded"


def here(device, precision: str, mode: str) -> dict:
    """Returns the environment of a run that this process computes in `precision` and `mode`."""
    import torch

    on_cpu = device.type == "cpu"
    return {
        "torch": torch.__version__,
        "processor": processor() if on_cpu else torch.cuda.get_device_name(device),
        "instruction_set": instruction_set() if on_cpu else _compute_capability(device),
        "threads": torch.get_num_threads() if on_cpu else 1,
        "precision": precision,
        "mode": mode,
    }


def processor() -> str:
    """Returns the processor's name as the system gives it."""
    path = Path("/proc/cpuinfo")
    known = path.read_text() if path.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", known, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def instruction_set() -> str:
    """Returns oneDNN's name of the highest instruction set that oneDNN may use.

    The environment variable ONEDNN_MAX_CPU_ISA lowers that instruction set.
    """
    import torch

    has = torch.cpu.get_capabilities()
    names = [name for name, flag in INSTRUCTION_SETS.items() if has.get(flag)]
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if most in INSTRUCTION_SETS:
        order = list(INSTRUCTION_SETS)
        names = [name for name in names if order.index(name) >= order.index(most)]
    return names[0] if names else platform.machine()


def _compute_capability(device) -> str:
    import torch

    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def describe(parts: dict) -> str:
    """Returns an environment in words; runs with the same words may be compared.

    In fp32 all AVX-512 instruction sets compute alike and share a name. AMX alone keeps its own in
    fused mode, where its kernels differ.
    """
    vectors = parts["instruction_set"]
    other_kernels = vectors == AMX and "fused" in parts["mode"]
    if parts["precision"] == "fp32" and vectors.startswith("AVX") and not other_kernels:
        vectors = vectors.partition("_")[0]
    if vectors == UNKNOWN:
        return UNKNOWN
    threads = "" if parts["threads"] == 1 else f", {parts['threads']} threads"
    computed = f"{parts['precision']} {parts['mode']}"
    return f"torch {parts['torch']}, {parts['processor']}, {vectors}, {computed}{threads}"


def read(folder: Path) -> list[dict]:
    """Returns a run's environments in turn, each with the `epoch` from which it holds.

    Raises ValueError where environment.json is missing or damaged.
    """
    try:
        entries = json.loads((folder / NAME).read_text())
        whole = all(entry.keys() >= {"epoch", *PARTS} for entry in entries)
    except (OSError, ValueError, TypeError, AttributeError):
        raise ValueError(f"{folder / NAME} is missing or damaged") from None
    if not entries or not whole:
        raise ValueError(f"{folder / NAME} is damaged")
    return entries


def record(folder: Path, now: dict, epochs_done: int, epochs: int) -> str:
    """Writes that a run goes on in the environment `now`, and returns a note for a person.

    epochs_done: how many epochs of the run are done; 0 begins the file anew. Where the file is
    missing or damaged, the environment of these epochs is written as not recorded, and the note
    says so. The note is empty where there is nothing to know.
    """
    note = ""
    try:
        entries = read(folder) if epochs_done else []
    except ValueError as error:
        note = f"{error}: what epochs 1 to {epochs_done} were computed in is {UNKNOWN}"
        entries = [{"epoch": 0, **dict.fromkeys(PARTS, UNKNOWN)}]
    entries = [entry for entry in entries if entry["epoch"] < max(1, epochs_done)]
    last = {part: entries[-1][part] for part in PARTS} if entries else None
    if last != now and epochs_done < epochs:  # else nothing is computed any more
        if last and not note:
            note = f"goes on in another environment: {describe(now)}; began in {describe(last)}"
        entries.append({"epoch": epochs_done, **now})
    files.write(folder / NAME, json.dumps(entries, indent=1) + "\n")
    return note


def summary(folder: Path) -> dict:
    """Returns the columns that say in which environments a finished run was computed.

    The columns are the parts of the last environment, and all environments in words.
    """
    entries = read(folder)
    texts = dict.fromkeys(describe(entry) for entry in entries)  # each once, in turn
    parts = {part: entries[-1][part] for part in PARTS if part not in ("precision", "mode")}
    return {**parts, "environment": "; then ".join(texts)}


def of_older(run: dict) -> str:
    """Returns in words what is known of the environment of a run that has no record of it."""
    mode = run.get("mode")
    mode = f" {mode}" if isinstance(mode, str) else ""  # which the first runs did not have
    return f"{UNKNOWN}: {run['device']}, {run['precision']}{mode}"


def revision() -> dict:
    """Returns the code's commit, and whether the working tree differs from that commit.

    Without git both are None.
    """

    def git(*words):
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain")
    except OSError:  # no git on this machine
        commit = status = None
    return {"commit": commit, "dirty": None if status is None else bool(status)}
