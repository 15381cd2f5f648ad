"""report.html: verdicts, tables and figures, with the runs and the command behind every number."""

import base64
import html
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup
from PIL import Image

from attn.evidence.claims import Claim, Table, command_of
from attn.evidence.judged import Judged
from attn.evidence.verdicts import of_own_experiments
from attn.formats import counted, html_table, interval, number
from attn.report import wording
from attn.report.columns import to_baseline
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
    environment.filters |= {
        "code": code,
        "counted": counted,
        "number": number,
        "published": wording.published,
    }
    return environment.get_template(template).render(**values)


def write_page(sections, claims: list[Claim], skipped: list[str], out: Path):
    """Writes report.html, a self-contained file with the PNG files of the folders beside it."""
    own = of_own_experiments([one for section in sections for one in section.judged], claims)
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
        waiting=[one for one in own if not one.found.n],
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
    return Markup(html_table(pd.DataFrame(rows)))


def _accuracies(sections, table: Table) -> dict:
    """Returns {model: {backbone and group: accuracies as text}} of a table's rows that were run."""
    found = {}
    shown = [(section, one) for section in sections for one in section.tables if one.id == table.id]
    for section, one in shown:
        for row in one.numbers[one.numbers["n"] > 0].itertuples():
            named = (
                own.model for own in table.rows if f"{row.model} [".startswith(f"{own.model} [")
            )
            ends, model = interval(row.low, row.high), max(named, key=len)
            text = f"{number(row.mean)}{ends and f', {ends}'} (n={row.n})"
            text += f", by seed {to_baseline(row)}" if row.pairs else ""
            text += row.model.removeprefix(model)
            cells, column = found.setdefault(model, {}), f"{row.backbone}, {section.group.title}"
            cells[column] = "; ".join(filter(None, [cells.get(column), text]))
    return found


def _first_picture(sections) -> dict | None:
    """Returns the figure of the scores of colours and noise channels, if any run has them."""
    paths = (path for section in sections for path in section.figures)
    wanted = (p for p in paths if re.match(r"scores-(?!epochs|layers|ranked).*-rgb_noise", p.stem))
    return next(map(_figure, wanted), None)


def code(text: str):
    """Returns text as HTML, with every `word` between backticks as code."""
    return Markup(re.sub("`(.*?)`", r"<code>\1</code>", html.escape(text)))


def _section(section) -> dict:
    group = section.group
    others = [one for one in section.judged if not one.own and one.found.n]
    return {
        "group": group,
        "verdicts": [_verdict(one) for one in others],
        "tables": [_table(table, group) for table in section.tables],
        "figures": [_figure(path) for path in section.figures],
        "runs": group.runs.to_dict("records"),
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
    """Returns a verdict, and what its card says beside it."""
    claim = one.claim
    against = claim.control.model if claim.control else f"{claim.against:g}"
    setting = f"{claim.table.title}: {claim.treatment.model}, against {against}"
    if claim.interaction:
        setting += ", less {}, against {}".format(*(row.model for row in claim.interaction))
    (words,) = wording.shown([one]).to_dict("records")
    return {
        "judged": one,
        "words": words,
        "setting": setting,
        "seeds": wording.seeds_of(one),
        "behind": _behind(one),
    }


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
        "title": table.title,
        "alike": ", ".join(frame[name].iloc[0] for name in alike),
        "missing": missing,
        "html": Markup(html_table(shown)),
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


def _figure(path: Path) -> dict:
    """Returns a figure for the page, which is a single file and so holds the picture itself."""
    with Image.open(path) as picture:
        caption = picture.info["Title"]
    return {"name": path.stem, "caption": caption, "data": png_data(path.read_bytes())}


def png_data(content: bytes) -> str:
    """Returns a PNG file as an address that holds the file itself."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
