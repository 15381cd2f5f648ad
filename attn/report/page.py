"""report.html: verdicts, tables and figures, with the runs and the command behind every number."""

import base64
import html
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from attn.evidence.claims import Table, command_words
from attn.evidence.judged import Judged
from attn.names import restriction
from attn.report import wording
from attn.report.formats import counted, html_table, interval, number
from attn.report.tables import to_baseline
from attn.runs.files import write
from attn.stats import CONTRADICTED, INCONCLUSIVE, NO_VERDICT, NOT_RUN, REPRODUCED

SETTING = ("backbone", "data", "location")


def rendered(template: str, **values) -> str:
    """Returns a page: a template of this folder, filled with values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"code": code, "number": number}
    return environment.get_template(template).render(**values)


def write_page(sections, own: list[Judged], skipped: list[str], out: Path):
    """Writes report.html, a self-contained file with the PNG files of the folders beside it."""
    counts = Counter(one.verdict for one in own)
    order = [REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOT_RUN]
    order += [NO_VERDICT] if counts[NO_VERDICT] else []
    tables = {one.claim.table.id: one.claim.table for one in own}
    text = rendered(
        "page.html",
        published=_published(sections, tables.values()),
        picture=_first_picture(sections),
        counts=[(word, counts[word]) for word in order],
        own=[_verdict(one) for one in own if one.found.n],
        waiting=[_waiting(one) for one in own if not one.found.n],
        sections=[_section(section) for section in sections],
        skipped=skipped,
        legend=wording.LEGEND,
        runs=counted(sum(len(section.group.runs) for section in sections), "run"),
    )
    write(out / "report.html", text)


def _published(sections, tables: Iterable[Table]):
    """Returns the published tables as HTML, with the accuracies of each section beside them."""
    rows = []
    for table in tables:
        if any(row.published is not None for row in table.rows):
            cells = _accuracies(sections, table)
            for index, row in enumerate(table.rows):
                title = "" if index else table.title
                known = {"table": title, "model": row.model, "published": row.published}
                rows.append(known | cells.get(row.model, {}))
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(name for row in rows for name in row)))
    others = frame.columns.difference(["published"])
    frame[others] = frame[others].fillna("")
    return jinja2.filters.Markup(html_table(frame))


def _accuracies(sections, table: Table) -> dict:
    """Returns {model: {backbone and group: accuracies as text}} of a table's rows that were run."""
    found = {}
    shown = [(section, one) for section in sections for one in section.tables if one.id == table.id]
    for section, one in shown:
        for row in one.numbers[one.numbers["n"] > 0].itertuples():
            ends, model = interval(row.low, row.high), row.model.partition(" [")[0]
            text = f"{number(row.mean)}{ends and f', {ends}'} (n={row.n})"
            text += f", by seed {to_baseline(row)}" if row.pairs else ""
            text += row.model.removeprefix(model)
            column = f"{row.backbone}, {section.group.title}"
            found.setdefault(model, {}).setdefault(column, []).append(text)
    return {
        model: {column: "; ".join(texts) for column, texts in cells.items()}
        for model, cells in found.items()
    }


def _first_picture(sections) -> dict | None:
    """Returns the figure of the scores of colours and noise channels, if any run has them."""
    paths = (path for section in sections for path in section.figures)
    wanted = (p for p in paths if re.match(r"scores-(?!epochs|layers|ranked).*-rgb_noise", p.stem))
    return next(map(_figure, wanted), None)


def code(text: str):
    """Returns text as HTML, with every `word` between backticks as code."""
    parts = html.escape(text).split("`")
    odd = [f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)]
    return jinja2.filters.Markup("".join(odd))


def _section(section) -> dict:
    group = section.group
    others = [one for one in section.judged if not one.own and one.found.n]
    return {
        "name": group.name,
        "title": group.title,
        "verdicts": [_verdict(one) for one in others],
        "tables": [_table(table, group) for table in section.tables],
        "figures": [_figure(path) for path in section.figures],
        "runs": group.runs.to_dict("records"),
        "count": counted(len(group.runs), "run"),
        "unfinished": group.unfinished.to_dict("records"),
        "summary": _summary(group),
    }


def _summary(group) -> str:
    runs = group.runs
    seconds = runs["train_seconds"].sum()
    took = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"
    computed = " and ".join(sorted(set(runs["precision"])))
    return (
        f"{counted(len(runs), 'run')} of "
        f"{counted(runs['configuration'].nunique(), 'configuration')}, "
        f"{', '.join(sorted(set(runs['backbone'])))}, on {', '.join(sorted(set(runs['device'])))}; "
        f"computed in {computed}; their times, which overlap, add up to {took} of training."
    )


def _verdict(one: Judged) -> dict:
    """Returns the fields that the card of a verdict shows."""
    claim = one.claim
    words = wording.shown([one]).iloc[0]
    against = claim.control.model if claim.control else f"{claim.against:g}"
    setting = f"{claim.table.title}: {claim.treatment.model}, against {against}"
    if claim.interaction:
        setting += ", less {}, against {}".format(*(row.model for row in claim.interaction))
    return {
        **words[["n", "difference", "claimed", "bound", "published", "r", "P"]],
        "number": one.number,
        "interval": words["95% interval"],
        "p": words["p (Holm)"],
        "kind": one.verdict.replace(" ", "-"),
        "word": one.text,
        "statement": claim.statement,
        "source": claim.source,
        "fixed": claim.fixed.rstrip("."),
        "setting": setting,
        "about": _about(one),
        "metric": ("difference, " if claim.control else "") + claim.metric.replace("_", " "),
        "smoke": counted(one.found.n, "seed") if one.smoke else "",
        "seeds": wording.seeds_of(one),
        "behind": _behind(one),
        "missing": one.missing,
    }


def _waiting(one: Judged) -> dict:
    """Returns the fields that the page shows of a claim that was not run."""
    claim = {"statement": one.claim.statement, "source": one.claim.source}
    return claim | {
        "command": one.command,
        "published": wording.published(one),
        "missing": one.missing,
    }


def _about(one: Judged) -> str:
    """Returns the network and the title of the group on which a claim was judged.

    Where the network is not that of the claim, the claim's network is named beside it.
    """
    table = one.claim.table
    other = "" if one.backbone == table.backbone else f" in place of {table.backbone}"
    return f"{one.backbone}{other}, {one.group.title}"


def _behind(one: Judged) -> list[tuple]:
    """Returns (row, command that trains its runs, runs) for each row that the claim compares."""
    every = one.group.runs.set_index("run", drop=False)
    chosen = [(row.model, row.of(every.loc[one.runs])["run"]) for row in one.claim.rows]
    return _commands(chosen, every)


def _table(table, group) -> dict:
    """Returns the fields of a table.

    What is the same in every row stands above the table, and what is missing below it, so that the
    columns fit the page.
    """
    frame = table.frame
    alike = [name for name in SETTING if name in frame and frame[name].nunique() == 1]
    missing = [note for note in frame.get("missing", []) if note]
    empty = [name for name in frame if frame[name].isin(["", "all"]).all()]  # all: the stages
    shown = frame.drop(columns={*alike, *empty, "missing"} & set(frame))
    return {
        "id": f"{group.name}-{table.id}",
        "title": table.title.partition(": recipe ")[0],
        "alike": ", ".join(frame[name].iloc[0] for name in alike),
        "missing": missing,
        "html": jinja2.filters.Markup(html_table(shown)),
        "caption": table.caption,
        "behind": _commands(table.behind, group.runs.set_index("run", drop=False)),
    }


def _commands(behind: list[tuple], every: pd.DataFrame) -> list[tuple]:
    """Returns (labels, command, runs) for each configuration behind the rows of a table.

    Rows of the same runs, such as the blocks of a network, are named together.
    """
    labels = {}
    for label, runs in behind:
        labels.setdefault(tuple(runs), []).append(label)
    return [
        ("; ".join(names), command_of(alike.iloc[0], alike["seed"]), list(alike["run"]))
        for runs, names in labels.items()
        for _, alike in every.loc[list(runs)].groupby("configuration", sort=False)
    ]


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


def _figure(path: Path) -> dict:
    """Returns a figure as it stands in the page.

    The page is a single file, and so holds the picture itself.
    """
    with Image.open(path) as picture:
        caption = picture.info["Title"]
    return {"name": path.stem, "caption": caption, "data": png_data(path.read_bytes())}


def png_data(content: bytes) -> str:
    """Returns a PNG file as an address that holds the file itself."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
