"""The words of a command line, checked before Hydra reads them: keys, choices, values."""

import difflib
import re
import typing
from typing import get_type_hints

import yaml

from attn.config.catalogue import CONFIGS, GROUPS, choices, read, varied
from attn.config.schema import Data, Noise, Recipe, Train
from attn.config.values import TAKES
from attn.errors import UserError

TYPED = {"recipe": Recipe, "data": Data, "data.noise": Noise}
WORD = re.compile(r"^[+]{0,2}([A-Za-z_][\w./@]*)=(.*)$", re.DOTALL)
SWEEP = re.compile(r",(?![^\[{(]*[\]})])")  # a comma outside of brackets
# What Hydra reads as it stands: no bracket, = or ~, but in quotes; or a sweep's glob().
PLAIN = re.compile(r"""([\w\-./\\:%@?|+*$, ]|\$\{[^{}]*\})*$|'[^']*'$|"[^"]*"$|glob\(.*\)$""")
SEEDS = "the seeds of a configuration train together: seeds=5 means seeds 0 to 4, seeds=[0,3] those"


def check_words(words: list[str], schema=Train):
    """Ends the program, with one line, where the command line has a word that nothing knows."""
    groups = GROUPS if schema is Train else {}
    top = {key: hint for key, hint in get_type_hints(schema).items() if key not in groups}
    try:
        check_keys(words, groups, top)
    except UserError as error:
        raise SystemExit(str(error)) from None


def check_keys(words: list[str], groups: dict, top: dict):
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
            chosen |= {k: v.split(",") for k, v in varied(experiment).items() if k in GROUPS}
    return chosen | {key: SWEEP.split(value) for key, value in pairs if key in GROUPS}


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
