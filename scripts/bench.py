"""Measures how long a run takes in well-known loops and in ours, in one call on one machine.

python scripts/bench.py [--minutes N] [--ways N] [words of train.py]     -> results/bench/<machine>/

Every way to train is a program of its own, timed from its start to its end with an empty cache of
Inductor's. The kernels in C, which a machine compiles once, are there before. A long recipe is
trained for a few epochs, and its whole time is estimated from that of the last epoch. A way that
stands in the results, measured with the same code, is not measured again. --minutes N stops before
a way if less time is left than the longest way took. --ways N stops after the first N ways. The
next call goes on. Measurements of other words have a folder of their own, named by --out.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(1, f"{sys.path[0]}/..")

import pandas as pd
import torch

from attn.compute.kernels.library import why_missing
from attn.compute.precision import has_amx
from attn.config import cli, sweep
from attn.config.check import check, choose_device
from attn.data import load
from attn.report.figures.speed import report
from attn.runs import files
from attn.runs.environment import processor
from attn.training.session import device_name
from attn.training.workers import processors

ROOT = Path(__file__).resolve().parents[1]
WORDS = {
    "cpu": ["recipe=quick", "backbone=resnet20", "location=none"],
    "cuda": ["recipe=post", "location=last"],
}


def ways(device: str) -> dict:
    """Returns {name: (program, seeds, epochs)}; epochs None stands for all epochs of the recipe."""
    naive, strong, ours = "scripts/naive.py", "scripts/strong.py", "train.py"
    if device == "cpu":
        together = {f"ours, {processors()} together": (ours, processors(), None)}
        alone = {"naive": (naive, 1, None), "strong": (strong, 1, None)}
        return alone | {"ours, alone": (ours, 1, None)} | together
    first = {"naive": (naive, 1, 2), "ours, alone": (ours, 1, 3)}  # what the goals are of
    together = {f"ours, {n} together": (ours, n, 3) for n in (8, 4, 2)}
    return first | together | {"strong": (strong, 1, 2)}


def measure(
    program: str, seeds: int, epochs: int, words: list[str], left: float, on_gpu: bool
) -> dict | None:
    """Measures one way; returns None where `left` seconds were not enough.

    Raises RuntimeError where the program fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / program, *words, f"seeds={seeds}"]
        command += [f"recipe.epochs={epochs}"]
        command += [f"runs={folder}/runs"] if program == "train.py" else []
        cache = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/cache"}
        began = time.perf_counter()
        with open(f"{folder}/out", "w") as out:
            process = subprocess.Popen(
                command, env=os.environ | cache, stdout=out, stderr=out, start_new_session=True
            )
        memory = Memory(process.pid, on_gpu)
        try:
            status = process.wait(left)
            wall = time.perf_counter() - began
        except BaseException as error:  # also Ctrl-C, after which nobody would end the program
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise
        finally:
            peak = memory.end()
        printed = Path(folder, "out").read_text()
        if status:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{printed}")
        took = _of_ours(Path(folder)) if program == "train.py" else _of_a_loop(printed, on_gpu)
    return {"wall_seconds": round(wall, 1), **took, "peak_mib": round(peak)}


def _of_a_loop(printed: str, on_gpu: bool) -> dict:
    """Returns the measurements of the last epoch that a plain loop printed."""
    last = json.loads([line for line in printed.splitlines() if line.startswith("{")][-1])
    rate = last["images"] / last["train_seconds"]
    default = "fp32, convolutions in TF32" if on_gpu else "fp32"  # torch's own
    mode = f"loop, {last.get('precision', default)}"
    return {"epoch_seconds": round(last["seconds"], 2), "images_per_second": rate, "mode": mode}


def _of_ours(folder: Path) -> dict:
    """Returns the measurements of an epoch of runs that trained together.

    The seconds are those of the slowest run, the images those of all runs. The epoch is not the
    last where there are others, as the last epoch records the scores of the whole test set.
    """
    tables = [pd.read_csv(path) for path in folder.glob("runs/*/metrics.csv")]
    last = [table.iloc[max(0, len(table) - 2)] for table in tables]
    done = [json.loads(path.read_text()) for path in folder.glob("runs/*/summary.json")]
    modes = {f"{one['mode']}, {one['precision']}" for one in done}
    return {
        "epoch_seconds": round(max(epoch["seconds"] for epoch in last), 2),
        "images_per_second": sum(epoch["images_per_second"] for epoch in last),
        "mode": " / ".join(sorted(modes)),
    }


class Memory:
    """The most MiB that a session's processes had at once; on a GPU, of the device's memory."""

    def __init__(self, session: int, on_gpu: bool):
        self.session, self.on_gpu, self.most, self.running = session, on_gpu, 0.0, True
        self.before = self._device()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def end(self) -> float:
        self.running = False
        self.thread.join()
        return self.most

    def _watch(self):
        while self.running:
            now = self._device() - self.before if self.on_gpu else self._resident()
            self.most = max(self.most, now)
            time.sleep(0.3)

    def _device(self) -> float:
        if not self.on_gpu:
            return 0.0
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 2**20

    def _resident(self) -> float:
        """Returns the MiB of the session's processes, which divide shared pages among them."""
        total = 0
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(entry.name)) == self.session:
                    text = (entry / "smaps_rollup").read_text()
                    total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])
            except (OSError, TypeError):  # it has just ended
                continue
        return total / 1024


def machine_name(device) -> str:
    """Returns the name of the results' folder of this machine.

    The name is nvidia-h200, for example, or cpu with the number and the kind of its processors.
    """
    name = device_name(device)
    if device.type == "cpu":
        name = f"cpu {processors()} x {processor()}"
        if not has_amx():  # CPUs of one name have it or not
            name += " without AMX"
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM)\)", "", name).lower()).strip("-")


def code() -> str:
    """Returns a short hash of the code that the ways run.

    A commit that changes none of this code keeps the results.
    """
    programs = ("train.py", "scripts/bench.py", "scripts/naive.py", "scripts/strong.py")
    paths = [*ROOT.glob("attn/**/*.py"), *ROOT.glob("attn/**/*.c")]
    paths += [*ROOT.glob("configs/recipe/*.yaml"), *(ROOT / name for name in programs)]
    skipped = ("attn/tests", "attn/evidence", "attn/report", "attn/formats")
    skipped += ("attn/network/mechanisms",)
    skipped += tuple(f"attn/runs/{name}" for name in ("load", "look", "zoo", "plan"))
    digest = hashlib.sha256()
    for path in sorted(paths):
        if not path.relative_to(ROOT).as_posix().startswith(skipped):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def measured(way, cfg, words, left, on_gpu, program, seeds, epochs) -> dict | None:
    """Returns a row of the results, or None where the time was up."""
    epochs, all_epochs = epochs or cfg.recipe.epochs, cfg.recipe.epochs
    took = measure(program, seeds, epochs, words, left, on_gpu)
    if took is None:
        return None
    whole = took["wall_seconds"] + (all_epochs - epochs) * took["epoch_seconds"]
    return {
        "way": way,
        "seeds": seeds,
        "epochs_measured": epochs,
        "epochs": all_epochs,
        "images_per_second": round(took.pop("images_per_second"), 1),
        "seconds_per_run": round(whole / seeds, 1),
        **took,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--ways", type=int, help="only the first N of them")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    options, words = parser.parse_known_args()
    if unknown := [word for word in words if word.startswith("-")]:
        parser.error(f"unknown option {unknown[0]}")
    end = time.monotonic() + 60 * options.minutes
    asked = sweep.single(words, __doc__)
    device = choose_device(asked)
    on_gpu = device.type == "cuda"
    words = WORDS[device.type] + words
    cfg = check(sweep.composed(words))
    # Else the first way alone would wait for these.
    load(cfg.data.source, cfg.data.root)
    why_missing()  # of the kernels in C
    recorded = [word for word in words if not word.startswith(("compile=", "device="))]
    same = {"words": " ".join(recorded), "torch": torch.__version__, "code": code()}
    same["compile"] = "auto" if asked.compile is None else str(asked.compile)
    same["capture"] = os.environ.get("ATTN_CAPTURE", "1")
    out = options.out / machine_name(device)
    path = out / "bench.csv"
    rows = pd.read_csv(path, dtype=str).to_dict("records") if path.exists() else []
    if others := {row["words"] for row in rows} - {same["words"]}:
        sys.exit(f"{path} is of other words, {others.pop()}: name another folder with --out")
    rows = [row for row in rows if same.items() <= row.items()]
    failed = []
    for way, how in list(ways(device.type).items())[: options.ways]:
        if any(row["way"] == way for row in rows):
            continue
        left = max(1, end - time.monotonic())
        longest = max((float(row["wall_seconds"]) for row in rows), default=0)
        try:
            row = measured(way, cfg, words, left, on_gpu, *how) if left > longest else None
        except RuntimeError as error:  # the other ways are still worth measuring
            print(f"{way} FAILED: {error}")
            failed.append(way)
            continue
        if row is None:
            print(f"{way}: the time is up; the next call goes on with it")
            break
        rows.append({**row, "device": device_name(device), **same})
        print(f"{way}: {row['seconds_per_run']} s a run, {row['images_per_second']} images/s")
        out.mkdir(parents=True, exist_ok=True)
        files.write_csv(path, pd.DataFrame(rows))
    if rows:
        report(out)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    with cli.stoppable():
        main()
