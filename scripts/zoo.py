"""Adds trained networks to the zoo in half precision, and measures every network that is there.

python scripts/zoo.py runs/NAME runs/OTHER     copies finished runs into results/zoo
python scripts/zoo.py                          measures those that are there

results/zoo/README.md gets each network's accuracy as it was trained and in half precision. The exit
status is 1 where the two differ by more than a tenth of a point, or where the zoo is too large.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
import torch
from tqdm import tqdm

from attn.config import cli
from attn.errors import UserError
from attn.evaluation.predict import evaluate
from attn.formats import markdown, plain
from attn.runs import files, zoo
from attn.runs.load import CPU, OTHER_DATA, predictor_of, read_run
from attn.runs.whole import Damaged, check_finished

ROOT = Path(__file__).resolve().parents[1]
MOST = 12e6  # bytes of all networks together
NEAR = 0.1  # points
ABOUT = """\
# Trained networks in half precision

`python eval.py checkpoint=results/zoo/NAME` shows a network's accuracy by class. Where the network
has them, it also shows its scores at every place, the swap of colour and noise channels, and its
frozen gates. Nothing is trained for it.
In Python `attn.load_run("results/zoo/NAME")` is the network with its test images.

Weights of several dimensions are in half precision, all others in single precision. `weights.npz`
is read without unpickling. The other files are the records of the run. All networks together stay
below 12 MB: MobileNetV2 with attention at `last` would take 11 of them, and is left out.
`python scripts/zoo.py` measures the accuracies below again. Each network is of one seed, so the
differences between rows decide nothing.

"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="*", help="folders of finished runs")
    parser.add_argument("--zoo", type=Path, default=ROOT / "results" / "zoo", help="another folder")
    return parser.parse_args()


def accuracy(folder: Path) -> float:
    config, seed, state = read_run(folder)
    predictor, data = predictor_of(config, seed, state, CPU)
    if data.fingerprint != config.fingerprint:
        raise UserError(f"{folder.name}: {OTHER_DATA}")
    labels = predictor.inputs.labels
    logits, _ = evaluate(predictor, torch.arange(len(labels)))
    return (logits.argmax(1) == labels).double().mean().item()


def measured(folder: Path) -> dict:
    """Returns a network's line of the table: its accuracies, in percent, and its size."""
    trained = check_finished(folder)["test_accuracy"]
    size = sum(path.stat().st_size for path in folder.iterdir())
    config, _, _ = read_run(folder)
    return {
        "name": folder.name,
        "network": config.title,
        "as trained, %": 100 * trained,
        "here, %": 100 * accuracy(folder),
        "MB": size / 1e6,
    }


def main():
    asked = parse()
    runs = [folder.resolve() for folder in asked.runs]
    for folder in runs:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such run folder")
        if not (folder / "summary.json").exists():
            raise UserError(f"{folder}: the run is not finished; the same train.py command goes on")
        try:
            check_finished(folder)
        except Damaged as error:
            raise UserError(f"{folder.name}: {error}") from None
        if folder.parent == asked.zoo.resolve():
            raise UserError(f"{folder}: it is in the zoo already")
    for folder in runs:
        zoo.add(folder, read_run(folder)[2], asked.zoo)
    folders = sorted(path.parent for path in asked.zoo.glob(f"*/{zoo.NAME}"))
    if not folders:
        raise UserError(f"{asked.zoo}: no network there; name folders of finished runs")
    table = pd.DataFrame([measured(folder) for folder in tqdm(folders, unit="network")])
    print(plain(table.drop(columns="network")), end="")
    files.write(asked.zoo / "README.md", ABOUT + markdown(table))
    off = (table["as trained, %"] - table["here, %"]).abs().round(4) > NEAR
    for name in table["name"][off]:
        print(f"{name}: half precision changes its accuracy")
    if (size := table["MB"].sum()) > MOST / 1e6:
        print(f"the zoo has {size:.1f} MB, more than {MOST / 1e6:.0f}")
    sys.exit(int(off.any() or size > MOST / 1e6))


if __name__ == "__main__":
    with cli.stoppable():
        main()
