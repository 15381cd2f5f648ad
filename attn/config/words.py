"""The words of a command line: Hydra's own parser reads the words; a refused word gets a hint."""

import difflib
import shutil
import sys
import typing
from collections import Counter
from contextlib import contextmanager
from typing import Any, get_type_hints

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from attn.config import catalogue
from attn.config.catalogue import CONFIGS, GROUPS, choices, read
from attn.config.schema import PLACING, Data, Noise, Recipe, Train
from attn.config.values import TAKES
from attn.errors import UserError

TYPED = {"recipe": Recipe, "data": Data, "data.noise": Noise}
# Keys of a group's file that are chosen by other words: backbone=, location=, stages=.
CHOSEN_ELSEWHERE = ("name", *PLACING)
LAUNCHERS = {"slurm": "submitit_slurm"}  # those of configs/, and the plugin's that each refines
SEEDS = "the seeds of a configuration train together: seeds=5 means seeds 0 to 4, seeds=[0,3] those"


@contextmanager
def catalogue_open():
    """Gives Hydra the folder configs/ for as long as the block lasts; main has given it already."""
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def parsed(words: list[str]) -> list[Override]:
    """Reads key=value words as Hydra does, functions such as choice() and glob() included.

    Raises UserError, with the word and a hint, where a word cannot be read.
    """
    with catalogue_open():
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        return [_parsed(parser, word) for word in words if not word.startswith("-")]


def _parsed(parser: OverridesParser, word: str) -> Override:
    if word.startswith("~"):
        raise UserError(f"{word}: nothing can be taken away; attention=none is the baseline")
    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{word}: write key=value, as in recipe=quick; a list without spaces")
    try:
        (override,) = parser.parse_overrides([word])
        found = elements(override)  # glob() is carried out here
    except (HydraException, ValueError) as error:  # ValueError: a range with steps of 0
        reasons = [line for line in str(error).splitlines() if line.startswith("HydraException")]
        hint = f": {reasons[0].partition(': ')[2]}" if reasons else ""
        quoted = f"such signs need quotes inside quotes: \"{key}='{value}'\""
        if value.startswith("[") and not value.endswith("]"):
            quoted = f"write the list without spaces, as in {key}=[1,2]"
        raise UserError(f"{word}: Hydra cannot read it{hint}; {quoted}") from None
    if not found:
        known = f" {', '.join(choices(key))}" if key in GROUPS else " nothing"
        raise UserError(f"{word}: it finds none; there is{known}")
    return override


def elements(override: Override) -> list[str]:
    """Returns the values that a word sweeps over, as words; without a sweep the word's only value.

    Raises UserError for an interval, which only an optimiser could use.
    """
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if override.is_interval_sweep():
        raise UserError(f"{override.input_line}: write values, as in a,b or range(a,b)")
    return list(override.sweep_string_iterator())


def check_words(words: list[str], schema=Train):
    """Raises UserError, with the choices, for the first misspelt group, choice, key or value."""
    groups = GROUPS if schema is Train else {}
    types = {key: hint for key, hint in get_type_hints(schema).items() if key not in groups}
    overrides = parsed(words)
    _say_what_counts(overrides)
    _check_hydra(overrides)
    _check_choices(overrides, groups)
    if groups:
        types |= _types_of(overrides)
    for override in overrides:
        key = override.key_or_group
        if key == "seed" and groups:
            raise UserError(f"{override.input_line}: {SEEDS}")
        if key in groups or key.startswith("hydra"):
            continue
        if key not in types:
            raise UserError(_unknown(key, types, groups))
        _check_type(override, types[key])


def _say_what_counts(overrides: list[Override]):
    """Prints which word counts where a key is given several times."""
    last = {override.key_or_group: override.input_line for override in overrides}
    counts = Counter(override.key_or_group for override in overrides)
    for key, count in counts.items():
        if count > 1:
            print(f"{key} is given {count} times; the last counts: {last[key]}", file=sys.stderr)


REFUSED = {
    "hydra.mode": "leave it out; -m or experiment= make a sweep",
    "hydra.job.chdir": "leave it out; runs= would name a folder of that folder",
    "hydra/hydra_logging": "leave it out; hydra.verbose=true prints more",
    "hydra/job_logging": "leave it out; hydra.verbose=true prints more",
}


def _check_hydra(overrides: list[Override]):
    """Raises UserError for settings of Hydra that would train something else, or cannot work."""
    every = [(override, value) for override in overrides for value in elements(override)]
    for override, value in every:
        group = override.key_or_group
        if reason := REFUSED.get(group):
            raise UserError(f"{override.input_line}: {reason}")
        if group.startswith("hydra.sweeper.params"):
            raise UserError(f"{override.input_line}: write what varies with -m, as in -m seeds=1,2")
        if group == "hydra.launcher.n_jobs" and value == "0":
            raise UserError(f"{override.input_line}: a number of jobs, or -1 for all processors")
        if group == "hydra/sweeper" and value != "basic":
            raise UserError(
                f"{override.input_line}: a sweeper that tunes would choose on the test set; write "
                "the values with -m, and choose by the baseline on seeds that no table uses"
            )
        if group == "hydra/launcher" and "slurm" in value and not shutil.which("srun"):
            raise UserError(f"{override.input_line}: no srun here; start it on the cluster")
        if group == "hydra/launcher":
            with catalogue_open():
                known = GlobalHydra.instance().config_loader().get_group_options(group)
            known = [name for name in known if LAUNCHERS.get(name, name) in known]
            if value not in known:
                raise UserError(
                    f"{override.input_line}: choose one of {', '.join(known)}; joblib, slurm and "
                    "others are plugins: pip install -r requirements-launchers.txt"
                )


def _check_choices(overrides: list[Override], groups: dict):
    """Raises UserError for an unknown choice, and for a choice whose file is wrong."""
    for override in overrides:
        group = override.key_or_group
        if group == "experiment" and override.is_sweep_override():
            raise UserError(f"{override.input_line}: one at a time; each is a sweep of its own")
        for choice in elements(override) if group in groups else ():
            if choice not in choices(group):
                raise UserError(f"{group}={choice}: choose one of {', '.join(choices(group))}")
            read(group, choice)


def _types_of(overrides: list[Override]) -> dict:
    """Returns the type of every key of the chosen groups; Any where a constructor says the type."""
    types = {}
    for prefix, schema in TYPED.items():
        hints = get_type_hints(schema).items()
        types |= {
            f"{prefix}.{key}": hint
            for key, hint in hints
            if hint not in TYPED.values() and key not in CHOSEN_ELSEWHERE
        }
    chosen = _chosen({override.key_or_group: elements(override) for override in overrides})
    for group in ("backbone", "attention"):
        for choice in chosen[group]:
            keys = [key for key in read(group, choice) if key not in CHOSEN_ELSEWHERE]
            types |= {f"{group}.{key}": Any for key in keys}
    return types


def _chosen(given: dict[str, list[str]]) -> dict[str, list[str]]:
    """Returns {group: its choices}, from the command line, else the experiment, else train.yaml."""
    chosen = {group: [choice] for group, choice in catalogue.defaults().items()}
    for experiment in given.get("experiment", ()):
        chosen |= {override.key_or_group: elements(override) for override in varied(experiment)}
    return chosen | given


def varied(experiment: str) -> list[Override]:
    """Returns the overrides of an experiment's `params`. Raises UserError, with the file's name."""
    try:
        overrides = parsed([f"{k}={v}" for k, v in catalogue.varied(experiment).items()])
        _check_choices(overrides, GROUPS)
        types = {key: hint for key, hint in get_type_hints(Train).items() if key not in GROUPS}
        for key in (override.key_or_group for override in overrides):
            if key.partition(".")[0] not in (*GROUPS, *types):
                raise UserError(_unknown(key, types, GROUPS))
    except UserError as error:
        where = f"configs/experiment/{experiment}.yaml: "
        raise UserError(where + str(error).removeprefix(where)) from None
    return overrides


def _unknown(key: str, types: dict, groups: dict) -> str:
    group = key.partition(".")[0]
    beside = sorted(k for k in types if k.partition(".")[0] == group and "." in k)
    known = beside or [*groups, *(k for k in types if "." not in k)]
    every = [*groups, *types]
    ending = [k for k in every if k.rpartition(".")[2] == key.rpartition(".")[2]]
    near = ending or difflib.get_close_matches(key, every, n=1, cutoff=0.75)
    hint = f" Did you mean {near[0]}?" if near else ""
    if group in groups and (owners := _owners(group, key.partition(".")[2])):
        hint = f" These have it: {', '.join(owners)}."
    if not groups and group in GROUPS:
        hint = " It is a word of train.py."
    return f"{key}: there is no such key here.{hint} There are {', '.join(known) or 'none'}"


def _owners(group: str, key: str) -> list[str]:
    """Returns the choices of a backbone or a mechanism that have a key."""
    if group not in ("backbone", "attention"):
        return []
    return [name for name in choices(group) if key in read(group, name)]


def _check_type(override: Override, hint):
    """Raises UserError where a value is of another type than its key."""
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind in TAKES]
    if not kinds:
        return
    optional = type(None) in typing.get_args(hint)
    for value in _values(override):
        right = type(value) in kinds or (value is None and optional)
        right |= kinds == [float] and type(value) is int
        right |= kinds == [str] and isinstance(value, int | float)
        if not right or value == "":
            nothing = ", or null" if optional else ""
            text = "null" if value is None else value
            raise UserError(f"{override.key_or_group}={text}: it takes {TAKES[kinds[0]]}{nothing}")


def _values(override: Override) -> list:
    if not override.is_sweep_override():
        return [override.value()]
    every = override.sweep_iterator()
    return [value.text if isinstance(value, QuotedString) else value for value in every]
