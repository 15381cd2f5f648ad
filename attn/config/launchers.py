"""Launchers: the GPUs that jobs of this machine share, and whether SLURM would take a job."""

import os
import subprocess
from pathlib import Path

from attn.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
VISIBLE = "CUDA_VISIBLE_DEVICES"
# sbatch's options for what a job asks for, by the launcher's keys.
OPTIONS = {
    "partition": "--partition={}",
    "account": "--account={}",
    "qos": "--qos={}",
    "constraint": "--constraint={}",
    "gpus_per_node": "--gpus-per-node={}",
    "gpus_per_task": "--gpus-per-task={}",
    "gres": "--gres={}",
    "cpus_per_task": "--cpus-per-task={}",
    "cpus_per_gpu": "--cpus-per-gpu={}",
    "mem_gb": "--mem={}G",
    "mem_per_gpu": "--mem-per-gpu={}",
    "mem_per_cpu": "--mem-per-cpu={}",
    "exclude": "--exclude={}",
    "nodes": "--nodes={}",
    "tasks_per_node": "--ntasks-per-node={}",
    "timeout_min": "--time={}",
}


def visible_gpus() -> list[str]:
    """Returns the GPUs of CUDA_VISIBLE_DEVICES; where it is not set, the number of each GPU."""
    if VISIBLE in os.environ:
        return [gpu for gpu in os.environ[VISIBLE].split(",") if gpu]
    known = Path("/proc/driver/nvidia/gpus")
    return [str(i) for i, _ in enumerate(known.iterdir())] if known.exists() else []


def with_defaults(words: list[str]) -> list[str]:
    """Returns the words, and for joblib those that say how jobs share this machine.

    A GPU has one job at once. Without GPUs there is one, whose seeds use all processors. Each job
    is sent alone: joblib would give several cells to a process once a cell took no time, as those
    do that are finished.
    """
    if "hydra/launcher=joblib" not in words:
        return words
    gpus = [] if "device=cpu" in words else visible_gpus()
    values = {"n_jobs": max(1, len(gpus)), "batch_size": 1}
    keys = {word.partition("=")[0] for word in words}
    added = {f"hydra.launcher.{name}": value for name, value in values.items()}
    return words + [f"{key}={value}" for key, value in added.items() if key not in keys]


def find_code_in_jobs():
    """Lets the jobs of a launcher import this code, whichever folder they start in."""
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([known] if known else [])])


def check_local(launcher):
    """Raises UserError where jobs of submitit_local, which are to train on a GPU, would see none.

    submitit hides the GPUs from a job that asked for none.
    """
    if launcher.get("gpus_per_node") is None:
        raise UserError(
            "hydra/launcher=submitit_local: its jobs would see no GPU; add "
            "hydra.launcher.gpus_per_node=1, or device=cpu, or choose hydra/launcher=joblib"
        )


def check_slurm(launcher):
    """Asks SLURM whether it would take the jobs of a launcher's config, and prints their time.

    Raises UserError, before anything is sent, where SLURM would not.
    """
    asked = {key: launcher[key] for key in OPTIONS if launcher.get(key) is not None}
    options = [OPTIONS[key].format(value) for key, value in asked.items()]
    for key, value in (launcher.get("additional_parameters") or {}).items():
        asked[f"additional_parameters.{key}"] = value
        option = f"--{key.replace('_', '-')}"
        options.append(option if value is True else f"{option}={value}")
    command = ["sbatch", "--test-only", "--wrap=true", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2].removeprefix("sbatch: error: ")
        settings = " ".join(f"hydra.launcher.{key}={value}" for key, value in asked.items())
        raise UserError(
            f"SLURM takes no such job: {reason}. It was asked with {settings}; a cluster may want "
            "hydra.launcher.partition= and hydra.launcher.account= (sinfo lists the partitions)"
        )
    limit = f"{asked['timeout_min']} min" if "timeout_min" in asked else "the partition's own"
    print(
        f"time limit of a job: {limit} (hydra.launcher.timeout_min=); a job that runs out of time "
        "is queued again"
    )
