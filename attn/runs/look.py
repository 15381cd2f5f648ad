"""Inspects trained networks, and keeps in their run folders what only a trained network tells."""

import functools
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from attn.errors import DataMissing, RunError, UserError
from attn.evaluation.freeze import freeze, means
from attn.evaluation.inspect import files_of, inspect, swap
from attn.evaluation.predict import Predictor, evaluate, fixed_test_order, score_rows
from attn.names import POST_IMAGES
from attn.network.fold import fold
from attn.network.scores import replaced
from attn.network.seams import CannotStand
from attn.runs import checkpoint, files
from attn.runs.load import OTHER_DATA, built, predictor_of, read_config, read_run, training_of

FOLDED = "folded.pt"
CLASSES_CSV = "classes.csv"  # the last file that an inspection leaves in a run folder


@dataclass
class Look:
    """The results of one trained network on the whole test set.

    taken: the class (N,) that each test image is taken for, in the dataset's order. scores: rows of
    `attn.evaluation.predict.score_rows`; empty without attention. picture: the input channels
    (C, S, S) uint8 of one image. kept: the folder that holds the files of the inspection. folded:
    the network without its gates; the reason why they cannot be folded; None without attention.
    """

    run: str
    epochs: str
    source: str
    accuracy: float
    taken: np.ndarray
    scores: list[dict]
    picture: np.ndarray
    kept: Path
    folded: "Folded | str | None"


@dataclass
class Folded:
    """A network without attention, into whose weights the frozen gates are folded.

    difference: the largest between its logits and those of the frozen network, on a batch of test
    images.
    """

    weights: dict
    difference: float


def look_into(path: Path, device: torch.device, aside: Path) -> Look:
    """Evaluates a checkpoint on the whole test set, and inspects its network where that has scores.

    path: a run folder or the checkpoint.pt in it. A finished run that was trained on these data
    keeps the files of the inspection in its folder. The files of any other run, of a network of the
    zoo, or of a folder that cannot be written, go into the folder `aside`. `look_into` needs the
    data, and no other run. Raises RunError where there is no whole checkpoint.
    """
    folder = path if path.is_dir() else path.parent
    config, seed, state = read_run(path)
    predictor, data = predictor_of(config, seed, state, device)
    same = data.fingerprint == config.fingerprint
    if not same:
        print(f"Mind: {OTHER_DATA}.")
    labels = predictor.inputs.labels.cpu()
    order = fixed_test_order(len(labels))
    with _one_thread():
        logits, scores = evaluate(predictor, order, {POST_IMAGES, len(order)})
    taken = torch.empty_like(order)
    taken[order] = logits.cpu().argmax(1)
    rows = score_rows(scores)
    kept = folder if same and _may_keep(folder) else aside
    folded = None
    if rows:
        found = functools.cache(lambda: means(training_of(config, predictor, data)))
        inspect_run(kept, predictor, found)
        folded = _fold(predictor, found(), order[: predictor.batch])
    elif config.location != "none":
        folded = f"{config.attention['name']} has no gate, so nothing can be frozen"
    return Look(
        run=folder.name,
        epochs=f"{state['run']['epochs']} of {config.recipe.epochs} epochs",
        source=data.source,
        accuracy=(taken == labels).double().mean().item(),
        taken=taken.numpy(),
        scores=rows,
        picture=predictor.inputs.pictures(int(order[0])).numpy(),
        kept=kept,
        folded=folded,
    )


def _may_keep(folder: Path) -> bool:
    finished = all((folder / name).exists() for name in ("summary.json", checkpoint.NAME))
    return finished and os.access(folder, os.W_OK)


@torch.no_grad()
def _fold(predictor: Predictor, found: dict, samples) -> Folded | str:
    frozen = {name: mean for name, (mean, _) in found.items()}
    try:
        folded = fold(predictor.network, frozen)
    except CannotStand as error:
        return str(error)
    x, _ = predictor.inputs(samples.to(predictor.device))
    with replaced(predictor.network, frozen):
        difference = (folded(x) - predictor.network(x)).abs().max().item()
    return Folded({name: value.cpu() for name, value in folded.state_dict().items()}, difference)


def save_folded(look: Look, folder: Path):
    """Writes the folded network of a look as `folded.pt`, a state_dict, or says why there is none.

    The weights are those of the backbone alone: `attn.BACKBONES` and torchvision load them.
    """
    if isinstance(look.folded, str):
        print(f"not folded: {look.folded}")
    elif look.folded:
        buffer = io.BytesIO()
        torch.save(look.folded.weights, buffer)
        files.write(folder / FOLDED, buffer.getvalue())
        print(
            f"folded: {folder / FOLDED} is the network without attention, with its gates as "
            f"constants; its logits are those of the frozen network to {look.folded.difference:.0e}"
        )


def inspect_all(root: Path, device: torch.device):
    """Inspects every finished network that has scores and lacks a file of an inspection.

    The report then has the networks' class scores, maps and importances, and what the scores
    follow.
    """
    known, missing = {}, {}  # missing: data that was looked for once, and is not here
    waiting = [
        path.parent
        for path in sorted(root.glob(f"*/{checkpoint.NAME}"))
        if (path.parent / "summary.json").exists() and _lacks_files(path.parent, known)
    ]
    for folder in tqdm(waiting, desc="inspecting", unit="network"):
        if not _may_keep(folder):
            tqdm.write(f"not inspected: {folder.name}: its folder cannot be written to")
            continue
        try:
            config, seed, state = read_run(folder)
            if error := missing.get((config.data.source, config.data.root)):
                raise error
            predictor, data = predictor_of(config, seed, state, device)
        except UserError as error:
            if isinstance(error, DataMissing):
                missing[config.data.source, config.data.root] = error
            tqdm.write(f"not inspected: {folder.name}: {error}")
            continue
        if data.fingerprint != config.fingerprint:
            tqdm.write(f"not inspected: {folder.name}: {OTHER_DATA}")
            continue
        training = functools.partial(training_of, config, predictor, data)
        inspect_run(folder, predictor, lambda training=training: means(training()))


def _lacks_files(folder: Path, known: dict) -> bool:
    """Returns whether the run folder lacks a file that an inspection would leave in it.

    known: the names of these files by configuration key, which `_lacks_files` fills.
    """
    try:
        config, _, _ = read_config(folder)
        if config.location != "none" and config.key not in known:
            known[config.key] = files_of(built(config, seed=0), config.recipe.size)
    except RunError:
        return True  # whoever inspects it is told why
    if config.location == "none":
        return False
    return any(not (folder / name).exists() for name in known[config.key])


def inspect_run(folder: Path, predictor: Predictor, found):
    """Writes the files of an inspection that the folder lacks.

    predictor: the network on test images. found() returns the means of its gates on training
    images, as `attn.evaluation.freeze.means` does. The files are swap.csv, frozen.csv,
    importance.csv, maps.npz and, written last, classes.csv. Where one of the last three is missing,
    all of these three that the network has are written.
    """
    size = predictor.inputs.images.shape[-1]
    lacking = {name for name in files_of(predictor.network, size) if not (folder / name).exists()}
    alone = {
        "swap.csv": lambda: swap(predictor),
        "frozen.csv": lambda: freeze(predictor, found()),
    }
    with _one_thread():
        for name in alone.keys() & lacking:
            _write(folder / name, alone[name]())
        if lacking <= alone.keys():
            return
        seen = inspect(predictor)
    if seen.importance:
        _write(folder / "importance.csv", seen.importance)
    if seen.maps:
        files.write_arrays(folder / "maps.npz", **seen.maps)
    _write(folder / CLASSES_CSV, seen.classes)


def _write(path: Path, rows: list[dict]):
    files.write_csv(path, pd.DataFrame(rows), float_format="%.6g")


@contextmanager
def _one_thread():
    """Keeps torch on one thread, as in training, so that numbers are the same to the bit.

    Another number of threads would change a CPU's roundings.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
