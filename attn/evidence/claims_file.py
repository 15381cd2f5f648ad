"""Loads configs/claims.yaml and checks every entry."""

import math
import re
from dataclasses import MISSING, fields
from pathlib import Path

import yaml

from attn.config import catalogue
from attn.config.labels import label
from attn.config.words import elements, varied
from attn.errors import UserError, one_of
from attn.evidence.claims import (
    COST,
    METRICS,
    SCORES,
    Claim,
    ClaimError,
    Row,
    Table,
    command_words,
    values_of,
)
from attn.names import INSIDE, LOCATIONS, restriction
from attn.stats import DIRECTIONS, MOST_SEEDS, SMOKE

CLAIMS = catalogue.CONFIGS / "claims.yaml"
TEXTS = ("title", "statement", "fixed")  # which nothing but a reader reads


def load(path: Path = CLAIMS) -> tuple[list[Table], list[Claim]]:
    """Returns the tables and claims of a file.

    Raises ClaimError for the first mistake in the file.
    """
    try:
        values = catalogue.parsed(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ClaimError(f"{path.name}: not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise ClaimError(f"{path.name}: save it as UTF-8; byte {error.start} is not") from None
    if not isinstance(values, dict) or values.keys() != {"tables", "claims"}:
        raise ClaimError(f"{path.name}: it takes two lists, tables and claims")
    tables = {table.id: table for table in _each(path, "tables", values, _table)}
    claims = _each(path, "claims", values, lambda entry: _claim(entry, tables))
    return list(tables.values()), claims


def _each(path: Path, kind: str, values: dict, make) -> list:
    """Makes the entries of a list in turn and returns them.

    The message of a ClaimError gets the entry's name in front.
    """
    made = []
    if not isinstance(values[kind], list | None):
        raise ClaimError(f"{path.name}, {kind}: it takes a list")
    for number, entry in enumerate(values[kind] or [], 1):
        name = f"number {number}"
        try:
            if not isinstance(entry, dict):
                raise ClaimError("it is not a set of keys")
            name = entry.get("id", name)
            if not isinstance(name, str):
                raise ClaimError("its id is a word")
            if name in [other.id for other in made]:
                raise ClaimError("there are two of this id")
            made.append(make(entry))
        except ClaimError as error:
            raise ClaimError(f"{path.name}, {kind}, {name}: {error}") from None
    return made


def _fill(kind, entry: dict, **made):
    """Returns kind(**entry), in which the values of `made` replace those of the entry.

    Raises ClaimError where a key is unknown, or where a key that has no default is missing.
    """
    known = {field.name: field for field in fields(kind)}
    for key in entry:
        if key not in known:
            raise ClaimError(f"{key}: choose keys of {', '.join(known)}")
    for name, one in known.items():
        if name in TEXTS and name in entry and not (entry[name] and isinstance(entry[name], str)):
            raise ClaimError(f"{name}={entry[name]}: it takes a text")
        if name not in entry and one.default is MISSING and one.default_factory is MISSING:
            raise ClaimError(f"{name} is missing")
    return kind(**entry | made)


def _table(entry: dict) -> Table:
    rows = entry.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ClaimError("rows is a list of {model: ..., data: ..., location: ...}")
    table = _fill(Table, entry, rows=[_row(row) for row in rows])
    one_of("id", table.id, catalogue.choices("experiment"), ClaimError)
    one_of("recipe", table.recipe, catalogue.choices("recipe"), ClaimError)
    one_of("backbone", table.backbone, catalogue.choices("backbone"), ClaimError)
    models = [row.model for row in table.rows]
    if len(set(models)) < len(models):
        raise ClaimError("two rows have the same model")
    one_of("baseline", table.baseline, models, ClaimError)
    trained = _trained(table.id)
    for row in table.rows:
        _check_trained(row, trained, table.id)
    if not isinstance(table.scores or {}, dict):
        raise ClaimError(f"scores={table.scores}: it takes a row and values")
    if table.scores:
        one_of("scores.row", table.scores.get("row"), models, ClaimError)
        values = table.scores.get("values") or [None]
        for value in values:
            _number("scores.values", value)
        channels = 3 + values_of("data", table.row(table.scores["row"]).data)["noise.channels"]
        if len(values) != channels:
            raise ClaimError(f"scores.values: {len(values)} of them, for {channels} channels")
    return table


def _trained(experiment: str) -> dict[str, list[str]]:
    """Returns the choices that an experiment trains, by group and for the location."""
    given = {override.key_or_group: elements(override) for override in varied(experiment)}
    return {group: [choice] for group, choice in catalogue.defaults().items()} | given


def _check_trained(row: Row, trained: dict[str, list[str]], experiment: str):
    """Raises ClaimError where an experiment does not train a row."""
    plain = row.location == "none" and "none" in trained["attention"] + trained.get("location", [])
    for key in ("data", "attention", "location"):
        name = getattr(row, key).partition("+")[0]
        known = trained.get(key, ["published"])
        left = known == ["published"] or (plain and key != "data")  # one of the two says none
        if name not in known and not left:
            raise ClaimError(
                f"row {row.model}: configs/experiment/{experiment}.yaml trains no {key}={name}, "
                f"only {', '.join(known)}"
            )
    for key, value, known in [*_settings(row, trained), *_stages(row, trained)]:
        if value not in known:
            raise ClaimError(
                f"row {row.model}: configs/experiment/{experiment}.yaml trains no {key}={value}, "
                f"only {', '.join(map(str, known)) or 'what the YAML has'}"
            )


def _settings(row: Row, trained: dict[str, list[str]]):
    """Yields (key, the row's value, the values that are trained) for keys that a row changes."""
    for group, start in (("data", "data.noise."), ("attention", "attention.")):
        chosen = values_of(group, getattr(row, group))
        words = command_words(group, getattr(row, group))[1:]
        changed = {word.partition("=")[0] for word in words}
        swept = {key for key in trained if key.startswith(start)}
        for key in sorted(changed | swept):
            name = key.partition(".")[2]
            if name in chosen and (row.location != "none" or group == "data"):
                yield key, chosen[name], [catalogue.parsed(text) for text in trained.get(key, [])]


def _stages(row: Row, trained: dict[str, list[str]]):
    """Yields (key, the row's value, the values that are trained) for the stages or the blocks."""
    key, value = restriction(row.stages).split() or ("stages", "all")
    if key in trained or key == "blocks":  # some YAML declare stages
        swept = [text.strip("[]").replace(",", "+") for text in trained.get(key, [])]
        if row.location in INSIDE or value != "all":
            yield key, value, swept


def _row(entry: dict) -> Row:
    row = _fill(Row, entry)
    if not isinstance(row.model, str):
        raise ClaimError(f"row {row.model}: its model is a word; write it between quotes")
    if row.published is not None:
        _number("published", row.published)
    row.stages = str(row.stages)
    if not re.fullmatch(r"all|between|(blocks )?[1-9]\d*(\+[1-9]\d*)*", row.stages):
        raise ClaimError(
            f"row {row.model}: stages={row.stages}: write all, between, 1 or 1+2, or blocks 1+2"
        )
    one_of("location", row.location, LOCATIONS, ClaimError)
    for group in ("data", "attention"):
        text = getattr(row, group)
        if not isinstance(text, str):
            raise ClaimError(f"row {row.model}: {group}={text}: it takes a name")
        try:
            called = label(group, values_of(group, text))
        except UserError as error:
            raise ClaimError(f"row {row.model}: {error}") from None
        if called != text:
            raise ClaimError(f"row {row.model}: {group}={text}: runs with this are called {called}")
    if (row.attention == "none") != (row.location == "none"):
        raise ClaimError(f"row {row.model}: attention and location are none together or not at all")
    return row


def _claim(entry: dict, tables: dict) -> Claim:
    one_of("table", entry.get("table"), tables, ClaimError)
    table = tables[entry["table"]]
    rows = {row.model: row for row in table.rows}
    made = {"table": table, "interaction": []}
    for part in ("treatment", "control"):
        if part == "treatment" or entry.get(part) is not None:
            one_of(part, entry.get(part), rows, ClaimError)
            made[part] = rows[entry[part]]
    if entry.get("interaction") is not None:
        made["interaction"] = _interaction(entry["interaction"], rows)
    claim = _fill(Claim, entry, **made)
    claim.source = claim.source or table.source
    one_of("metric", claim.metric, METRICS, ClaimError)
    one_of("direction", claim.direction, DIRECTIONS, ClaimError)
    if type(claim.minimum) is not int or not 1 <= claim.minimum <= MOST_SEEDS:
        raise ClaimError(f"minimum={claim.minimum}: it takes a whole number from 1 to {MOST_SEEDS}")
    if claim.metric not in COST and claim.minimum < SMOKE:
        raise ClaimError(f"minimum={claim.minimum}: fewer than {SMOKE} seeds decide nothing")
    for key in ("published", "smallest", "margin", "against"):
        if getattr(claim, key) is not None:
            _number(key, getattr(claim, key))
    if (claim.control is None) == (claim.against is None):
        raise ClaimError("it takes a control, which is a row, or a number in against; not both")
    if claim.interaction and claim.control is None:
        raise ClaimError("interaction: it is subtracted from the difference to a control")
    if claim.interaction and claim.published is not None:
        raise ClaimError("published: of an interaction no number of one run each is predicted")
    if type(claim.primary) is not bool:
        raise ClaimError(f"primary={claim.primary}: it takes true or false")
    if claim.against is not None and claim.metric not in SCORES:
        raise ClaimError(f"against: {claim.metric} is compared with a control")
    if (claim.metric in COST) != (claim.direction == "at_most"):
        raise ClaimError(f"direction={claim.direction}: at_most is for {', '.join(COST)} alone")
    if claim.direction == "at_most":
        _number("margin", claim.margin)
        if claim.interaction:
            raise ClaimError("interaction: it is of what is measured, not of what is counted")
        if claim.published is not None:
            raise ClaimError("published: costs are counted, and held against the margin")
        return claim
    _needs(claim, "margin", claim.direction == "no_worse")
    _needs(claim, "smallest", claim.direction != "no_worse")
    return claim


def _interaction(entry, rows: dict) -> list[Row]:
    if not isinstance(entry, dict) or entry.keys() != {"treatment", "control"}:
        raise ClaimError("interaction: it takes a treatment and a control, which are rows")
    for part, model in entry.items():
        one_of(f"interaction.{part}", model, rows, ClaimError)
    return [rows[entry["treatment"]], rows[entry["control"]]]


def _needs(claim: Claim, key: str, needed: bool):
    value = getattr(claim, key)
    if needed and value is None:
        raise ClaimError(f"{key} is missing: this claim takes a number above 0")
    if needed and value <= 0:
        raise ClaimError(f"{key}={value}: this claim takes a number above 0")
    compared = claim.control is not None and claim.published is not None
    if key == "smallest" and needed and compared and value > abs(claim.target):
        raise ClaimError(f"smallest={value}: the published effect, {claim.target:g}, is smaller")


def _number(name: str, value):
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ClaimError(f"{name}={value}: it takes a number")
