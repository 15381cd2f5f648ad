"""configs/claims.yaml: what it holds, that experiments train its rows, and mistakes in it."""

import copy
import math

import pytest
import yaml

from attn.config import catalogue, sweep
from attn.config.check import check
from attn.config.cli import register
from attn.config.sweep import configuration
from attn.evidence.claims import ClaimError, command_of, command_words, values_of
from attn.evidence.claims_file import CLAIMS, load

TABLES, EVERY = load()
PUBLISHED = {
    "attention-last-helps": 0.94,
    "noise-hurts": -0.80,
    "attention-recovers-noise": 0.61,
    "scores-far-apart": 0.904,
    "colours-stay-open": 2.3260,
    "noise-is-closed": -4.9598,
}


def test_the_published_numbers():
    assert {c.id: c.published for c in EVERY if c.published is not None} == PUBLISHED
    for claim in EVERY:
        if claim.id in PUBLISHED and claim.control:
            numbers = claim.treatment.published, claim.control.published
            assert numbers[0] - numbers[1] == pytest.approx(claim.published)


def test_the_published_logits_are_those_of_the_published_scores():
    (scores,) = [table.scores["values"] for table in TABLES if table.scores]
    logits = [math.log(score / (1 - score)) for score in scores]
    assert min(logits[:3]) == pytest.approx(PUBLISHED["colours-stay-open"], abs=6e-5)
    assert max(logits[3:]) == pytest.approx(PUBLISHED["noise-is-closed"], abs=6e-5)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.id)
def test_an_experiment_trains_exactly_the_rows_of_its_table(table):
    register()
    words = [f"experiment={table.id}"]
    every = [check(cfg) for cfg in sweep.all_composed(sweep.split(words))]
    assert {c.labels["recipe"] for c in every} == {table.recipe}
    assert {c.labels["backbone"] for c in every} == {table.backbone}
    trained = {(c.labels["data"], c.labels["attention"], c.location, c.stages_text) for c in every}
    assert trained == {tuple(row.columns.values()) for row in table.rows}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.id)
def test_an_experiment_trains_as_many_seeds_as_its_claims_take(table):
    seeds = catalogue.read("experiment", table.id)["seeds"]
    assert seeds >= max(claim.minimum for claim in EVERY if claim.table is table)


LABELS = [
    ("attention", "cbam+kernel=3", ["attention=cbam", "attention.kernel=3"]),
    (
        "attention",
        "cbam+order=parallel,pools=avg+max",
        ["attention=cbam", "attention.order=parallel", "attention.pools=avg+max"],
    ),
    (
        "data",
        "rgb_noise+channels=2,kind=gaussian",
        ["data=rgb_noise", "data.noise.channels=2", "data.noise.kind=gaussian"],
    ),
    ("recipe", "quick+epochs=1,lr=0.1", ["recipe=quick", "recipe.epochs=1", "recipe.lr=0.1"]),
]


@pytest.mark.parametrize(("group", "label", "words"), LABELS)
def test_a_label_is_words_on_the_command_line(group, label, words):
    assert command_words(group, label) == words


COMMANDS = [
    ["attention=cbam", "attention.kernel=3", "recipe=quick", "backbone=resnet20"],
    ["attention=se", "location=per_block", "stages=[1,3]", "backbone=resnet20"],
    ["attention=bam", "backbone=resnet20", "recipe=cifar", "recipe.epochs=3"],
    ["data=rgb_noise", "data.noise.channels=2", "location=first"],
    ["location=none", "backbone=resnet18", "backbone.stem=cifar", "strict=true"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_the_command_behind_a_number_trains_that_configuration(words):
    made = configuration(*words)
    run = {**made.labels, "location": made.location, "stages": made.stages_text}
    run["strict"] = made.strict
    command = command_of(run, [1, 0]).split()
    assert command[:2] == ["python", "train.py"] and command[-1] == "seeds=[0,1]"
    assert configuration(*command[2:]).key == made.key


INTERACTION = next(number for number, claim in enumerate(load()[1]) if claim.interaction)


def value(kind, number, key, new):
    def change(content):
        content[kind][number][key] = new

    return change


def row(key, new, table="accuracy", model="attention at last"):
    def change(content):
        (rows,) = [one["rows"] for one in content["tables"] if one["id"] == table]
        next(one for one in rows if one["model"] == model)[key] = new

    return change


def added(table, **values):
    def change(content):
        (rows,) = [one["rows"] for one in content["tables"] if one["id"] == table]
        rows.append(values)

    return change


def drop(kind, key):
    def change(content):
        del content[kind][0][key]

    return change


NO_WORSE = next(i for i, claim in enumerate(EVERY) if claim.direction == "no_worse")
MISTAKES = [
    (value("claims", 0, "treatment", "nothing"), "treatment=nothing: choose one of baseline, att"),
    (value("claims", 0, "metric", "top5"), "metric=top5: choose one of test_accuracy"),
    (value("claims", 0, "direction", "up"), "direction=up: choose one of more, less"),
    (value("claims", 0, "table", "none"), "table=none: choose one of accuracy, noise"),
    (value("claims", 0, "minimum", 0.5), "minimum=0.5: it takes a whole number"),
    (value("claims", 0, "minimum", 6), "minimum=6: fewer than 7 seeds decide nothing"),
    (value("claims", INTERACTION, "published", 0.3), "published: of an interaction"),
    (value("claims", 0, "smallest", None), "smallest is missing: this claim takes a number above"),
    (value("claims", 0, "smallest", 5), "smallest=5: the published effect, 0.94, is smaller"),
    (value("claims", 0, "smallest", float("nan")), "smallest=nan: it takes a number"),
    (value("claims", 0, "statement", 5), "statement=5: it takes a text"),
    (value("claims", 0, "fixed", None), "fixed=None: it takes a text"),
    (value("claims", NO_WORSE, "margin", -1), "margin=-1: this claim takes a number above 0"),
    (value("claims", 0, "primary", "yes"), "primary=yes: it takes true or false"),
    (value("claims", 0, "interaction", {"treatment": "baseline"}), "a treatment and a control"),
    (
        value("claims", 0, "interaction", {"treatment": "baseline", "control": "x"}),
        "interaction.control=x: choose one of baseline",
    ),
    (
        row("location", "first"),
        "row attention at last: configs/experiment/accuracy.yaml trains no location=first, only",
    ),
    (row("attention", "cbam_channel+reduction=2"), "trains no attention.reduction=2, only what"),
    (row("stages", "2+3", table="stages", model="stage 2"), "trains no stages=2+3, only 1, 2, 3"),
    (row("model", 16), "row 16: its model is a word; write it between quotes"),
    (added("kernel", model="plain", data="rgb", location="none"), "trains no attention=none"),
    (added("accuracy", model="noisy", data="rgb_noise", location="none"), "trains no data=rgb_no"),
    (
        added("noise", model="more", data="rgb_noise+channels=16", location="none"),
        "trains no data.noise.channels=16",
    ),
    (row("attention", "se+bias=False", table="cost", model="SE"), "trains no attention.bias=False"),
    (row("stages", "1+2+3", table="stages", model="all stages"), "trains no stages=1+2+3, only 1"),
    (row("stages", "blocks 2"), "trains no blocks=2, only what the YAML has"),
    (drop("claims", "fixed"), "attention-last-helps: fixed is missing"),
    (value("claims", 0, "published", "0,94"), "published=0,94: it takes a number"),
    (value("claims", 0, "against", 0.5), "it takes a control, which is a row, or a number"),
    (value("claims", 0, "treatment", None), "treatment=None: choose one of baseline"),
    (
        value("claims", 0, "direction", "at_most"),
        "at_most is for parameters, added_parameters, multiply_adds",
    ),
    (
        value("claims", 0, "metric", "parameters"),
        "at_most is for parameters, added_parameters, multiply_adds",
    ),
    (
        value("tables", 1, "scores", {"row": "RGB baseline"}),
        "scores.values=None: it takes a number",
    ),
    (value("claims", 0, "efect", 1), "efect: choose keys of id, statement"),
    (value("claims", 1, "id", "attention-last-helps"), "there are two of this id"),
    (drop("claims", "statement"), "attention-last-helps: statement is missing"),
    (value("tables", 0, "id", "tabel"), "id=tabel: choose one of accuracy"),
    (value("tables", 0, "recipe", "fast"), "recipe=fast: choose one of cifar, post, quick, short"),
    (value("tables", 0, "baseline", "x"), "baseline=x: choose one of baseline"),
    (value("tables", 0, "rows", 3), "rows is a list"),
    (row("attention", "cbma"), "row attention at last: attention=cbma: choose one of"),
    (row("attention", "cbam+kernal=3"), "attention.kernal=3: there is no such key"),
    (row("attention", "cbam+kernel=three"), "attention.kernel=three: it takes a whole number"),
    (row("attention", "cbam+kernel=7"), "attention=cbam+kernel=7: runs with this are called cbam"),
    (row("data", "rgb_noise+channels=3"), "runs with this are called rgb_noise"),
    (row("stages", "first"), "stages=first: write all, between, 1 or 1+2, or blocks 1+2"),
    (value("tables", 1, "scores", {"row": "RGB baseline", "values": [1]}), "1 of them, for 3"),
    (value("claims", 0, "id", [1, 2]), "[1, 2]: its id is a word"),
    (value("tables", 1, "scores", [1]), "scores=[1]: it takes a row and values"),
    (row("data", None), "row attention at last: data=None: it takes a name"),
    (lambda content: content.update(claims=5), "claims: it takes a list"),
    (row("location", "end"), "location=end: choose one of none, first, last"),
    (row("location", "none"), "attention and location are none together"),
    (row("model", "baseline"), "two rows have the same model"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=lambda v: v if type(v) is str else "")
def test_a_mistake_is_named_with_its_place_and_the_choices(tmp_path, change, message):
    content = copy.deepcopy(yaml.safe_load(CLAIMS.read_text()))
    change(content)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ClaimError) as error:
        load(path)
    assert message in str(error.value) and str(error.value).startswith("claims.yaml, ")


@pytest.mark.parametrize(("text", "message"), [("[1", "not YAML"), ("a: 1", "it takes two lists")])
def test_a_file_that_is_no_list_of_claims(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ClaimError, match=message):
        load(path)


def test_somebodys_own_claim(tmp_path):
    content = yaml.safe_load(CLAIMS.read_text())
    own = {"id": "mine", "statement": "SE beats CBAM.", "table": "cost", "metric": "test_accuracy"}
    own |= {"treatment": "SE", "control": "CBAM", "direction": "more", "smallest": 0.2}
    content["claims"].append(own | {"minimum": 8, "fixed": "today, before any run"})
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    claim = load(path)[1][-1]
    assert (claim.treatment.attention, claim.control.attention) == ("se", "cbam")
    assert claim.source == claim.table.source and claim.published is None


@pytest.mark.parametrize(("text", "value"), [("0.00001", 1e-05), ("1e-05", 1e-05), ("1", 1.0)])
def test_a_fraction_may_be_written_in_any_way(text, value):
    assert values_of("attention", f"simam+strength={text}")["strength"] == value
