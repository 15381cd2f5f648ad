"""Checks of values, group by group. Each check raises UserError with the choices."""

import inspect
import math
from dataclasses import replace

from attn.config.catalogue import choices
from attn.config.schema import PLACING, Config, Data, Noise, Recipe
from attn.errors import UserError, one_of

TAKES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
PRECISIONS = ("fp32", "tf32", "bf16")
SCHEDULES = ("constant", "linear", "cosine")
SOURCES = ("cifar10", "synthetic")
NOISES = ("uniform", "gaussian", "smooth", "image", "copy")
SMOOTH = 8  # times smaller than the input is the size at which smooth noise is drawn
AUGMENTATIONS = ("none", "crop_flip")
MOST_NOISE = 256  # channels; each takes as much memory as a colour
MOST_EPOCHS = 10_000
FROM_ELSEWHERE = ("channels", "replaced", "num_classes")  # arguments that no YAML gives


def at_least(key: str, value, least):
    if not value >= least:  # nan is not
        raise UserError(f"{key}={value}: it must be at least {least}")


def from_to(key: str, value: int, least: int, most: int):
    if not least <= value <= most:
        raise UserError(f"{key}={value}: it must be from {least} to {most:,}")


def check_data(data: Data):
    one_of("data.name", data.name, choices("data"))
    one_of("data.source", data.source, SOURCES)
    noise = data.noise
    from_to("data.noise.channels", noise.channels, 0, MOST_NOISE)
    one_of("data.noise.kind", noise.kind, NOISES)
    if noise.size is not None:
        at_least("data.noise.size", noise.size, 1)
        if noise.kind in ("image", "copy"):
            raise UserError("data.noise.size: images have their own size; leave it null")


def check_noise(noise: Noise):
    """Raises UserError where a value describes noise channels that are not there.

    A sweep is not checked, as its other cells have the noise channels.
    """
    for key, value in {"kind": noise.kind, "size": noise.size}.items():
        if not noise.channels and value != getattr(Noise(), key):
            raise UserError(
                f"data.noise.{key}={value}: there are no noise channels; add data=rgb_noise, "
                "or data.noise.channels=3"
            )


def canonical(data: Data, recipe: Recipe) -> Data:
    """Returns data with the one name and the one description of the same input channels.

    Raises UserError where the noise is larger than the input.
    """
    if data.noise.size is not None and data.noise.size > recipe.size:
        raise UserError(f"data.noise.size={data.noise.size}: the input has size {recipe.size}")
    # Of channels that are not there nothing else matters.
    noise, name = (data.noise, "rgb_noise") if data.noise.channels else (Noise(), "rgb")
    if noise.kind == "smooth":
        noise = replace(noise, kind="uniform", size=noise.size or max(1, recipe.size // SMOOTH))
    return replace(data, noise=noise, name=name if data.name in ("rgb", "rgb_noise") else data.name)


def check_recipe(recipe: Recipe):
    one_of("recipe.name", recipe.name, choices("recipe"))
    one_of("recipe.schedule", recipe.schedule, SCHEDULES)
    one_of("recipe.augment", recipe.augment, AUGMENTATIONS)
    one_of("recipe.precision", recipe.precision, PRECISIONS)
    at_least("recipe.batch_size", recipe.batch_size, 1)
    from_to("recipe.epochs", recipe.epochs, 1, MOST_EPOCHS)
    from_to("recipe.size", recipe.size, 8, 1024)
    for key in ("images", "test_images"):
        if getattr(recipe, key) is not None:
            at_least(f"recipe.{key}", getattr(recipe, key), 10)
    if recipe.images is not None and recipe.images % 10:
        raise UserError(
            f"recipe.images={recipe.images}: it takes a multiple of 10, or null for all images"
        )
    for key, end in {"lr": math.inf, "momentum": 1, "weight_decay": math.inf}.items():
        if not 0 <= getattr(recipe, key) < end:  # nan is not
            raise UserError(f"recipe.{key}={getattr(recipe, key)}: it must be in [0, {end})")
    if not 0 <= recipe.warmup < 1:
        raise UserError(f"recipe.warmup={recipe.warmup}: a share of all steps, in [0, 1)")


def checked_arguments(group: str, values: dict, classes: dict) -> dict:
    """Compares a group's keys, and the types of their values, with the constructor's arguments.

    Returns the group, with 1 as 1.0 where an argument takes a float. Raises UserError where a key
    or the type of its value does not fit.
    """
    one_of(f"{group}.name", values["name"], classes)
    arguments = dict(inspect.signature(classes[values["name"]], eval_str=True).parameters)
    needed = [k for k, a in arguments.items() if a.default is a.empty and k not in FROM_ELSEWHERE]
    if missing := [key for key in needed if key not in values]:
        raise UserError(f"{group}={values['name']}: its YAML lacks {missing[0]}, which it takes")
    arguments = {k: a.annotation for k, a in arguments.items() if k not in FROM_ELSEWHERE}
    arguments |= {"pretrained": bool} if "pretrained" in values else {}
    checked = dict(values)
    for key, value in values.items():
        if key in ("name", *PLACING):
            continue
        if key not in arguments:
            known = ", ".join(sorted(arguments)) or "none at all"
            raise UserError(f"{group}.{key}: {values['name']} takes {known}")
        if arguments[key] not in TAKES:
            raise UserError(
                f"{group}.{key}: annotate it where {values['name']} takes it, as int, float, str "
                "or bool"
            )
        if arguments[key] is float and type(value) is int:
            checked[key] = value = float(value)
        if type(value) is not arguments[key]:
            raise UserError(f"{group}.{key}={value}: it takes {TAKES[arguments[key]]}")
    return checked


def check_last_batch(config: Config, images: int):
    """Raises UserError where the batch size does not fit the number of training images.

    A batch has at most as many images as there are. The last batch has more than a single image
    where the network cannot train on a single image: normalisation needs several values a channel.
    """
    if config.recipe.batch_size > images:
        raise UserError(
            f"recipe.batch_size={config.recipe.batch_size}: there are {images:,} training images"
        )
    last = images % config.recipe.batch_size or config.recipe.batch_size
    if last == 1 and not _trains_on_one(config):
        raise UserError(
            f"recipe.batch_size={config.recipe.batch_size}: of {images:,} images the last batch "
            "has one, and something in this network normalises over images; choose another size"
        )


def _trains_on_one(config: Config) -> bool:
    import torch

    from attn.network.build import build

    size = config.recipe.size
    try:
        build(config, seed=0)(torch.zeros(1, config.in_channels, size, size))
    except ValueError:  # torch's, of batch normalisation
        return False
    return True
