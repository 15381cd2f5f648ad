"""Tables and claims, as configs/claims.yaml has them, and the commands that train their rows."""

import re
from dataclasses import dataclass, field

import numpy as np
import yaml

from attn.config import catalogue
from attn.config.labels import DEFAULTS
from attn.config.schema import Recipe
from attn.config.values import TAKES
from attn.errors import UserError, one_of
from attn.names import restriction

PRECISE = 0.5  # points of accuracy
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
COST = tuple(metric for metric, unit in METRICS.items() if unit == "%")
SCORES = tuple(metric for metric in METRICS if metric not in ("test_accuracy", *COST))


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

    def elsewhere(self, group, backbone: str) -> str:
        """Returns how a group's runs on a backbone differ from the table's own experiment.

        The text is empty where they do not. Runs on image files count, and the title of their group
        names their source.
        """
        size = group.other_size and f"another dataset of {group.other_size}"
        if group.recipe != self.recipe:
            first = group.recipe
        elif group.key[1] != self.recipe_key:
            first = f"another {group.recipe}"
        elif backbone != self.backbone:
            first = backbone
        elif group.source == "synthetic":
            return group.source
        else:
            return size
        return f"{first}, {size}" if size else first

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

    def command_on(self, group, backbone: str) -> str:
        """Returns the command that trains the table as the group's runs on a backbone were."""
        if not self.elsewhere(group, backbone):
            return self.command()
        command = self.command(group.recipe, backbone)
        return f"{command} data.source=synthetic" if group.source == "synthetic" else command


@dataclass
class Claim:
    """A row held against another row or a number.

    The head of configs/claims.yaml describes the fields.
    """

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
        """Returns the widest half of an interval that may contradict the claim."""
        return PRECISE if self.metric == "test_accuracy" else self.bound

    @property
    def bound(self) -> float:
        """Returns the margin of a claim of no worse or of a cost, else the smallest effect."""
        return self.margin if self.direction in ("no_worse", "at_most") else self.smallest


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


def command_of(run, seeds) -> str:
    """Returns the command that trains a run's configuration with these seeds.

    `run` is a row of runs.csv.
    """
    listed = ",".join(str(seed) for seed in sorted(set(seeds)))
    return " ".join(["python train.py", *words_of(run), f"seeds=[{listed}]"])


def words_of(run) -> list[str]:
    """Returns the words that train.py takes for the configuration of a row of runs.csv."""
    words = []
    for group in ("backbone", "attention", "data", "recipe"):
        words += command_words(group, run[group])
        if group == "data" and run["location"] != "none":
            words.append(f"location={run['location']}")
    if place := restriction(run["stages"]).split():
        key, value = place
        listed = value if value == "between" else f"[{value.replace('+', ',')}]"
        words.append(f"{key}={listed}")
    if run.get("strict") == True:  # noqa: E712 (numpy's, or NaN where runs are older)
        words.append("strict=true")
    if run.get("source") == "synthetic":
        words.append("data.source=synthetic")
    if isinstance(run.get("settings"), str):
        words += run["settings"].split(", ")
    return words


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
            key, value = key.partition(".")[2], catalogue.parsed(value)
        except yaml.YAMLError:
            raise UserError(f"{word}: it cannot be read; a list is written [1,2]") from None
        if key not in values:
            raise UserError(f"{word}: there is no such key; choose of {', '.join(values)}")
        if type(values[key]) is float:
            value = _as_float(value)
        if values[key] is not None and type(value) is not type(values[key]):
            raise UserError(f"{word}: it takes {TAKES[type(values[key])]}")
        values[key] = value
    return values


def _as_float(value):
    """Returns a whole number, or a text such as 1e-05, which YAML takes for one, as a float."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def noise_of(data: str) -> dict:
    """Returns the number and the kind of the noise channels that a label of data names."""
    values = values_of("data", data)
    size = values["noise.size"]
    kind = values["noise.kind"] if size is None else f"{values['noise.kind']}, size {size}"
    return {"count": values["noise.channels"], "kind": kind}


def published_scores(group, run, tables: list[Table]) -> list[float]:
    """Returns the published scores for runs of their own experiment; empty for other runs."""
    for table in tables:
        if table.scores and not table.elsewhere(group, run["backbone"]):
            row = table.row(table.scores["row"])
            if all(run[key] == value for key, value in row.columns.items()):
                return table.scores["values"]
    return []
