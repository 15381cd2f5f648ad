"""kernels.c as a library: compiled once by the machine's C compiler, and called through ctypes."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ["-O3", "-ffp-contract=fast", "-fPIC", "-shared"]
# AVX2 and FMA, which torch's own kernels take too. Not -march=native: wider vectors gain nothing
# here, and the same library serves every processor that shares this folder.
FLAGS += ["-mavx2", "-mfma"] if platform.machine() == "x86_64" else []
MINUTE = 60

pointer, whole, real, double = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_double
number = ctypes.c_uint32
ARGUMENTS = {
    "norm": [pointer, whole, whole, *[pointer] * 4, double, double, real, real, pointer, pointer],
    "norm_back": [pointer, pointer, whole, whole, pointer, real, real, *[pointer] * 3],
    "depthwise": [pointer, pointer, *[whole] * 5, pointer],
    "depthwise_back": [pointer, pointer, *[whole] * 5, pointer],
    "depthwise_weights": [pointer, pointer, *[whole] * 5, pointer],
    "uniform": [number, number, pointer, whole, number, whole, pointer],
}
_off = False


class Missing(Exception):
    """The kernels cannot be compiled or run on this machine; the message says why."""


@contextmanager
def without_kernels():
    """Makes torch's own kernels compute everything for as long as the block lasts."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def library() -> ctypes.CDLL | None:
    """Returns the compiled kernels, or None where the kernels are off or cannot be had."""
    return None if _off or why_missing() else _load()


@functools.cache
def why_missing() -> str:
    """Returns the reason why this machine has no kernels; empty where it has kernels."""
    try:
        _load()
    except Missing as error:
        return str(error)
    return ""


@functools.cache
def _load() -> ctypes.CDLL:
    """Loads the compiled kernels. Raises Missing where this machine cannot have them."""
    import torch

    if platform.machine() == "x86_64" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        raise Missing("this processor has no AVX2")
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise Missing("there is no C compiler (cc or gcc; CC= names another one)")
    try:
        loaded = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{compiler} could not compile {SOURCE.name}: {_reason(error)}") from None
    for name, arguments in ARGUMENTS.items():
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = arguments, None
    return loaded


def _compiled(compiler: str) -> Path:
    """Returns the path of the shared library, beside Python's own compiled files.

    Where that folder cannot be written, the shared library lies in a temporary folder.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(SOURCE.read_bytes() + version + " ".join(FLAGS).encode())
    name = f"kernels-{digest.hexdigest()[:12]}.so"
    folder = SOURCE.parent / "__pycache__"
    try:
        folder.mkdir(exist_ok=True)
        return _compile(compiler, folder / name)
    except PermissionError:  # installed where only others may write
        return _compile(compiler, Path(tempfile.mkdtemp(prefix="attn-")) / name)


def _compile(compiler: str, path: Path) -> Path:
    if not path.exists():
        handle, partial = tempfile.mkstemp(dir=path.parent)  # others may be compiling the same
        os.close(handle)
        command = [compiler, *FLAGS, str(SOURCE), "-o", partial, "-lm"]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=MINUTE)
            os.chmod(partial, 0o755)
            os.replace(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)
    return path


def _reason(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))
