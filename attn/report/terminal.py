"""Says in the terminal what came out: accuracies, scores of the input channels, verdicts."""

import textwrap

import pandas as pd

from attn import formats
from attn.evidence import placement
from attn.evidence.claims import Table
from attn.evidence.judged import Judged
from attn.formats import WIDTH, plain
from attn.report import wording
from attn.report.section import Section, Shown, label_of
from attn.stats import INCONCLUSIVE, NO_VERDICT, NOT_RUN

MOST_CHANNELS = 9  # that fit beside each other in a terminal
SHORT = {"at least": "", "about": "~", "more than": ">"}


def say_accuracies(section: Section, definitions: list[Table]):
    titles = {definition.id: definition.title for definition in definitions}
    if titles.keys().isdisjoint(shown.id for shown in section.tables):  # a sweep of one's own
        titles["configurations"] = "Every configuration"
    titles["placement"] = "Points above no attention, by place"
    columns = ["n", "accuracy, %", "95% interval", "to baseline", *placement.PLACES]
    for shown in section.tables:
        if shown.id in titles:
            short = shown.frame[[name for name in columns if name in shown.frame]].copy()
            short.insert(0, "model", _models(shown))
            print(f"\n{titles[shown.id]}\n\n{formats.plain(short)}", end="")
    if len(scores := _input_scores(section)):
        heading = "Mean scores of the input channels; n1, n2 and so on: of noise (more: inputs.md)"
        print(f"\n{heading}\n\n{formats.plain(scores)}", end="")


def _input_scores(section: Section) -> pd.DataFrame:
    """Returns a row for each configuration that scores its input channels, a column a channel."""
    found = {shown.id: shown.frame for shown in section.tables}
    if "inputs" not in found:
        return pd.DataFrame()
    names = [
        name for name in ("backbone", "data", "attention", "variant") if name in found["inputs"]
    ]
    rows = {}
    for row in found["inputs"].to_dict("records"):
        cells = rows.setdefault(tuple(row[name] for name in names), {"n": row["n"]})
        cells[row["channel"].replace("noise ", "n")] = row["score"]
    for row in found["separation"].to_dict("records") if "separation" in found else ():
        gap = row["lowest colour minus highest noise"]
        rows[tuple(row.get(name, "") for name in names)] |= {"AUC": row["AUC"], "gap": gap}
    wide = pd.DataFrame(rows.values()).fillna("")
    ends = [name for name in ("AUC", "gap") if name in wide]
    shown = [name for name in wide if name not in ends][: 1 + MOST_CHANNELS] + ends
    wide = wide[shown]
    wide.insert(0, "model", [", ".join(filter(None, key)) for key in rows])
    return wide


def _models(shown: Shown) -> list[str]:
    """Returns each row's name in the terminal, with the backbone only where there are several."""
    if "model" not in shown.frame:
        return [label_of(row) for row in shown.frame.to_dict("records")]
    backbones, models = shown.frame["backbone"], shown.frame["model"]
    return list(backbones + ": " + models if backbones.nunique() > 1 else models)


def say_verdicts(parts: list[tuple[str, list[Judged]]]):
    for title, judged in parts:
        print("\n" + textwrap.fill(f"== {title} ==", formats.WIDTH) + "\n")
        print(lines_of(judged))


def lines_of(judged: list[Judged]) -> str:
    """Returns a table of at most 100 columns, and below it the commands of the claims not run."""
    run, lines = [one for one in judged if one.verdict != NOT_RUN], []
    if run:
        frame = wording.shown(run)[["n", "difference", "95% interval", "claimed", "published"]]
        if not frame["published"].any():
            frame = frame.drop(columns="published")
        frame.insert(0, "claim", [one.claim.id for one in run])
        lines.append(plain(frame.assign(verdict=[_short(one) for one in run])))
    for (command, *notes), claims in wording.to_run(judged).items():
        text = "; ".join([f"not run: {command} for {', '.join(claims)}", *notes])
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 9, break_on_hyphens=False)
    return "\n".join(lines)


def _short(one: Judged) -> str:
    if one.verdict == NO_VERDICT:
        return NO_VERDICT
    if one.verdict != INCONCLUSIVE:
        where, changed, _ = one.place.partition("+")  # all of it stands above the table
        return f"{one.verdict}{where}{changed and '+…'}"
    if one.looked_twice:
        return f"{INCONCLUSIVE} after two looks"
    word, number = one.asks
    return f"{INCONCLUSIVE}, needs {SHORT[word]}{number:,} seeds"
