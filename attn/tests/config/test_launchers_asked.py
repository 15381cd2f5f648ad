"""What is asked of a launcher before a job is sent."""

import os
import shutil
import subprocess
import sys

import pytest

from attn.config import check, launchers, sweep
from attn.errors import UserError
from attn.tests.conftest import ROOT, TINY


@pytest.fixture
def asked(monkeypatch):
    """The commands that ask SLURM, which takes every job."""
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(launchers.subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(check, "_has_gpu", lambda: False)
    return commands


def words(tmp_path, *more):
    kept = [word for word in TINY if not word.startswith("device=")]
    return [*kept, "location=none", f"runs={tmp_path}", *more]


def test_a_login_node_without_a_gpu_sends_jobs_for_a_gpu(asked, tmp_path):
    sent = sweep.check_all(words(tmp_path, "-m", "hydra/launcher=slurm", "device=cuda"))
    assert len(sent) == len(asked) == 1
    with pytest.raises(UserError, match="device=cuda: torch sees no GPU on this machine"):
        sweep.check_all(words(tmp_path, "device=cuda"))
    with pytest.raises(UserError, match="device=tpu: choose one of auto, cuda, cpu"):
        sweep.check_all(words(tmp_path, "-m", "hydra/launcher=slurm", "device=tpu"))


def test_slurm_is_asked_for_what_the_job_will_ask_for(asked, tmp_path):
    keys = ["gres=gpu:a100:1", "mem_per_cpu=4G", "exclude=node7"]
    sent = [f"hydra.launcher.{key}" for key in keys]
    sent += ["+hydra.launcher.additional_parameters={begin:now,exclusive:true}"]
    sweep.check_all(words(tmp_path, "-m", "hydra/launcher=slurm", *sent))
    options = {
        "--gres=gpu:a100:1",
        "--mem-per-cpu=4G",
        "--exclude=node7",
        "--begin=now",
        "--exclusive",
    }
    options |= {"--nodes=1", "--ntasks-per-node=1"}
    assert options <= set(asked[0])


def test_local_jobs_that_would_see_no_gpu_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_has_gpu", lambda: True)
    local = words(tmp_path, "-m", "hydra/launcher=submitit_local")
    with pytest.raises(UserError, match=r"see no GPU; add hydra\.launcher\.gpus_per_node=1"):
        sweep.check_all(local)
    for more in ("hydra.launcher.gpus_per_node=1", "device=cpu"):
        assert len(sweep.check_all([*local, more])) == 1
    monkeypatch.setattr(check, "_has_gpu", lambda: False)
    assert len(sweep.check_all(local)) == 1


def test_a_job_finds_the_code_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/of/mine")
    launchers.find_code_in_jobs()
    assert os.environ["PYTHONPATH"] == f"{ROOT}{os.pathsep}/of/mine"
    command = [sys.executable, "-c", "import attn; print(attn.__file__)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(ROOT / "attn" / "__init__.py")


@pytest.mark.parametrize(
    ("gpus", "more", "added"),
    [
        ("0,1,2", [], ["n_jobs=3", "batch_size=1"]),
        ("0,1,2", ["device=cpu"], ["n_jobs=1", "batch_size=1"]),
        ("", [], ["n_jobs=1", "batch_size=1"]),
        ("0,1", ["hydra.launcher.n_jobs=5"], ["batch_size=1"]),
    ],
)
def test_joblib_has_a_job_for_each_gpu_and_sends_each_alone(monkeypatch, gpus, more, added):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    asked = ["hydra/launcher=joblib", *more]
    assert launchers.with_defaults(asked) == asked + [f"hydra.launcher.{word}" for word in added]
    assert launchers.with_defaults(more) == more
