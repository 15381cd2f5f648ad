"""From a composed config to a checked configuration; a person's mistake is a UserError.

Nothing heavy is imported here, so --help and tab completion answer at once.
"""

import functools
from dataclasses import asdict, replace

from omegaconf import OmegaConf

from attn.config.labels import label
from attn.config.schema import PLACING, Config
from attn.config.values import (
    canonical,
    check_data,
    check_recipe,
    checked_arguments,
)
from attn.errors import UserError, one_of
from attn.names import INSIDE, LOCATIONS

MOST_SEEDS = 1000
SEEDS = 2**32  # as many as the key of the random numbers has
STAGES = ("all", "between")
DEVICES = ("auto", "cuda", "cpu")


class Impossible(UserError):
    """Attention that cannot stand where it is asked to: a sweep skips such a cell."""


def check(cfg, fingerprint: str = "") -> Config:
    """Makes the configuration, of data with that fingerprint, once every value makes sense.

    Raises UserError where a value makes no sense, and Impossible where attention cannot stand.
    """
    from attn.backbones import BACKBONES
    from attn.modules import MECHANISMS
    from attn.network.seams import OF_BLOCKS

    values = OmegaConf.to_object(cfg)
    check_data(values.data)
    check_recipe(values.recipe)
    data = canonical(values.data, values.recipe)
    backbone = checked_arguments("backbone", values.backbone, BACKBONES)
    shape = backbone.get("groups", 1), backbone.get("width_per_group", 64)
    if backbone.get("pretrained") and shape != (1, 64):
        raise UserError(
            "backbone.groups={} backbone.width_per_group={}: torchvision's weights here are of 1 "
            "and 64; leave pretrained=false".format(*shape)
        )
    location, stages, blocks, attention = _placement(values)
    if location != "none":
        if attention["name"] not in MECHANISMS:
            raise UserError(
                f"attention={attention['name']}: it is not among the MECHANISMS of "
                f"attn/modules/__init__.py, which are {', '.join(MECHANISMS)}"
            )
        attention = checked_arguments("attention", attention, MECHANISMS)
        seam = getattr(MECHANISMS[attention["name"]], "seam", None)
        one_of(f"attention={attention['name']}: the seam of its class", seam, OF_BLOCKS)
    if values.strict and values.compile:
        raise UserError("strict=true: compiled kernels are chosen by timing; leave compile out")
    groups = {"backbone": backbone, "attention": attention}
    groups |= {"data": asdict(data), "recipe": asdict(values.recipe)}
    config = Config(
        backbone=backbone,
        attention=attention,
        data=data,
        recipe=values.recipe,
        location=location,
        stages=stages,
        blocks=blocks,
        strict=values.strict,
        fingerprint=fingerprint,
        labels={g: label(g, chosen, backbone["name"]) for g, chosen in groups.items()},
    )
    key = replace(config, fingerprint="").key
    if key not in _known_to_build:  # main asks again for what sweep.check_all has asked
        _try_to_build(config)
        _known_to_build.add(key)
    return config


_known_to_build = set()


def _placement(values) -> tuple:
    """Returns (location, stages, blocks, attention), each in its one canonical form."""
    one_of("location", values.location, ("published", *LOCATIONS))
    declared = values.attention
    location, stages, blocks = values.location, values.stages, values.blocks
    if location == "published":
        if "location" not in declared and declared["name"] != "none":
            raise UserError(
                f"attention={declared['name']}: its YAML declares no place; write `location:` "
                f"there, or ask for location={', '.join(LOCATIONS)}"
            )
        location = declared.get("location", "none")
        one_of(f"attention={declared['name']}: its YAML's location", location, LOCATIONS)
        stages = declared.get("stages", "all") if stages == "all" else stages
    if "none" in (location, declared["name"]):
        return "none", "all", "all", {"name": "none"}
    stages, blocks = _numbers("stages", stages, STAGES), _numbers("blocks", blocks, ("all",))
    if location not in INSIDE and stages != "all":
        raise Impossible(
            f"stages={stages}: location={location} is in no stage; choose {' or '.join(INSIDE)}"
        )
    if blocks != "all" and location != "per_block":
        raise Impossible(f"blocks={blocks}: location={location}; choose per_block")
    if blocks != "all" and stages != "all":
        raise UserError(f"blocks={blocks}: with stages={stages}; choose stages or blocks")
    attention = {k: v for k, v in declared.items() if k not in PLACING}
    return location, stages, blocks, attention


def _numbers(key: str, value, words: tuple):
    """Returns a word, or a list of numbers in its canonical form."""
    whole = isinstance(value, list) and all(type(number) is int for number in value)
    if value not in words and not whole:
        example = f"[{value}]" if type(value) is int else "[1,2]"
        raise UserError(f"{key}={value}: choose {', '.join(words)}, or a list such as {example}")
    return sorted(set(value)) if whole else value


def _try_to_build(config: Config):
    """Builds the network without memory, so that an impossible network is refused now."""
    from attn.network.build import outline
    from attn.network.seams import CannotStand

    try:
        outline(config)
    except CannotStand as error:
        raise Impossible(str(error)) from None
    except ValueError as error:
        raise UserError(str(error)) from None


def chosen_seeds(cfg) -> list[int]:
    """Returns the seeds: `seeds=5` means seeds 0 to 4, `seeds=[0,3]` means seeds 0 and 3.

    Raises UserError where the value of `seeds` is anything else.
    """
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


def check_device(name: str):
    one_of("device", name, DEVICES)


def choose_device(cfg):
    """Returns the torch device that `device=auto|cuda|cpu` means on this machine.

    Raises UserError where the word is unknown, or where torch sees no GPU for device=cuda.
    """
    import torch

    check_device(cfg.device)
    if cfg.device == "cuda" and not _has_gpu():
        raise UserError("device=cuda: torch sees no GPU on this machine; choose device=cpu or auto")
    gpu = cfg.device != "cpu" and _has_gpu()
    return torch.device("cuda" if gpu else "cpu")


@functools.cache  # torch looks for drivers anew each time
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
