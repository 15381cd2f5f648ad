"""The schema of the command line, the checks, and from a checked config to runs.

`check` raises Hydra's own kind of error, whose message is printed without a traceback. Nothing
heavy is imported here, so --help and tab completion answer at once.
"""

import functools
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attn import catalogue, command
from attn.catalogue import GROUPS, explain
from attn.checks import (
    check_arguments,
    check_data,
    check_noise,
    check_recipe,
    one_form,
    one_of,
)
from attn.errors import UserError, plain
from attn.labels import label
from attn.schema import Config, Data, Recipe

MOST_SEEDS = 1000
STAGES = ("all", "between")
DEVICES = ("auto", "cuda", "cpu")


class ConfigError(CompactHydraException):
    """One sentence, printed without a traceback."""


class Impossible(ConfigError):
    """Attention that cannot stand where it is asked to: a sweep skips such a cell."""


@dataclass
class Train:
    """The keys of configs/train.yaml, typed."""

    backbone: dict[str, Any]
    attention: dict[str, Any]
    data: Data = field(default_factory=Data)
    recipe: Recipe = field(default_factory=Recipe)
    location: str = "published"
    stages: Any = "all"
    seeds: Any = 1
    device: str = "auto"
    strict: bool = False
    compile: bool | None = None
    runs: str = "runs"


@dataclass
class Eval:
    """The keys of configs/eval.yaml, typed."""

    runs: str = "runs"
    publish: bool = False
    checkpoint: str | None = None
    device: str = "auto"


def register():
    """Makes the schemas and the help known to Hydra, by the names that configs/*.yaml use."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=Train)
    store.store(name="eval_schema", node=Eval)
    OmegaConf.register_new_resolver("catalogue", explain, replace=True)


def check_words(words: list[str], schema=Train):
    """Ends the program, with one line, where the command line has a word that nothing knows."""
    groups = GROUPS if schema is Train else {}
    top = {key: hint for key, hint in get_type_hints(schema).items() if key not in groups}
    try:
        catalogue.check_words(words, groups, top)
    except UserError as error:
        raise SystemExit(str(error)) from None


def check_cells(words: list[str]):
    """Ends the program, with one line, where any cell of the command line is wrong.

    Before Hydra makes a folder and before the first cell trains; impossible cells are left to it.
    """
    sweep = is_sweep(words)
    try:
        every = cells(words)
        if not sweep and len(every) > 1:
            raise ConfigError(
                "a key has several values: add -m to sweep over them; a list is [1,2]"
            )
        for cfg in composed_cells(every):
            command.check_writable(Path(cfg.runs))
            if not sweep:
                check_noise(cfg.data.noise)
            seeds(cfg)
            choose_device(cfg)
            try:
                check(cfg)
            except Impossible:
                if not sweep:
                    raise
    except OmegaConfBaseException as error:
        raise SystemExit(str(error).partition("\n")[0]) from None
    except (HydraException, UserError) as error:
        raise SystemExit(str(error)) from None


def is_sweep(words: list[str]) -> bool:
    flags = {"-m", "--multirun"} & set(words)
    return bool(flags) or any(word.startswith("experiment=") for word in words)


def is_question(words: list[str]) -> bool:
    """Whether the command line asks Hydra for something else than to run."""
    return any(word.startswith("-") and word not in ("-m", "--multirun") for word in words)


def one_cell(words: list[str], about: str):
    """What a script beside train.py was asked, every value checked; --help prints `about`."""
    register()
    if is_question(words):
        print(about)
        raise SystemExit
    check_words(words)
    try:
        cfg = composed(words)
        check(cfg)
        seeds(cfg)
        choose_device(cfg)
        return cfg
    except (HydraException, OmegaConfBaseException) as error:
        raise SystemExit(str(error).partition("\n")[0]) from None


@contextmanager
def one_line_errors():
    """Ends the program, or in a sweep this cell, with a person's mistake and no traceback."""
    try:
        yield
    except BrokenPipeError:
        command.reader_gone()
    except (UserError, ConfigError, OmegaConfBaseException, OSError) as error:
        message = plain(error) if isinstance(error, OSError) else str(error)
        if not message:
            raise
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the next cells go on
            raise ConfigError(message) from None
        raise SystemExit(message) from None


def cells(words: list[str]) -> list[list[str]]:
    """The command line of every cell of a sweep, as Hydra's own sweeper splits it."""
    words = [word for word in words if not word.startswith("-")]
    chosen = dict(word.split("=", 1) for word in words)
    if "experiment" in chosen:
        varied = catalogue.sweep(chosen["experiment"]).items()
        words = [f"{key}={value}" for key, value in varied if key not in chosen] + words
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        overrides = parser.parse_overrides(words)
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def composed(words: list[str]):
    """The config of one cell, as main gets it."""
    return next(composed_cells([words]))


def composed_cells(every: list[list[str]]):
    """Yields the config of each cell; the files of configs/ are read once."""
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        made = [compose("train", overrides=words) for words in every]
    yield from made


def sweep_cell() -> str | None:
    """The words of the sweep's cell that is running; None outside of a sweep."""
    job = HydraConfig.get()
    beside = ("seeds=", "device=", "runs=")  # do not say what the cell is
    words = [word for word in job.overrides.task if not word.startswith(beside)]
    return " ".join(words) if job.mode == RunMode.MULTIRUN else None


def cell_number() -> int | None:
    """Where the running cell is in its sweep, from 0; None outside of a sweep."""
    job = HydraConfig.get()
    return job.job.num if job.mode == RunMode.MULTIRUN else None


def check(cfg) -> Config:
    """The configuration, once every value is known to make sense. Raises ConfigError."""
    from attn.backbones import BACKBONES
    from attn.modules import MECHANISMS

    values = OmegaConf.to_object(cfg)
    try:
        check_data(values.data)
        check_recipe(values.recipe)
        one_form(values.data, values.recipe)
        check_arguments("backbone", values.backbone, BACKBONES)
        location, stages, attention = _placement(values)
        if location != "none":
            check_arguments("attention", attention, MECHANISMS)
        if values.strict and values.compile:
            raise UserError("strict=true: compiled kernels are chosen by timing; leave compile out")
    except UserError as error:
        raise ConfigError(str(error)) from None
    groups = {"backbone": values.backbone, "attention": attention}
    groups |= {"data": asdict(values.data), "recipe": asdict(values.recipe)}
    config = Config(
        backbone=values.backbone,
        attention=attention,
        data=values.data,
        recipe=values.recipe,
        location=location,
        stages=stages,
        strict=values.strict,
        labels={group: label(group, chosen) for group, chosen in groups.items()},
    )
    key = config.key
    if key not in _known_to_build:  # main asks again for what check_cells has asked
        _try_to_build(config)
        _known_to_build.add(key)
    return config


_known_to_build = set()


def _placement(values) -> tuple:
    """(location, stages, attention) in their one canonical form each."""
    from attn.place import INSIDE, LOCATIONS

    one_of("location", values.location, ("published", *LOCATIONS))
    declared = values.attention
    location, stages = values.location, values.stages
    if location == "published":
        location = declared.get("location", "none")
        stages = declared.get("stages", "all") if stages == "all" else stages
    if "none" in (location, declared["name"]):
        return "none", "all", {"name": "none"}
    whole = isinstance(stages, list) and all(type(stage) is int for stage in stages)
    if stages not in STAGES and not whole:
        raise UserError(f"stages={stages}: choose {', '.join(STAGES)}, or a list such as [1,2]")
    if location not in INSIDE and stages != "all":
        raise Impossible(
            f"stages={stages}: location={location} is in no stage; choose {' or '.join(INSIDE)}"
        )
    if whole:
        stages = sorted(set(stages))
    attention = {k: v for k, v in declared.items() if k not in ("location", "stages")}
    return location, stages, attention


def _try_to_build(config: Config):
    """Builds the network without memory, so that what cannot work is refused now."""
    import torch

    from attn.build import build
    from attn.seams import CannotStand

    try:
        with torch.device("meta"):
            build(config, seed=0)
    except CannotStand as error:
        raise Impossible(str(error)) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def seeds(cfg) -> list[int]:
    """`seeds=5` means seeds 0 to 4, `seeds=[0,3]` those. Raises ConfigError."""
    value = OmegaConf.to_container(cfg)["seeds"]
    chosen = list(range(min(value, MOST_SEEDS + 1))) if type(value) is int else value
    whole = isinstance(chosen, list) and all(type(seed) is int and seed >= 0 for seed in chosen)
    if (
        not whole
        or len(set(chosen)) not in range(1, MOST_SEEDS + 1)
        or len(set(chosen)) < len(chosen)
    ):
        raise ConfigError(
            f"seeds={value}: it takes a number (seeds=5 means seeds 0 to 4) or a list of different "
            f"numbers from 0 on (seeds=[0,3]), at most {MOST_SEEDS}"
        )
    return chosen


def choose_device(cfg):
    """The torch device that `device=auto|cuda|cpu` means here. Raises ConfigError."""
    import torch

    if cfg.device not in DEVICES:
        raise ConfigError(f"device={cfg.device}: choose one of {', '.join(DEVICES)}")
    if cfg.device == "cuda" and not _has_gpu():
        raise ConfigError(
            "device=cuda: torch sees no GPU on this machine; choose device=cpu or auto"
        )
    gpu = cfg.device != "cpu" and _has_gpu()
    return torch.device("cuda" if gpu else "cpu")


@functools.cache  # torch looks for drivers anew each time
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
