"""configs/ read as a catalogue: which words the command line knows, and what they mean."""

import difflib
import re
import typing
from dataclasses import asdict
from pathlib import Path

import yaml

from attn.errors import UserError
from attn.schema import Data, Noise, Recipe, short_hash

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GROUPS = {
    "backbone": "the classifier",
    "attention": "the mechanism that re-weights features, or none",
    "data": "what the input channels hold",
    "recipe": "how a run trains",
    "experiment": "the sweep behind a table; the words beside it narrow it",
}
TYPED = {"recipe": Recipe, "data": Data, "data.noise": Noise}
TAKES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
WORD = re.compile(r"^[+]{0,2}([A-Za-z_][\w./@]*)=(.*)$", re.DOTALL)
SWEEP = re.compile(r",(?![^\[{(]*[\]})])")  # a comma outside of brackets
# What Hydra reads as it stands: no bracket, = or ~, but in quotes; or a sweep's glob().
PLAIN = re.compile(r"""([\w\-./\\:%@?|+*$, ]|\$\{[^{}]*\})*$|'[^']*'$|"[^"]*"$|glob\(.*\)$""")
SEEDS = "the seeds of a configuration train together: seeds=5 means seeds 0 to 4, seeds=[0,3] those"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def read(group: str, choice: str) -> dict:
    """The file's values. Raises UserError where it is no YAML, or not of its file's name."""
    path = CONFIGS / group / f"{choice}.yaml"
    where = path.relative_to(CONFIGS.parent)
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    if group != "experiment" and values.get("name") != choice:
        raise UserError(f"{where}: its name is {values.get('name')}; write name: {choice}")
    return values


BY_BACKBONE = re.compile(r"\$\{by_backbone:(\{.*\})\}")


def pick(values: dict, backbone: str):
    """Returns what a recipe's `${by_backbone:{...}}` means for a backbone; `others` is the rest."""
    return values.get(backbone, values["others"])


def recipe(choice: str, backbone: str) -> dict:
    """Returns a recipe's values for a backbone."""
    values = read("recipe", choice)
    tables = {key: BY_BACKBONE.fullmatch(str(value)) for key, value in values.items()}
    picked = {k: pick(yaml.safe_load(t[1]), backbone) for k, t in tables.items() if t}
    return values | picked


def recipe_key(values: Recipe, backbone: str) -> str:
    """Returns a short hash of a recipe's numbers, whose YAML may have changed between two runs.

    What a recipe says for each backbone is hashed as it says so: its runs keep together.
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
    """{"noise": {"channels": 3}} -> {"noise.channels": 3}."""
    found = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def check_words(words: list[str], groups: dict, top: dict):
    """Raises UserError, with the choices, for the first misspelt group, choice, key or value.

    words: the command line's. groups: those that the program has. top: its keys outside of them
    and their types.
    """
    pairs = _pairs(words)
    for group, value in pairs:
        if group == "experiment" and SWEEP.search(value):
            raise UserError(f"experiment={value}: one at a time; each is a sweep of its own")
        for one in SWEEP.split(value) if group in groups else ():
            if "(" not in one and one not in choices(group):
                raise UserError(f"{group}={one}: choose one of {', '.join(choices(group))}")
    types = _known_types(_chosen(pairs), top) if groups else top
    for key, value in pairs:
        if key == "seed" and groups:
            raise UserError(f"seed={value}: {SEEDS}")
        if key in groups or key.startswith("hydra"):
            continue
        if key not in types:
            raise UserError(_unknown(key, types, groups))
        for one in SWEEP.split(value):
            _check_type(key, one, types[key])


def _pairs(words: list[str]) -> list[tuple]:
    """(key, value) of every word; an option (-c) and the word that may follow it are Hydra's."""
    pairs, before = [], ""
    for word in words:
        match = WORD.match(word)
        if match:
            pairs.append(match.groups())
        elif word.startswith("~"):
            raise UserError(f"{word}: nothing can be taken away; attention=none is the baseline")
        elif not word.startswith("-") and not before.startswith("-"):
            raise UserError(f"{word}: write key=value, as in recipe=quick; a list without spaces")
        before = word
    return pairs


def _chosen(pairs: list[tuple]) -> dict:
    """{group: its choices}: train.yaml's, else the experiment's, else the command line's."""
    defaults = yaml.safe_load((CONFIGS / "train.yaml").read_text())["defaults"]
    chosen = {k: [v] for d in defaults if isinstance(d, dict) for k, v in d.items() if v}
    for group, experiment in pairs:
        if group == "experiment" and experiment in choices(group):
            chosen |= {k: v.split(",") for k, v in sweep(experiment).items() if k in GROUPS}
    return chosen | {key: SWEEP.split(value) for key, value in pairs if key in GROUPS}


def sweep(experiment: str) -> dict:
    """{key: "value,value"}: what an experiment varies. Raises UserError where it does not say."""
    hydra = read("experiment", experiment).get("hydra") or {}
    params = (hydra.get("sweeper") or {}).get("params") or {}
    if hydra.get("mode") != "MULTIRUN" or not params:
        raise UserError(
            f"configs/experiment/{experiment}.yaml: it takes `mode: MULTIRUN` under `hydra:`, and "
            "what it varies under `sweeper:` and `params:`; configs/experiment/noise.yaml shows how"
        )
    return {key: str(value) for key, value in params.items()}


def _known_types(chosen: dict, top: dict) -> dict:
    """Every key that the chosen groups have, and its type; None where any value goes."""
    types = dict(top)
    for prefix, schema in TYPED.items():
        hints = typing.get_type_hints(schema).items()
        types |= {f"{prefix}.{key}": hint for key, hint in hints if hint not in TYPED.values()}
    for group in ("backbone", "attention"):
        for choice in chosen[group]:
            known = choices(group) if "(" in choice else [choice]
            types |= {f"{group}.{key}": None for name in known for key in read(group, name)}
    return types


def _unknown(key: str, types: dict, groups: dict) -> str:
    group = key.partition(".")[0]
    beside = sorted(k for k in types if k.partition(".")[0] == group and "." in k)
    known = beside or [*groups, *(k for k in types if "." not in k)]
    every = [k for k in (*groups, *types) if not k.endswith(".name")]
    ending = [k for k in every if k.rpartition(".")[2] == key.rpartition(".")[2]]
    near = ending or difflib.get_close_matches(key, every, n=1, cutoff=0.75)
    hint = f" Did you mean {near[0]}?" if near else ""
    if group in groups and (owners := _owners(group, key.partition(".")[2])):
        hint = f" It is one of {', '.join(owners)}."
    if not groups and group in GROUPS:
        hint = " It is a word of train.py."
    known = [k for k in known if not k.endswith(".name")]
    return f"{key}: there is no such key here.{hint} There are {', '.join(known) or 'none'}"


def _owners(group: str, key: str) -> list[str]:
    """The choices of a backbone or a mechanism that have a key."""
    if group not in ("backbone", "attention"):
        return []
    return [name for name in choices(group) if key in read(group, name)]


def _check_type(key: str, text: str, hint):
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind in TAKES]
    optional = type(None) in typing.get_args(hint)
    if kinds == [str]:
        _check_text(key, text, optional)
        return
    if "(" in text:
        return
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"{key}={text}: it cannot be read; a list is written [1,2]") from None
    if not kinds or (value is None and optional and text) or type(value) in (*kinds, int):
        return
    if kinds != [float] or not _is_number(text):
        nothing = ", or null" if optional else ""
        raise UserError(f"{key}={text}: it takes {TAKES[kinds[0]]}{nothing}")


def _check_text(key: str, text: str, optional: bool):
    if not text or (text == "null" and not optional):
        raise UserError(f"{key}={text}: it takes a word{', or null' if optional else ''}")
    if not PLAIN.match(text):
        raise UserError(f"{key}={text}: such signs need quotes inside quotes: \"{key}='{text}'\"")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def explain(program: str) -> str:
    """The help of train.py: every group, choice and key, from the comments in configs/."""
    lines = [(CONFIGS.parent / f"{program}.py").read_text().split('"""')[1].strip(), ""]
    for key, text in _comments(CONFIGS / f"{program}.yaml"):
        lines.append(f"  {key:<24}{text}")
    if program == "eval":
        return "\n".join(lines)
    for group, meaning in GROUPS.items():
        lines += ["", f"{group}=   {meaning}"]
        described = set()  # of data and recipe, whose choices share their keys
        # The post's recipe explains every key, so it comes first.
        for choice in sorted(choices(group), key=lambda name: name != "post"):
            path = CONFIGS / group / f"{choice}.yaml"
            what, _, example = _first_comment(path).partition("   ")
            lines += [f"  {choice:<24}{what}", f"  {'':<24}  {example}"]
            new = [(k, t) for k, t in _comments(path) if k.partition("=")[0] not in described]
            if group in TYPED:
                described |= {key.partition("=")[0] for key, _ in new}
            lines += [f"      {f'{group}.{key}':<31} {text}" for key, text in new]
    return "\n".join(lines)


def _first_comment(path: Path) -> str:
    lines = path.read_text().splitlines()
    return next((line for line in lines if not line.startswith("# @")), "")[2:]


def _comments(path: Path):
    """(key=value, comment) of every line `key: value # comment` outside of the hydra section."""
    nested = ""
    for line in path.read_text().partition("\nhydra:")[0].splitlines():
        match = re.match(r"( *)(\w+):(?: ([^#]*?))?(?: +# (.*))?$", line)
        if match:
            indent, key, value, comment = match.groups()
            if not indent:
                nested = f"{key}." if not value else ""
            if value and comment:
                yield f"{nested if indent else ''}{key}={value}", comment
