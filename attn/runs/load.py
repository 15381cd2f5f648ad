"""Loads a trained network from its run folder."""

import difflib
import textwrap
import warnings
from pathlib import Path

import torch
import yaml

from attn.compute.precision import set_backends
from attn.config.schema import NUMERICS, Config
from attn.data import Dataset, load, subset
from attn.errors import DataMissing, RunError
from attn.evaluation.freeze import TRAINING_IMAGES
from attn.evaluation.predict import Predictor, fixed_test_order, split_inputs
from attn.modules import MECHANISMS
from attn.network.build import build
from attn.runs import checkpoint, zoo
from attn.runs.files import UNREADABLE
from attn.runs.folder import Run
from attn.runs.whole import config_of

CPU = torch.device("cpu")
OTHER_DATA = "these images are not the ones that it was trained on: another dataset or decoder"


def find(name: str, runs: Path) -> Path:
    """Returns the run folder or checkpoint that `name` stands for: a path, or a run's name alone.

    Raises RunError where there is no such run folder.
    """
    for path in (Path(name), runs / name):
        if path.exists():
            return path.resolve()
    known = {
        path.parent.name: path.parent
        for root in (runs, Path(name).parent)
        for file in (checkpoint.NAME, zoo.NAME)
        for path in root.glob(f"*/{file}")
    }
    near = difflib.get_close_matches(Path(name).name, known, n=1)
    hint = f"; did you mean {known[near[0]]}?" if near else ""
    raise RunError(f"checkpoint={name}: there is no such run folder{hint}")


def load_run(path: Path | str, device: torch.device = CPU) -> Predictor:
    """Returns the trained network of a run folder, with the test images as that network takes them.

    Raises RunError where there is no whole checkpoint. Warns where the test images are not those of
    the dataset that the network was trained on.
    """
    config, seed, state = read_run(Path(path))
    predictor, data = predictor_of(config, seed, state, device)
    if data.fingerprint != config.fingerprint:
        warnings.warn(f"{Path(path).name}: {OTHER_DATA}", stacklevel=2)
    return predictor


def read_run(path: Path):
    """Returns (configuration, seed, checkpoint) of a run folder, or of the checkpoint in it.

    The checkpoint of a network of the zoo holds `run`, `network` and `precision` alone. Raises
    RunError where a file cannot be read, or where the files do not belong together.
    """
    if not path.exists():
        raise RunError(f"{path}: there is no such run folder")
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.name not in (checkpoint.NAME, zoo.NAME):
        raise RunError(f"checkpoint={path}: name the run folder, or its {checkpoint.NAME}")
    config, seed, numerics = read_config(folder)
    state = zoo.load(folder) if (folder / zoo.NAME).exists() else _checkpoint(folder)
    if numerics == NUMERICS and state["run"]["key"] != config.key:
        raise RunError(f"{folder / 'config.yaml'} is not what this run was trained with")
    return config, seed, state


def _checkpoint(folder: Path) -> dict:
    try:
        state = checkpoint.load(folder)
    except UNREADABLE as error:
        raise RunError(f"{folder / checkpoint.NAME} cannot be read ({error})") from None
    if state is None:
        raise RunError(f"checkpoint={folder}: no whole checkpoint.pt there")
    checkpoint.check_parts(folder, state)
    return state


def read_config(folder: Path) -> tuple[Config, int, int]:
    """Returns a run's configuration, seed and numerics.

    Raises RunError where config.yaml is missing or damaged, or where the mechanism no longer
    exists.
    """
    try:
        config, values = config_of(folder)
        seed, numerics = values["seed"], values["numerics"]
        mechanism = config.attention["name"]
    except FileNotFoundError:
        raise RunError(f"checkpoint={folder}: no run folder (no config.yaml there)") from None
    except (*UNREADABLE, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{folder / 'config.yaml'} is damaged ({reason})") from None
    if mechanism not in ("none", *MECHANISMS):
        raise RunError(f"{folder.name}: the mechanism {mechanism} is no longer here")
    return config, seed, numerics


def built(config: Config, seed: int):
    """Returns a run's untrained network.

    Raises RunError where this version of the code has no such network any more.
    """
    try:
        return build(config, seed)
    except (KeyError, TypeError, ValueError) as error:  # an unknown backbone is a KeyError
        name = Run(config, seed, Path()).name
        raise RunError(f"{name}: its network cannot be built any more ({error})") from None


def predictor_of(config: Config, seed: int, state: dict, device) -> tuple[Predictor, Dataset]:
    """Returns the Predictor of a trained network on the test set, and the dataset.

    The images are those of this machine where the run's own `data.root` is gone. Raises RunError
    where the weights are of another network.
    """
    try:
        data = load(config.data.source, config.data.root)
    except DataMissing:
        if config.data.root is None:
            raise
        data = load(config.data.source)
    set_backends(state.get("precision") or config.recipe.precision, config.strict)
    network = built(config, seed)
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        first = textwrap.shorten(str(error).splitlines()[1], 100)
        name = Run(config, seed, Path()).name
        raise RunError(f"{name}: its weights are of another network ({first})") from None
    inputs = split_inputs(config, data, "test", device)
    network = network.to(device, memory_format=inputs.memory_format).eval()
    return Predictor(network, inputs, config.recipe, precision=state.get("precision")), data


def training_of(config: Config, predictor: Predictor, data: Dataset) -> Predictor:
    """Returns the Predictor of the same network on some of the images that it was trained on.

    The images are taken as they are, without augmentation.
    """
    trained = subset(data.labels["train"], config.recipe.images)
    some = trained[fixed_test_order(len(trained))[:TRAINING_IMAGES]]
    inputs = split_inputs(config, data, "train", predictor.device, some)
    return Predictor(predictor.network, inputs, config.recipe, precision=predictor.precision)
