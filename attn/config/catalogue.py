"""configs/ read as a catalogue: its groups, each group's choices, and each choice's values."""

import copy
import functools
import re
from dataclasses import asdict
from pathlib import Path

import yaml

from attn.config.schema import Recipe, short_hash
from attn.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GLOBAL = "# @package _global_"  # what Hydra asks for at the head of an experiment
GROUPS = {
    "backbone": "the classifier",
    "attention": "the mechanism that re-weights features, or none",
    "data": "what the input channels hold",
    "recipe": "how a run trains",
    "experiment": "the sweep behind a table; the words beside it narrow it",
}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads 5e-4 as a number, as Hydra does.

    libyaml's parser takes a tenth of the time; not every build of PyYAML has it.
    """


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def parsed(text: str):
    """Returns the value of a YAML text; a text that comes again is not parsed again."""
    return copy.deepcopy(_parsed(text))


def text_of(path: Path) -> str:
    """Returns the text of a file in configs/. Raises UserError where the text is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        where = path.relative_to(CONFIGS.parent)
        raise UserError(f"{where}: save it as UTF-8; byte {error.start} is not") from None


@functools.lru_cache(256)
def _parsed(text: str):
    return yaml.load(text, Loader)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def read(group: str, choice: str) -> dict:
    """Returns the values in a choice's file.

    Raises UserError where there is no such file, where the file is no YAML, or where its `name` is
    not the file's name.
    """
    path = CONFIGS / group / f"{choice}.yaml"
    where = path.relative_to(CONFIGS.parent)
    try:
        values = parsed(text_of(path)) or {}
    except FileNotFoundError:
        about = "attn/modules" if group == "attention" else "configs"
        raise UserError(f"{where}: there is no such file; {about}/README.md shows one") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: it takes keys and values, as in name: {choice}")
    if group != "experiment" and values.get("name") != choice:
        raise UserError(f"{where}: its name is {values.get('name')}; write name: {choice}")
    return values


def defaults() -> dict[str, str]:
    """Returns train.yaml's choice of each group that has one."""
    listed = parsed((CONFIGS / "train.yaml").read_text())["defaults"]
    every = [pair for entry in listed if isinstance(entry, dict) for pair in entry.items()]
    return {group: choice for group, choice in every if group in GROUPS and choice}


BY_BACKBONE = re.compile(r"\$\{by_backbone:(\{.*\})\}")


def pick(values: dict, backbone: str):
    """Returns the value of a recipe's `${by_backbone:{...}}` for a backbone.

    `others` holds the value for every backbone that is not named. Raises UserError where neither is
    there.
    """
    if not values.keys() & {backbone, "others"}:
        raise UserError(f"recipe: by_backbone names neither {backbone} nor others")
    return values.get(backbone, values.get("others"))


def recipe(choice: str, backbone: str) -> dict:
    """Returns a recipe's values for a backbone."""
    values = read("recipe", choice)
    tables = {key: BY_BACKBONE.fullmatch(str(value)) for key, value in values.items()}
    picked = {k: pick(parsed(t[1]), backbone) for k, t in tables.items() if t}
    return values | picked


def recipe_key(values: Recipe, backbone: str) -> str:
    """Returns a short hash of a recipe's numbers, whose YAML may have changed between two runs.

    A value that the recipe gives for each backbone is hashed as the recipe's file writes the value,
    so the recipe's runs keep together.
    """
    hashed = asdict(values)
    name = hashed.pop("name")
    if name in choices("recipe"):
        written, here = read("recipe", name), recipe(name, backbone)
        for key in hashed.keys() & here.keys():
            if written[key] != here[key] == hashed[key]:
                hashed[key] = written[key]
    return short_hash(hashed)


def flat(values: dict, prefix: str = "") -> dict:
    """Returns nested values by dotted keys: {"noise": {"channels": 3}} as {"noise.channels": 3}."""
    found = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def varied(experiment: str) -> dict:
    """Returns {key: "value,value"}: the values that an experiment varies.

    Raises UserError where the experiment does not say what it varies.
    """
    values = read("experiment", experiment)
    if GLOBAL not in (CONFIGS / "experiment" / f"{experiment}.yaml").read_text():
        raise UserError(f"configs/experiment/{experiment}.yaml: its first line must be `{GLOBAL}`")
    hydra = values.get("hydra") or {}
    sweeper = hydra.get("sweeper") if isinstance(hydra, dict) else None
    params = (sweeper.get("params") if isinstance(sweeper, dict) else None) or {}
    for group in GROUPS.keys() & values.keys():
        raise UserError(
            f"configs/experiment/{experiment}.yaml: {group}={values[group]}: a choice goes under "
            "`hydra:`, `sweeper:` and `params:`, also where it is the only choice"
        )
    if not (isinstance(params, dict) and params and hydra.get("mode") == "MULTIRUN"):
        raise UserError(
            f"configs/experiment/{experiment}.yaml: it takes `mode: MULTIRUN` under `hydra:`, and "
            "what it varies under `sweeper:` and `params:`; configs/experiment/noise.yaml shows how"
        )
    return {key: str(value) for key, value in params.items()}
