"""Shows which parts of a machine's environment change a run's numbers in its first steps.

python scripts/environments.py [--steps N] [--python PATH] [--out FOLDER] [words of train.py]
    -> results/bench/<machine>/environments.md and environments.csv

Every variation of the environment trains the same first steps in a process of its own. Its losses
and last weights are compared, bit for bit, with those of the unchanged environment. Without words
two configurations are trained. With words the first configuration alone is trained, changed by the
words. Speed is not measured.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from attn.config import cli, sweep
from attn.config.check import check, choose_device, chosen_seeds
from attn.config.cli import register
from attn.errors import UserError
from attn.training import workers

ROOT = Path(__file__).resolve().parents[1]
COMMON = ["device=cpu", "recipe=quick", "location=none", "recipe.precision=fp32"]
CONFIGURATIONS = {  # words: steps
    (*COMMON, "backbone=resnet20"): 60,
    (*COMMON, "backbone=mobilenet_v2", "recipe.size=64"): 20,
}
FAILED = "FAILED"
CHILD = "from scripts.environments import answer; answer()"


@dataclass
class Variation:
    """One change of the environment; a variation without arguments changes nothing.

    environment: variables of the process; None removes a variable. kernels: whether the kernels of
    attn.compute are used. words: words that are added to the configuration's words.
    """

    name: str = "unchanged"
    environment: dict = field(default_factory=dict)
    threads: int = 1
    kernels: bool = True
    words: list = field(default_factory=list)
    python: str = sys.executable


def variations(pythons: list[str]) -> list[Variation]:
    """Lists the variations that this machine has, the unchanged environment first."""
    found = [Variation(), Variation("the same again"), Variation("2 threads", threads=2)]
    found += [_by("ONEDNN_MAX_CPU_ISA", value) for value in _onednn()]
    found += [_by("ATEN_CPU_CAPABILITY", value) for value in _aten()]
    found += [Variation("torch's kernels, not ours", kernels=False)]
    if _has("amx_bf16"):
        found += [Variation("bf16", words=["recipe.precision=bf16"])]
    found += [Variation("glibc's own allocator settings", {"GLIBC_TUNABLES": None})]
    return found + [Variation("another torch", python=path) for path in pythons]


def _by(variable: str, value: str) -> Variation:
    return Variation(f"{variable}={value}", {variable: value})


def _onednn() -> list[str]:
    """Lists the instruction sets that oneDNN can be kept to, below the processor's own set."""
    if platform.machine() != "x86_64":
        return []
    return [*(["AVX2"] if _has("avx512_f") else []), "AVX", "SSE41"]


def _aten() -> list[str]:
    """Lists the instruction sets that torch's own kernels can be kept to."""
    import torch

    own = torch.backends.cpu.get_cpu_capability()
    return (["avx2"] if own.startswith("AVX512") else []) + ["default"]


def _has(feature: str) -> bool:
    import torch

    return bool(torch.cpu.get_capabilities().get(feature))


def trained(variation: Variation, words: list[str], steps: int) -> dict:
    """Returns what `answer` prints in a new process. Raises RuntimeError where that fails."""
    tunables = ":".join(f"glibc.malloc.{name}={v}" for name, v in workers.ALLOCATOR.items())
    environment = os.environ | {"GLIBC_TUNABLES": tunables, "PYTHONPATH": str(ROOT)}
    environment |= variation.environment
    asked = {"words": words + variation.words, "steps": steps}
    asked |= {"threads": variation.threads, "kernels": variation.kernels}
    done = subprocess.run(
        [variation.python, "-c", CHILD],
        env={name: value for name, value in environment.items() if value is not None},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"it ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def answer():
    """Trains the steps that standard input asks for, and prints the results as a line of JSON."""
    import torch

    from attn.compute.kernels.library import without_kernels

    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    register()
    cfg = sweep.composed(asked["words"])
    if asked["kernels"]:
        print(json.dumps(first_steps(cfg, asked["steps"])))
        return
    with without_kernels():
        print(json.dumps(first_steps(cfg, asked["steps"])))


def first_steps(cfg, steps: int) -> dict:
    """Trains the first `steps` steps of a run, as train.py does on a CPU.

    Returns the losses, and hashes of the first and of the last weights.
    """
    import torch

    from attn.data import load
    from attn.draws import Draws
    from attn.network.build import build
    from attn.training.shared import Shared

    configuration, seed = check(cfg), chosen_seeds(cfg)[0]
    data = load(cfg.data.source, cfg.data.root)
    shared, draws = Shared(configuration, data, torch.device("cpu"), cfg.compile), Draws(seed)
    trainer = shared.trainer(build(configuration, seed, draws, shared.weights), draws)
    start, losses = digest(trainer), []
    for step in range(steps):
        epoch, within = divmod(step, trainer.steps)
        if within == 0:
            trainer.begin(epoch)
        before = trainer.start.item()
        trainer.loss.zero_()  # the epoch's sum, whose rounding would hide a step's last bits
        trainer.advance(within)
        losses.append(trainer.loss.item() / (trainer.start.item() - before))
    return {
        "torch": torch.__version__,
        "computed": f"{trainer.precision}, {trainer.mode}",
        "start": start,
        "losses": losses,
        "end": digest(trainer),
    }


def digest(trainer) -> str:
    """Returns a hash of the network's weights and statistics, to the bit."""
    found = hashlib.sha256()
    for name, tensor in sorted(trainer.state_dict()["network"].items()):
        found.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def compared(one: dict, unchanged: dict) -> dict:
    """Compares a variation with the unchanged environment, and returns the columns of its row."""
    pairs = list(zip(one["losses"], unchanged["losses"], strict=True))
    differing = [step for step, (a, b) in enumerate(pairs, 1) if a.hex() != b.hex()]
    first = differing[0] if differing else None
    return {
        "torch": one["torch"],
        "computed": one["computed"],
        "same_start": one["start"] == unchanged["start"],
        "same_losses": not differing,
        "same_weights": one["end"] == unchanged["end"],
        "first_step": first,
        "difference_there": _relative(*pairs[first - 1]) if first else 0.0,
        "difference_at_last": _relative(*pairs[-1]),
        "last_loss": pairs[-1][0],
        "weights": one["end"],
    }


def _relative(a: float, b: float) -> float:
    return abs(a - b) / abs(b) if a.hex() != b.hex() else 0.0


def rows(words: list[str], steps: int, pythons: list[str]) -> list[dict]:
    """Trains every variation of one configuration, and returns a row for each variation."""
    same, found, unchanged = {"words": " ".join(words), "steps": steps}, [], None
    for variation in variations(pythons):
        name = variation.name
        try:
            one = trained(variation, words, steps)
        except RuntimeError as error:
            if unchanged is None:
                sys.exit(str(error))
            print(f"{name} ({variation.python}) FAILED: {error}", file=sys.stderr)
            found.append({**same, "variation": name, "computed": FAILED})
            continue
        unchanged = unchanged or one
        name = f"torch {one['torch']}" if variation.python != sys.executable else name
        found.append({**same, "variation": name, **compared(one, unchanged)})
        print(f"{name}: {_verdict(found[-1])}", flush=True)
    return found


def _verdict(row: dict) -> str:
    """Says in words how a variation compares with the unchanged environment."""
    if row["computed"] == FAILED:
        return FAILED
    if not row["same_start"]:
        return "other weights at the start"
    if row["same_losses"]:
        return "same bits" if row["same_weights"] else "other weights at the end"
    return "other losses"


def shown(found: list[dict]) -> str:
    """Returns the rows of one configuration as a Markdown table under its words."""
    import pandas as pd

    from attn.formats import markdown

    lines = [
        {
            "environment": row["variation"],
            "torch": row.get("torch"),
            "computed in": row["computed"],
            "to the unchanged": _verdict(row),
            "first step whose loss differs": _whole(row.get("first_step")),
            "by, relatively": _small(row.get("difference_there")),
            f"at step {row['steps']} by": _small(row.get("difference_at_last")),
        }
        for row in found
    ]
    words, steps = found[0]["words"], found[0]["steps"]
    return f"The first {steps} steps of `{words}`:\n\n{markdown(pd.DataFrame(lines))}"


def _whole(value) -> str:
    return "" if value is None else str(value)


def _small(value) -> str:
    return f"{value:.1e}" if value else ""


def write(tables: list[list[dict]], folder: Path):
    """Writes the tables to environments.csv and environments.md, and prints the latter."""
    import pandas as pd

    from attn.runs import files

    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame([row for table in tables for row in table])
    frame["first_step"] = frame["first_step"].astype("Int64")
    files.write_csv(folder / "environments.csv", frame)
    title = f"### What moves the numbers of a run: {folder.name}"
    text = "\n\n".join([title, *(shown(table).rstrip() for table in tables)]) + "\n"
    files.write(folder / "environments.md", text)
    print(f"\n{text}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, help="of each; else 60, and 20 of the second")
    parser.add_argument("--python", action="append", default=[], help="one with another torch")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    options, words = parser.parse_known_args()
    if unknown := [word for word in words if word.startswith("-")]:
        parser.error(f"unknown option {unknown[0]}")
    if missing := [path for path in options.python if not Path(path).is_file()]:
        parser.error(f"--python {missing[0]}: there is no such file")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps {options.steps}: it takes a number from 1 on")
    every = [([*chosen, *words], options.steps or n) for chosen, n in CONFIGURATIONS.items()]
    every = every[:1] if words else every
    cfg = sweep.single(every[0][0], __doc__)
    if len(chosen_seeds(cfg)) > 1:
        parser.error(f"seeds={cfg.seeds}: one seed is trained here; seeds=[3] means seed 3")
    device = choose_device(cfg)
    if device.type != "cpu":
        parser.error(f"device={cfg.device}: what varies here is a CPU's; leave the word out")
    for words, steps in every:
        check_steps(words, steps)
    tables = []
    for words, steps in every:
        print(f"{steps} steps of {' '.join(words)}", flush=True)
        tables.append(rows(words, steps, options.python))
    from bench import machine_name

    write(tables, options.out / machine_name(device))
    if any(row["computed"] == FAILED for table in tables for row in table):
        sys.exit("some failed")


def check_steps(words: list[str], steps: int):
    """Decodes the data, which the processes share, and counts the steps of a run.

    Ends the program where there are no data, or fewer steps than are asked for.
    """
    from attn.data import load, subset

    cfg = sweep.composed(words)
    try:
        labels = load(cfg.data.source, cfg.data.root).labels["train"]
        images = len(subset(labels, cfg.recipe.images))
    except UserError as error:
        sys.exit(str(error))
    most = cfg.recipe.epochs * -(-images // cfg.recipe.batch_size)
    if steps > most:
        sys.exit(f"--steps {steps}: {' '.join(words)} has {most} steps")


if __name__ == "__main__":
    with cli.stoppable():
        main()
