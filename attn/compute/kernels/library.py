"""kernels.c as a library: compiled once by the machine's C compiler, and called through ctypes."""

import ctypes
import errno
import functools
import hashlib
import itertools
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ["-O3", "-ffp-contract=fast", "-fPIC", "-shared"]
# By what torch calls this processor's vectors, which torch's own kernels take too.
VECTORS = {"AVX2": ["-mavx2", "-mfma"]}
VECTORS["AVX512"] = [*VECTORS["AVX2"], *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq"))]
MAPS = ("float32", "bfloat16")  # the types of maps, by torch's names
MINUTE = 60
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT)

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


def library(maps: str = "float32") -> ctypes.CDLL | None:
    """Returns the kernels for maps of a type, or None where kernels are off or cannot be had."""
    return None if _off or why_missing() else _load()[maps]


@functools.cache
def why_missing() -> str:
    """Returns the reason why this machine has no kernels; empty where it has kernels."""
    try:
        _load()
    except Missing as error:
        return str(error)
    return ""


@functools.cache
def _load() -> dict[str, ctypes.CDLL]:
    """Loads the compiled kernels, by the type of maps.

    Raises Missing where this machine cannot have them.
    """
    import torch

    if platform.machine() == "x86_64" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        raise Missing("this processor has no AVX2")
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise Missing("there is no C compiler (cc or gcc; CC= names another one)")
    try:
        paths = {maps: _compiled(compiler, _flags(maps)) for maps in MAPS}
        loaded = {maps: ctypes.CDLL(str(path)) for maps, path in paths.items()}
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{compiler} could not compile {SOURCE.name}: {_reason(error)}") from None
    for kernels, (name, arguments) in itertools.product(loaded.values(), ARGUMENTS.items()):
        getattr(kernels, name).argtypes, getattr(kernels, name).restype = arguments, None
    return loaded


def _flags(maps: str) -> list[str]:
    """Returns the compiler's flags of the kernels for maps of a type.

    In float32 vectors wider than AVX2's gain nothing: memory sets the pace.
    """
    import torch

    here = torch.backends.cpu.get_cpu_capability()
    if maps == "bfloat16":
        return [*FLAGS, "-DBF16", *VECTORS.get(here, [])]
    return FLAGS + VECTORS["AVX2"] if here in VECTORS else FLAGS


def _compiled(compiler: str, flags: list[str]) -> Path:
    """Returns the path of a shared library, beside Python's own compiled files.

    Where that folder cannot be written, the shared library lies in the user's folder of caches, or
    else in a temporary folder.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(SOURCE.read_bytes() + version + " ".join(flags).encode())
    name = f"kernels-{digest.hexdigest()[:12]}.so"
    home = os.path.expanduser("~")  # stays ~ for a user without a home
    own = [Path(home, ".cache", "attn")] if os.path.isabs(home) else []
    for folder in (SOURCE.parent / "__pycache__", *own):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _compile(compiler, flags, folder / name)
        except OSError as error:  # installed where only others may write, or nobody
            if error.errno not in NOT_WRITABLE:
                raise
    return _compile(compiler, flags, Path(tempfile.mkdtemp(prefix="attn-")) / name)


def _compile(compiler: str, flags: list[str], path: Path) -> Path:
    if not path.exists():
        handle, partial = tempfile.mkstemp(dir=path.parent)  # others may be compiling the same
        os.close(handle)
        command = [compiler, *flags, str(SOURCE), "-o", partial, "-lm"]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=MINUTE)
            os.chmod(partial, 0o755)
            os.replace(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)
    return path


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    lines = said.splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))
