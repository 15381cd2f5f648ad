"""The tables and verdicts of a group of runs, as they are written and shown."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from attn import formats
from attn.evidence import verdicts
from attn.evidence.claims import Claim, Table
from attn.evidence.group import Group
from attn.evidence.judged import Judged, frame_of
from attn.report import tables, wording
from attn.report.columns import Entry
from attn.runs.files import write, write_csv
from attn.stats import NOT_RUN


@dataclass
class Shown:
    """A table as it is written and put on the page.

    `behind` holds (label, names of its runs) for each row of numbers that has runs.
    """

    id: str
    title: str
    numbers: pd.DataFrame
    frame: pd.DataFrame  # in words
    caption: str
    behind: list[tuple[str, list[str]]] = field(default_factory=list)


@dataclass
class Section:
    """One group of runs with its verdicts, tables and figures."""

    group: Group
    judged: list[Judged]
    tables: list[Shown]
    figures: list[Path] = field(default_factory=list)


def write_tables(
    group: Group, definitions: list[Table], claims: list[Claim], out: Path, remake: str
) -> Section:
    """Writes every table of a group as CSV and Markdown, and returns the group's section.

    `remake` is the command that makes the tables again.
    """
    folder, shown = out / group.name, []
    for entry in [*map(tables.of_claims, definitions), *tables.ENTRIES]:
        frame = entry.rows(group)
        if len(frame):
            shown.append(_write(folder, entry, group, frame, remake))
    for text in folder.glob("*.md"):  # of runs, or of a table, that are gone
        numbers = text.with_suffix(".csv")
        if numbers.exists() and text.stem not in [one.id for one in shown]:
            text.unlink()
            numbers.unlink()
    return Section(group, verdicts.judge(group, claims), shown)


def _write(folder: Path, entry: Entry, group: Group, frame, remake: str) -> Shown:
    if "variant" in frame and not frame["variant"].any():
        frame = frame.drop(columns="variant")
    labels = [label_of(row) for row in frame.to_dict("records")]
    behind = [(what, runs.split()) for what, runs in zip(labels, frame["runs"], strict=True)]
    words = entry.in_words(frame)
    made = f"`{remake}` makes this table; the page has the command of every row's runs."
    origin = entry.origin(group, frame) if entry.origin else made
    caption = f"{entry.caption} {origin}"
    heading = f"### {entry.title}: {group.title}"
    write_csv(folder / f"{entry.id}.csv", frame.drop(columns="runs"), float_format=_rounded)
    write(folder / f"{entry.id}.md", f"{heading}\n\n{formats.markdown(words)}\n{caption}\n")
    return Shown(entry.id, entry.title, frame, words, caption, [pair for pair in behind if pair[1]])


def _rounded(value: float) -> str:
    """Returns a number to six digits, and a count whole: beside a missing count it is a float."""
    return f"{value:.6g}" if value % 1 else f"{value:.0f}"


def label_of(row: dict) -> str:
    if "model" in row:
        return row["model"]
    keys = ("backbone", "data", "location", "stages", "attention", "variant", "part", "channel")
    values = [row.get(key) for key in (*keys, "environment")]
    block = [f"block {row['block']}"] if "block" in row else []
    return ", ".join([value for value in values if isinstance(value, str) and value] + block)


def parts_of(sections: list[Section], claims: list[Claim]) -> list[tuple[str, list[Judged]]]:
    """Returns (heading, verdicts) for each part of the report.

    The published experiments come first, then the published experiments that were not run. Verdicts
    on other experiments come last.
    """
    own = verdicts.of_own_experiments([one for part in sections for one in part.judged], claims)
    parts = []
    for section in sections:
        mine = [one for one in own if one.group is section.group]
        parts.append((f"The published experiment, {section.group.title}", mine))
    waiting = [one for one in own if one.group is None]
    parts.append(("Published experiments that were not run", waiting))
    for section in sections:
        for backbone in dict.fromkeys(one.backbone for one in section.judged):
            mine = [one for one in section.judged if one.backbone == backbone and not one.own]
            mine = [one for one in mine if one.found.n or one.missing]
            parts.append((wording.elsewhere(section.group, backbone), mine))
    return [(title, judged) for title, judged in parts if judged]


def write_verdicts(sections: list[Section], claims: list[Claim], out: Path):
    """Writes verdicts.csv, and verdicts.md, which begins with the claims that have results."""
    parts = parts_of(sections, claims)
    write_csv(
        out / "verdicts.csv",
        frame_of([one for _, judged in parts for one in judged]),
        float_format=_rounded,
    )
    parts = sorted(parts, key=lambda part: all(one.verdict == NOT_RUN for one in part[1]))
    claims = {one.claim.id: wording.stated(one.claim) for _, judged in parts for one in judged}
    texts = {title: _in_markdown(judged) for title, judged in parts}
    run = [one for _, judged in parts for one in judged if one.verdict != NOT_RUN]
    words = wording.shown(run)
    empty = words.columns[~words.ne("").any()]
    legend = {term: text for term, text in wording.LEGEND.items() if term not in empty}
    texts |= {"The claims": _listed(claims), "The columns": _listed(legend)}
    write(out / "verdicts.md", "\n".join(f"### {title}\n\n{t}" for title, t in texts.items()))


def _in_markdown(judged: list[Judged]) -> str:
    """Returns a table of the claims that were run, and a list of the commands that run the rest."""
    run = [one for one in judged if one.verdict != NOT_RUN]
    words = wording.shown(run)
    table = formats.markdown(words.loc[:, words.ne("").any()]) if run else ""
    commands = "".join(
        f"- `{command}` for {'; '.join([', '.join(claims), *notes])}\n"
        for (command, *notes), claims in wording.to_run(judged).items()
    )
    return "\n".join(filter(None, [table, commands]))


def _listed(terms: dict[str, str]) -> str:
    return "".join(f"- **{term}**: {text.rstrip('.')}.\n" for term, text in terms.items())
