"""Sweeps sent to Hydra's launchers: the tables of one machine, to the bit, whatever ends a job."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from attn.runs.plan import fingerprint_of_data, plan
from attn.tests.conftest import NOISY, ROOT, TINY, folders, program, rows

SLURM = [
    *("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.timeout_min=5"),
    "hydra.launcher.cpus_per_task=1",
]
ABSENT = [name for name in ("slurmctld", "slurmd", "srun") if not shutil.which(name)]
needs_slurm = pytest.mark.skipif(
    bool(ABSENT) or os.getuid() != 0, reason=f"no {', '.join(ABSENT) or 'root'}: slurm-wlm has it"
)


def numbers(root):
    """What every run under root gave, but for its times."""
    return {
        folder.name: (rows(folder / "metrics.csv"), rows(folder / "scores.csv"))
        for folder in folders(root)
        if (folder / "summary.json").exists()
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The sweep of two cells, one after another in this machine's own launcher."""
    root = tmp_path_factory.mktemp("here")
    done = program("train.py", "-m", *SWEEP, f"runs={root}")
    assert done.returncode == 0, done.stderr
    assert len(numbers(root)) == 4
    return root


SWEEP = [*TINY, "data=rgb_noise", "attention=se", "location=first,last", "seeds=2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "gpus"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], {"0.lock", "1.lock"}),
        # submitit shows its jobs the GPUs that they were given, here none.
        (["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"], set()),
    ],
    ids=["joblib", "submitit_local"],
)
def test_a_launcher_of_this_machine_makes_the_same_table(here, tmp_path, launcher, gpus):
    two = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1", "TMPDIR": str(tmp_path)}  # as if
    done = program("train.py", "-m", *SWEEP, *launcher, f"runs={tmp_path}", env=two)
    assert done.returncode == 0, done.stderr
    assert numbers(tmp_path) == numbers(here)
    taken = {path.name.partition("-gpu-")[2] for path in tmp_path.glob("attn-*.lock")}
    assert taken == gpus, "the second is tried only while a job holds the first"
    again = program("train.py", "-m", *SWEEP, f"runs={tmp_path}")  # with another launcher
    assert again.stdout.count("finished before: 2 of 2") == 2


@pytest.mark.slow
def test_a_failing_job_stops_no_other(tmp_path):
    words = [*TINY, "location=last", "recipe.lr=1e30,0.05", f"runs={tmp_path}"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = program("train.py", "-m", *words, *launcher)
    assert done.returncode == 1 and "cell 1  seed 0  FAILED: the loss" in done.stdout
    assert len(numbers(tmp_path)) == 1


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_busy_under_a_launcher_too(tmp_path):
    words = [*TINY, "location=none,last", f"runs={tmp_path}"]
    runs, _, _ = plan(words, fingerprint_of_data)
    with runs[1].locked():
        done = program("train.py", "-m", *words, "hydra/launcher=joblib")
    assert done.returncode == 75 and "other processes train" in done.stderr, done.stderr
    assert [run.finished for run in runs] == [True, False]
    again = program("train.py", "-m", *words, "hydra/launcher=joblib")
    assert again.returncode == 0 and all(run.finished for run in runs)


@pytest.mark.slow
def test_a_killed_launcher_leaves_no_worker_that_writes_on(tmp_path):
    words = [*TINY, *NOISY, "recipe.epochs=200", "location=none,last", f"runs={tmp_path}"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    runs, _, _ = plan(words, fingerprint_of_data)
    process = subprocess.Popen([sys.executable, "train.py", "-m", *words, *launcher], cwd=ROOT)
    wait_for(lambda: all((run.folder / "metrics.csv").exists() for run in runs), seconds=180)
    process.kill()
    process.wait()
    wait_for(lambda: not any(run.holder for run in runs), seconds=20)
    assert not any(run.finished for run in runs)


@pytest.mark.slow
def test_jobs_in_the_programs_own_process_outlive_the_shell_that_started_it(tmp_path):
    """As joblib runs them where it may use one process: there the program is its own launcher."""
    words = [*TINY, "recipe.epochs=8", "location=none,last", f"runs={tmp_path}"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    runs, _, _ = plan(words, fingerprint_of_data)
    command = shlex.join([sys.executable, "train.py", "-m", *words, *launcher])
    shell = f"{command} > {tmp_path / 'out'} 2>&1 & while [ ! -f {runs[0].folder}/metrics.csv ]; "
    subprocess.run(["bash", "-c", f"{shell} do sleep 0.2; done"], cwd=ROOT, check=True, timeout=180)
    assert not runs[0].finished
    wait_for(lambda: all(run.finished for run in runs), seconds=180)


@pytest.mark.slow
@needs_slurm
def test_a_job_that_slurm_does_not_take_is_refused_before_it_is_sent(cluster, tmp_path):
    words = ["hydra.launcher.partition=nowhere", *TINY, f"runs={tmp_path / 'runs'}"]
    status, output = cluster().train(*words)
    assert status == 1 and "Traceback" not in output
    assert "SLURM takes no such job: " in output and "invalid partition" in output.lower()
    assert "hydra.launcher.partition=nowhere" in output and "hydra.launcher.account=" in output
    assert not (tmp_path / "runs").exists()


class Cluster:
    """A SLURM cluster of this machine alone, in which commands run."""

    def __init__(self, folder, **settings):
        command = ["bash", "scripts/slurm.sh", str(folder), "cat"]  # ends where this process does
        environment = os.environ | settings
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE)
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.launchers = []
        wait_for(lambda: "idle" in self.said("sinfo", "-h", "-o", "%T"))

    def said(self, *words):
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return done.stdout

    def start(self, *words):
        process = subprocess.Popen(
            [sys.executable, "train.py", "-m", *SLURM, *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.launchers.append(process)
        return process

    def stop(self):
        for launcher in self.launchers:
            launcher.kill()  # of a test that failed, it would wait for its jobs for ever
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def train(self, *words):
        process = self.start(*words)
        output = process.communicate(timeout=400)[0]
        return process.returncode, output


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path):
    started = []

    def start(**settings):
        started.append(Cluster(tmp_path / "slurm", **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def logs(root):
    """What the jobs printed."""
    return "".join(path.read_text() for path in root.glob("_jobs/*/.submitit/*/*.out"))


@pytest.mark.slow
@needs_slurm
def test_a_sweep_is_an_array_of_jobs_and_a_killed_worker_fails_alone(cluster, here, tmp_path):
    """There is no sacct in this cluster either."""
    root = tmp_path / "runs"
    process = cluster().start(*SWEEP, "hydra.launcher.array_parallelism=1", f"runs={root}")
    wait_for(lambda: list(root.glob("*/metrics.csv")))
    lock = next(root.glob("*/metrics.csv")).parent / ".lock"
    os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 1, output
    jobs = {path.name.partition("_")[0] for path in root.glob("_jobs/*/.submitit/[0-9]*_*")}
    assert len(jobs) == 1, "the cells are not jobs of one array"
    assert "FAILED: its process ended with status -9" in logs(root)
    assert len(numbers(root)) == 3
    done = program("train.py", "-m", *SWEEP, f"runs={root}")
    assert done.returncode == 0 and numbers(root) == numbers(here)


@contextmanager
def beside_an_uninterrupted_run(root, *words):
    """Trains the words without a cluster too, while the block trains them in root.

    A job of root's must have gone on from a checkpoint, to the bits of the uninterrupted run.
    """
    other = root.with_name("whole")
    command = [sys.executable, "train.py", *words, f"runs={other}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as whole:
        try:
            yield
        except BaseException:
            whole.kill()
            raise
        assert whole.wait(timeout=400) == 0
    assert "goes on after epoch" in logs(root) and numbers(root) == numbers(other)


LONGER = 65  # seconds of training: more than a job of one minute has


def epochs_of(seconds, root):
    """Returns how many epochs take so many seconds here and now, by a run of twenty."""
    assert program("train.py", *TINY, *NOISY, "recipe.epochs=20", f"runs={root}").returncode == 0
    (config,), (summary,) = root.glob("*/config.yaml"), root.glob("*/summary.json")
    return round(20 * seconds / (summary.stat().st_mtime - config.stat().st_mtime))


@pytest.mark.slow
@needs_slurm
def test_a_job_out_of_time_is_queued_again_and_ends_in_the_bits_of_an_uninterrupted(
    cluster, tmp_path
):
    limits = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10"]
    root = tmp_path / "runs"
    words = [*TINY, *NOISY, f"recipe.epochs={epochs_of(LONGER, tmp_path / 'pace')}"]
    with beside_an_uninterrupted_run(root, *words):
        status, output = cluster().train(*words, *limits, f"runs={root}")
        assert status == 0, output
    assert "time limit of a job: 1 min (hydra.launcher.timeout_min=)" in output


@pytest.mark.slow
@needs_slurm
def test_a_preempted_job_is_queued_again_and_goes_on(cluster, tmp_path):
    here = cluster(PREEMPT="REQUEUE")
    root, words = tmp_path / "runs", [*TINY, *NOISY, "recipe.epochs=12"]
    with beside_an_uninterrupted_run(root, *words):
        process = here.start(*words, f"runs={root}")
        wait_for(lambda: list(root.glob("*/checkpoint.pt")))
        here.said("srun", "-p", "urgent", "--exclusive", "true")  # preempts, and ends
        output = process.communicate(timeout=400)[0]
        assert process.returncode == 0, output


@pytest.mark.slow
@needs_slurm
def test_where_the_cluster_cancels_the_same_command_again_is_the_way_on(cluster, tmp_path):
    here = cluster(PREEMPT="CANCEL")
    root, words = tmp_path / "runs", [*TINY, *NOISY, "recipe.epochs=12"]
    with beside_an_uninterrupted_run(root, *words):
        process = here.start(*words, f"runs={root}")
        wait_for(lambda: list(root.glob("*/checkpoint.pt")))
        here.said("srun", "-p", "urgent", "--exclusive", "true")  # preempts, and ends
        wait_for(lambda: not here.said("squeue", "-h").strip())
        process.send_signal(signal.SIGINT)  # without sacct it would wait for the job
        process.communicate(timeout=60)
        assert not numbers(root)
        status, output = here.train(*words, f"runs={root}")
        assert status == 0, output
