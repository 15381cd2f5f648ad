"""The command line and its cells: the one configuration that it asks for, or those of a sweep."""

import copy
import functools
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attn.config import catalogue, cli
from attn.config.check import Impossible, check, choose_device, chosen_seeds
from attn.config.cli import register
from attn.config.schema import Config
from attn.config.values import check_noise
from attn.config.words import check_words
from attn.errors import UserError


def split(words: list[str]) -> list[list[str]]:
    """The command line of every cell of a sweep, as Hydra's own sweeper splits it."""
    words = [word for word in words if not word.startswith("-")]
    chosen = dict(word.split("=", 1) for word in words)
    if "experiment" in chosen:
        varied = catalogue.varied(chosen["experiment"]).items()
        words = [f"{key}={value}" for key, value in varied if key not in chosen] + words
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        overrides = parser.parse_overrides(words)
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def composed(words: list[str]):
    """The config of one cell, as main gets it."""
    return all_composed([words])[0]


def configuration(*words: str) -> Config:
    """Returns the checked configuration of the words that train.py takes. Raises UserError."""
    register()
    return check(composed(list(words)))


def all_composed(every: list[list[str]]) -> list:
    """The config of each cell; the files of configs/ are read once."""
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        return [compose("train", overrides=words) for words in every]


def planned(every: list[list[str]]) -> list:
    """Composes the config of each cell of a plan: once for each choice of files, as that is slow.

    The other words are then set one by one. Raises UserError where a value does not fit its key.
    """

    @functools.cache
    def of_files(*words):
        return compose("train", overrides=list(words))

    configs = []
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        for words in every:
            overrides = parser.parse_overrides(words)
            files = [word for word in overrides if _chooses_a_file(word.key_or_group)]
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
    except OmegaConfBaseException as error:
        message, _, _ = str(error).partition("\n")
        raise UserError(f"{key}: {message}") from None


def check_all(words: list[str]):
    """Ends the program, with one line, where any cell of the command line is wrong.

    Before Hydra makes a folder and before the first cell trains; impossible cells are left to it.
    """
    sweep = cli.is_sweep(words)
    with _refusal():
        every = split(words)
        if not sweep and (several := _several_seeds(every)):
            raise UserError(f"seeds={','.join(several)}: write seeds=[{','.join(several)}]")
        if not sweep and len(every) > 1:
            raise UserError("a key has several values: add -m to sweep over them; a list is [1,2]")
        for cfg in all_composed(every):
            cli.check_writable(Path(cfg.runs), f"runs={cfg.runs}")
            if not sweep:
                check_noise(cfg.data.noise)
            try:
                _check_one(cfg)
            except Impossible:
                if not sweep:
                    raise


def _several_seeds(every: list[list[str]]) -> list[str]:
    """The values of seeds=, where the cells differ in it."""
    words = [word for words in every for word in words if word.startswith("seeds=")]
    return [word.removeprefix("seeds=") for word in words] if len(set(words)) > 1 else []


def single(words: list[str], about: str):
    """What a script beside train.py was asked, every value checked; --help prints `about`."""
    register()
    if cli.is_question(words):
        print(about)
        raise SystemExit
    check_words(words)
    with _refusal():
        cfg = composed(words)
        _check_one(cfg)
        return cfg


def plain(words: list[str], about: str):
    """The same for the plain loops, which have not all that may be asked of train.py."""
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


def _check_one(cfg):
    chosen_seeds(cfg)
    choose_device(cfg)
    check(cfg)


@contextmanager
def _refusal():
    """Ends the program with one sentence where the command line is wrong."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise SystemExit(str(error).partition("\n")[0]) from None
    except (HydraException, UserError) as error:
        raise SystemExit(str(error)) from None


def running() -> str | None:
    """The words of the sweep's cell that is running; None outside of a sweep."""
    job = HydraConfig.get()
    beside = ("seeds=", "device=", "runs=")  # do not say what the cell is
    words = [word for word in job.overrides.task if not word.startswith(beside)]
    return " ".join(words) if job.mode == RunMode.MULTIRUN else None


def number() -> int | None:
    """Where the running cell is in its sweep, from 0; None outside of a sweep."""
    job = HydraConfig.get()
    return job.job.num if job.mode == RunMode.MULTIRUN else None
