"""The schema of the command line, and the checks: from a composed config to a configuration.

A person's mistake is a UserError; in a sweep Hydra is told so by an error of its own kind, which it
prints without a traceback. Nothing heavy is imported here, so --help and tab completion answer at
once.
"""

import functools
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attn import catalogue, command
from attn.catalogue import GROUPS, explain
from attn.checks import (
    check_arguments,
    check_data,
    check_recipe,
    one_form,
    one_of,
)
from attn.errors import UserError, plain
from attn.labels import label
from attn.schema import PLACING, Config, Data, Recipe

MOST_SEEDS = 1000
SEEDS = 2**32  # as many as the key of the random numbers has
STAGES = ("all", "between")
DEVICES = ("auto", "cuda", "cpu")


class Impossible(UserError):
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
    OmegaConf.register_new_resolver("by_backbone", _by_backbone, replace=True)


def _by_backbone(values, *, _root_):
    return catalogue.pick(values, _root_.backbone.name)


def check_words(words: list[str], schema=Train):
    """Ends the program, with one line, where the command line has a word that nothing knows."""
    groups = GROUPS if schema is Train else {}
    top = {key: hint for key, hint in get_type_hints(schema).items() if key not in groups}
    try:
        catalogue.check_words(words, groups, top)
    except UserError as error:
        raise SystemExit(str(error)) from None


@contextmanager
def one_line_errors():
    """Ends the program, or in a sweep this cell, with a person's mistake and no traceback."""
    try:
        yield
    except BrokenPipeError:
        command.reader_gone()
    except (UserError, OmegaConfBaseException, OSError) as error:
        message = plain(error) if isinstance(error, OSError) else str(error)
        if not message:
            raise
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the next cells go on
            raise CompactHydraException(message) from None
        raise SystemExit(message) from None


def check(cfg) -> Config:
    """The configuration, once every value is known to make sense; else raises UserError."""
    from attn.backbones import BACKBONES
    from attn.modules import MECHANISMS
    from attn.seams import OF_BLOCKS

    values = OmegaConf.to_object(cfg)
    check_data(values.data)
    check_recipe(values.recipe)
    one_form(values.data, values.recipe)
    check_arguments("backbone", values.backbone, BACKBONES)
    location, stages, attention = _placement(values)
    if location != "none":
        check_arguments("attention", attention, MECHANISMS)
        seam = getattr(MECHANISMS[attention["name"]], "seam", None)
        one_of(f"attention={attention['name']}: the seam of its class", seam, OF_BLOCKS)
    if values.strict and values.compile:
        raise UserError("strict=true: compiled kernels are chosen by timing; leave compile out")
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
        labels={g: label(g, chosen, values.backbone["name"]) for g, chosen in groups.items()},
    )
    key = config.key
    if key not in _known_to_build:  # main asks again for what cells.check has asked
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
        if "location" not in declared and declared["name"] != "none":
            raise UserError(
                f"attention={declared['name']}: its YAML declares no place; write `location:` "
                f"there, or ask for location={', '.join(LOCATIONS)}"
            )
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
    attention = {k: v for k, v in declared.items() if k not in PLACING}
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
        raise UserError(str(error)) from None


def seeds(cfg) -> list[int]:
    """`seeds=5` means seeds 0 to 4, `seeds=[0,3]` those. Raises UserError."""
    value = OmegaConf.to_container(cfg)["seeds"]
    if type(value) is int and 1 <= value <= MOST_SEEDS:
        return list(range(value))
    right = isinstance(value, list) and all(type(s) is int and 0 <= s < SEEDS for s in value)
    if right and 1 <= len(set(value)) == len(value) <= MOST_SEEDS:
        return value
    raise UserError(
        f"seeds={value}: it takes a number (seeds=5 means seeds 0 to 4) or a list of different "
        f"numbers from 0 on (seeds=[0,3]) and below 2^32, at most {MOST_SEEDS}"
    )


def choose_device(cfg):
    """The torch device that `device=auto|cuda|cpu` means here. Raises UserError."""
    import torch

    one_of("device", cfg.device, DEVICES)
    if cfg.device == "cuda" and not _has_gpu():
        raise UserError("device=cuda: torch sees no GPU on this machine; choose device=cpu or auto")
    gpu = cfg.device != "cpu" and _has_gpu()
    return torch.device("cuda" if gpu else "cpu")


@functools.cache  # torch looks for drivers anew each time
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
