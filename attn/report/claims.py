"""The published tables and their claims in configs/claims.yaml, which are checked on load."""

import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import numpy as np
import yaml

from attn.config import catalogue
from attn.config.labels import DEFAULTS, label
from attn.config.schema import Recipe
from attn.config.values import TAKES
from attn.config.words import elements, varied
from attn.errors import UserError, one_of
from attn.names import LOCATIONS
from attn.stats import DIRECTIONS, MOST_SEEDS, SMOKE

CLAIMS = catalogue.CONFIGS / "claims.yaml"
PRECISE = 0.5  # points of accuracy
COST = ("parameters", "added_parameters", "multiply_adds")
SCORES = (
    *("noise_auc", "score_gap", "lowest_colour", "highest_noise", "input_contrast"),
    "frozen_change",
)
METRICS = {  # what a difference is counted in
    "test_accuracy": "points",
    "noise_auc": "",
    "score_gap": "",
    "lowest_colour": "logits",
    "highest_noise": "logits",
    "input_contrast": "log ratio",
    "frozen_change": "points",
    "parameters": "%",
    "added_parameters": "%",
    "multiply_adds": "%",
}


class ClaimError(UserError):
    """A mistake in claims.yaml."""


@dataclass
class Row:
    """A row of a table, which chooses its runs by the columns of runs.csv."""

    model: str
    data: str
    location: str
    attention: str = "none"
    stages: str = "all"
    published: float | None = None

    @property
    def columns(self) -> dict:
        return {key: getattr(self, key) for key in ("data", "attention", "location", "stages")}

    def of(self, runs):
        """Returns the runs of a frame that belong to this row."""
        return runs[np.logical_and.reduce([runs[k] == v for k, v in self.columns.items()])]


@dataclass
class Table:
    """A published table, or a table of ours: an experiment's rows, on one recipe and backbone."""

    id: str
    title: str
    source: str
    recipe: str
    backbone: str
    baseline: str
    rows: list[Row]
    scores: dict = field(default_factory=dict)  # row, values: published scores of input channels

    @property
    def recipe_key(self) -> str:
        """Returns the key of the recipe as its YAML is now.

        Runs of an older YAML are another experiment.
        """
        values = catalogue.recipe(self.recipe, self.backbone)
        return catalogue.recipe_key(Recipe(**values), self.backbone)

    def row(self, model: str) -> Row:
        return next(row for row in self.rows if row.model == model)

    def command(self, recipe: str | None = None, backbone: str | None = None) -> str:
        """Returns the command that trains the table.

        The table is trained as published, or with another recipe and backbone.
        """
        words = [f"experiment={self.id}"]
        alone = catalogue.defaults() | catalogue.varied(self.id)  # what the experiment trains
        for group, asked in {"recipe": recipe, "backbone": backbone}.items():
            own = getattr(self, group)
            if asked or own != alone[group]:
                words += command_words(group, asked or own)
        return " ".join(["python train.py", *words])


@dataclass
class Claim:
    """A comparison and its number. The head of configs/claims.yaml describes the fields."""

    id: str
    statement: str
    table: Table
    metric: str
    treatment: Row
    direction: str
    minimum: int
    fixed: str
    control: Row | None = None
    against: float | None = None
    interaction: list[Row] = field(default_factory=list)  # treatment and control to subtract
    published: float | None = None
    smallest: float | None = None
    margin: float | None = None
    source: str = ""
    primary: bool = False

    @property
    def rows(self) -> list[Row]:
        """Returns the rows whose runs the claim takes."""
        return [row for row in (self.treatment, self.control, *self.interaction) if row]

    @property
    def family(self) -> str:
        """Returns the name of the family of claims over which the claim's p-values are adjusted.

        All primary claims are one family. The other claims of a table are another family.
        """
        return "primary" if self.primary else self.table.id

    @property
    def target(self) -> float:
        """Returns the published number as a difference."""
        return self.published - (self.against or 0)

    @property
    def precise(self) -> float:
        """Returns half the width that an interval may have at most where it contradicts a claim."""
        return PRECISE if self.metric == "test_accuracy" else self.smallest or self.margin


def load(path: Path = CLAIMS) -> tuple[list[Table], list[Claim]]:
    """Returns the tables and claims of a file.

    Raises ClaimError for the first mistake in the file.
    """
    try:
        values = catalogue.parsed(path.read_text())
    except yaml.YAMLError as error:
        raise ClaimError(f"{path.name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or values.keys() != {"tables", "claims"}:
        raise ClaimError(f"{path.name}: it takes two lists, tables and claims")
    tables = {table.id: table for table in _each(path, "tables", values, _table)}
    claims = _each(path, "claims", values, lambda entry: _claim(entry, tables))
    return list(tables.values()), claims


def command_words(group: str, label: str) -> list[str]:
    """Returns a label in the words that the command line takes.

    The label cbam+kernel=3 becomes attention=cbam attention.kernel=3.
    """
    name, _, changes = label.partition("+")
    # What follows the first + may hold one itself, as in pools=avg+max.
    prefix = "data.noise" if group == "data" else group
    pairs = re.findall(r"(\w+)=([^=]*)(?:,(?=\w+=)|$)", changes)
    pairs = [(key, "null" if value == "None" else value) for key, value in pairs]
    return [f"{group}={name}", *(f"{prefix}.{key}={value}" for key, value in pairs)]


def values_of(group: str, text: str) -> dict:
    """Returns {key: value} of a group's label, as its YAML and the changes in the label say.

    Raises UserError where a name or a key is unknown, or where a value is of another type than the
    YAML's.
    """
    chosen, *changes = command_words(group, text)
    one_of(group, chosen.partition("=")[2], catalogue.choices(group), ClaimError)
    file = catalogue.read(group, chosen.partition("=")[2])
    values = catalogue.flat(DEFAULTS[group]) | catalogue.flat(file)
    for word in changes:
        key, _, value = word.partition("=")
        try:
            key, value = key.partition(".")[2], yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"{word}: it cannot be read; a list is written [1,2]") from None
        if key not in values:
            raise UserError(f"{word}: there is no such key; choose of {', '.join(values)}")
        if values[key] is not None and type(value) is not type(values[key]):
            raise UserError(f"{word}: it takes {TAKES[type(values[key])]}")
        values[key] = value
    return values


def _each(path: Path, kind: str, values: dict, make) -> list:
    """Makes the entries of a list in turn and returns them.

    The message of a ClaimError gets the entry's name in front.
    """
    made = []
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
    for key in ("data", "attention", "location"):
        name = getattr(row, key).partition("+")[0]
        known = trained.get(key, ["published"])
        if name not in known and "none" not in (name, row.location) and known != ["published"]:
            raise ClaimError(
                f"row {row.model}: configs/experiment/{experiment}.yaml trains no {key}={name}, "
                f"only {', '.join(known)}"
            )


def _row(entry: dict) -> Row:
    row = _fill(Row, entry)
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
    made = {"table": table}
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
    if needed and (value is None or value <= 0):
        raise ClaimError(f"{key}={value}: this claim takes a number above 0")


def _number(name: str, value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(f"{name}={value}: it takes a number")
