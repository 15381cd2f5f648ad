"""The command line and its cells: a single configuration, or the configurations of a sweep."""

import copy
import functools
import itertools
import re
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from attn.config import catalogue, cli
from attn.config.check import Impossible, check, check_device, choose_device, chosen_seeds
from attn.config.cli import register
from attn.config.launchers import check_local, check_slurm
from attn.config.schema import Config
from attn.config.values import check_noise
from attn.config.words import catalogue_open, check_words, elements, parsed, varied
from attn.errors import UserError


def split(words: list[str]) -> list[list[str]]:
    """Returns the command line of every cell of a sweep, in the order of Hydra's sweeper.

    Raises UserError where a word, or the experiment's file, is wrong.
    """
    overrides, axes = parsed(words), {}
    given = {override.key_or_group: override for override in overrides}
    if "experiment" in given:
        overrides = varied(*elements(given["experiment"])) + overrides
    for override in overrides:  # the last word of a key counts, in the place of the first
        key = override.get_key_element()
        axes[key] = [f"{key}={value}" for value in elements(override)]
    return [list(cell) for cell in itertools.product(*axes.values())]


def composed(words: list[str]):
    """Returns the composed config of one cell, as main gets the config."""
    with catalogue_open():
        return compose("train", overrides=words)


def configuration(*words: str) -> Config:
    """Returns the checked configuration of the words that train.py takes.

    Raises UserError where a word is wrong.
    """
    register()
    return check(composed(list(words)))


def all_composed(every: list[list[str]]) -> list:
    """Returns the composed config of each cell.

    Each choice of files is composed once, as composing is slow; the other words are then set one by
    one. Raises UserError where a value does not fit its key.
    """

    @functools.cache
    def of_files(*words):
        return compose("train", overrides=list(words))

    configs = []
    for words in every:
        overrides = parsed(words)
        files = [word for word in overrides if _chooses_a_file(word.key_or_group)]
        with catalogue_open():
            configs.append(copy.deepcopy(of_files(*(word.input_line for word in files))))
        for word in overrides:
            if word not in files:
                _set(configs[-1], word.key_or_group, word.value())
    return configs


def _chooses_a_file(key: str) -> bool:
    return key in catalogue.GROUPS or key.startswith("hydra")


def _set(cfg, key: str, value):
    try:
        OmegaConf.update(cfg, key, value)
    except (ConfigAttributeError, ConfigKeyError):
        group, _, _ = key.partition(".")
        raise UserError(f"{key}={value}: {group}={cfg[group].name} has no such key") from None
    except OmegaConfBaseException as error:
        message, _, _ = str(error).partition("\n")
        raise UserError(f"{key}: {message}") from None


def check_all(words: list[str]) -> list[list[str]]:
    """Returns the command line of every cell, in the order of Hydra's sweeper.

    Raises UserError, or an error of Hydra's, where any cell is wrong or every cell is impossible.
    The check comes before Hydra makes a folder and before the first cell trains. Some impossible
    cells of a sweep are left to the sweep.
    """
    check_words(words)
    sweep, every = cli.is_sweep(words), split(words)
    if not sweep:
        check_single(words)
    launcher = next((word for word in words if word.startswith("hydra/launcher=")), "")
    if launcher and not sweep and launcher != "hydra/launcher=basic":
        raise UserError(f"{launcher}: only a sweep goes to a launcher; add -m")
    if "slurm" in launcher:
        check_slurm(_launcher(every[0]))
    if "submitit_local" in launcher and choose_device(composed(every[0])).type == "cuda":
        check_local(_launcher(every[0]))
    for word in parsed(words):
        folder = word.key_or_group in ("hydra.run.dir", "hydra.sweep.dir")
        if folder and not word.is_sweep_override():
            cli.check_writable(Path(str(word.value())), word.input_line)
    impossible = []
    for cfg in all_composed(every):
        cli.check_writable(Path(cfg.runs), f"runs={cfg.runs}")
        if not sweep:
            check_noise(cfg.data.noise)
        try:
            _check_one(cfg, elsewhere="slurm" in launcher)
        except Impossible as error:
            if not sweep:
                raise
            impossible.append(error)
    if len(impossible) == len(every):
        count = len(every)
        raise UserError(f"none of the {count} configurations can be built; first: {impossible[0]}")
    return every


def _launcher(words: list[str]):
    """Returns the composed config of a cell's launcher."""
    with catalogue_open():
        return compose("train", overrides=words, return_hydra_config=True).hydra.launcher


def check_single(words: list[str]):
    """Raises UserError where a word has several values, over which only a sweep goes.

    An experiment has several.
    """
    for word in parsed(words):
        _check_value(word.get_key_element(), elements(word))


def _check_value(key: str, values: list[str]):
    listed = ",".join(values)
    if key == "experiment":
        raise UserError(f"{key}={listed}: that is many configurations; name a single one")
    if len(values) > 1 and key == "seeds":
        raise UserError(f"seeds={listed}: write seeds=[{re.sub(r'[][]', '', listed)}]")
    if len(values) > 1:
        hint = f"; a list is {key}=[{listed}]" if key in ("stages", "blocks") else ""
        if key in ("runs", "data.root") or key.startswith("hydra"):
            hint = f"; a text with commas is '{key}=\"{listed}\"'"
        raise UserError(f"{key}={listed}: several values; add -m to sweep over them{hint}")


def single(words: list[str], about: str):
    """Returns the config that a script beside train.py was asked for, every value checked.

    --help prints `about`.
    """
    register()
    if cli.is_question(words):
        print(about)
        raise SystemExit
    with cli.refusing():
        check_words(words)
        cfg = composed(words)
        check_noise(cfg.data.noise)
        _check_one(cfg)
        return cfg


def plain(words: list[str], about: str):
    """Returns `single`'s config for the plain loops, which do not have all that train.py has.

    Ends the script where the command line asks for a value that the plain loops do not have.
    """
    cfg = single(words, about)
    augment, noise = cfg.recipe.augment, cfg.data.noise
    for key, value, known in (
        ("recipe.augment", augment, "none"),
        ("data.noise.kind", noise.kind, "uniform"),
        ("data.noise.size", noise.size, None),
    ):
        if value != known:
            raise SystemExit(f"{key}={value}: the plain loops have {known or 'null'} alone")
    return cfg


def _check_one(cfg, elsewhere: bool = False):
    """Checks a cell; elsewhere: it trains on another machine, which may have another device."""
    chosen_seeds(cfg)
    if elsewhere:
        check_device(cfg.device)
    else:
        choose_device(cfg)
    check(cfg)


def running() -> str | None:
    """Returns the words of the sweep's cell that is running, or None outside of a sweep."""
    job = HydraConfig.get()
    # With which a cell stays the same cell.
    beside = ("seeds=", "device=", "runs=", "data.root=", "compile=", "strict=")
    words = sorted(word for word in job.overrides.task if not word.startswith(beside))
    return " ".join(words) if job.mode == RunMode.MULTIRUN else None


def number() -> int | None:
    """Returns the place of the running cell in its sweep, from 0, or None outside of a sweep."""
    job = HydraConfig.get()
    return job.job.num if job.mode == RunMode.MULTIRUN else None


def beside_others() -> bool:
    """Returns whether a launcher runs this job beside others on this machine."""
    return "joblib" in HydraConfig.get().launcher["_target_"].lower()
