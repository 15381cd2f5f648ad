"""From run folders, or published data files, to data, tables, verdicts, figures and the page."""

import json
import shutil
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from attn.errors import RunError
from attn.report import accuracies, formats, placement, scores, tables, verdicts, wording
from attn.report.claims import Claim, Table, load
from attn.report.collect import collect
from attn.report.explorer import write_explorer
from attn.report.figures import accuracy, channels, inspection, places
from attn.report.group import Group, folders_of_groups, named, published, write_csv
from attn.report.page import write_page
from attn.report.verdicts import Judged
from attn.runs.files import one_at_a_time, write
from attn.runs.folder import skipped
from attn.runs.whole import told

PUBLISHED = Path(__file__).resolve().parents[2] / "results"
MOST_CHANNELS = 9  # that fit beside each other in a terminal


@dataclass
class Shown:
    """A table as it is written and put on the page.

    `behind` holds (label, names of its runs) for each row that has runs.
    """

    id: str
    title: str
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


def report(root: Path, out: Path, publish: bool = False):
    """Writes data, tables, verdicts and figures: a folder under `out` for each group, and one page.

    `root` holds run folders, or folders of published data. With `publish`, the data that `out` has
    of other runs stays. Raises RunError where there is no finished run, and ClaimError where
    configs/claims.yaml is wrong.
    """
    if out.resolve() == PUBLISHED and not publish:
        raise RunError(f"out={out}: what is published there would go; publish=true keeps it")
    definitions, claims = load()
    collected = collect(root)
    for reason in collected.left_out:
        print(f"left out: {reason}")
    groups = collected.groups + published(root)
    if not groups:
        raise RunError(
            f"no finished run in {root}: train some first, as with bash scripts/reproduce.sh"
        )
    for line in _edited(groups):
        print(line)
    with one_at_a_time(out):
        sections = _write_all(groups, root, out, publish, definitions, claims)
    for section in sections:
        print("\n" + textwrap.fill(f"== {section.group.title} ==", formats.WIDTH))
        _say_accuracies(section, definitions)
    _say(sections, claims, out)


def _write_all(groups: list[Group], root: Path, out: Path, publish: bool, definitions, claims):
    """Writes everything of the groups, and returns a section for each."""
    impossible = skipped(root)
    if publish:
        groups = _joined(groups, published(out))
        impossible = sorted({*impossible, *_read_skipped(out)})
    (out / "skipped.json").unlink(missing_ok=True)
    if impossible:
        write(out / "skipped.json", json.dumps(impossible, indent=1) + "\n")
        print(f"{formats.counted(len(impossible), 'cell')} skipped as impossible; the page has why")
    names = []
    for group in named(groups):
        group.write(out / group.name)
        names.append(group.name)
    for stale in folders_of_groups(out):
        if stale.name not in names:  # of runs that are gone, or in a folder of another name
            shutil.rmtree(stale)
    remake = remake_of(root, publish)
    # From the files alone, as whoever makes them again from published ones has.
    sections = [
        write_tables(Group.read(out / name), definitions, claims, out, remake) for name in names
    ]
    write_verdicts(sections, claims, out)
    for section in sections:
        section.figures = _draw(section, definitions, out / section.group.name)
    write_page(sections, own_verdicts(sections, claims), _read_skipped(out), out)
    write_explorer([section.group for section in sections], out)
    return sections


def remake_of(root: Path, publish: bool) -> str:
    """Returns the command that makes the tables of root's runs again, or all published tables."""
    if publish:
        return "python eval.py runs=results publish=true"  # from its data files
    return "python eval.py" if root == Path("runs") else f"python eval.py runs={root}"


def _edited(groups: list[Group]) -> list[str]:
    """Returns a line for each recipe whose YAML was edited between runs of the same data."""
    counts = {}
    for group in groups:
        recipe, recipe_key, *data = group.key
        counts.setdefault((recipe, *data), {})[recipe_key] = len(group.runs)
    return [
        f"recipe {recipe}: its YAML was edited between runs, {' and '.join(map(str, runs))} of "
        "them; they are never compared. Train all seeds with one version"
        for (recipe, *_), versions in counts.items()
        if len(runs := list(versions.values())) > 1
    ]


def _joined(groups: list[Group], older: list[Group]) -> list[Group]:
    others = {}
    for group in older:
        others[group.key] = others[group.key].joined(group) if group.key in others else group
    new = [_added(g, others.pop(g.key)) if g.key in others else g for g in groups]
    return [*new, *others.values()]


def _added(group: Group, older: Group) -> Group:
    """Returns the older group with the runs of another, but those that it has with other results.

    Such a run was trained twice, on two machines for example. Which result counts is not for this
    code to say.
    """
    differing = group.differing(older)
    for run, (here, there) in differing.items():
        print(
            f"not published: {older.name}/runs.csv has another result of {run} "
            f"({told(there)}; this is {told(here)}). Delete its line there, and this result takes "
            "its place"
        )
    if len(differing) == len(group.runs):
        return older
    return group.without(set(differing)).joined(older)


def _read_skipped(out: Path) -> list[str]:
    path = out / "skipped.json"
    return json.loads(path.read_text()) if path.exists() else []


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
        else:  # of runs that are gone
            for kind in ("csv", "md", "tex"):  # LaTeX of an earlier version
                (folder / f"{entry.id}.{kind}").unlink(missing_ok=True)
    return Section(group, verdicts.judge(group, claims), shown)


def _write(folder: Path, entry: tables.Entry, group: Group, frame, remake: str) -> Shown:
    if "variant" in frame and not frame["variant"].any():
        frame = frame.drop(columns="variant")
    labels = [_label(row) for row in frame.to_dict("records")]
    behind = [(what, runs.split()) for what, runs in zip(labels, frame["runs"], strict=True)]
    title, words = f"{entry.title}: {group.title}", entry.in_words(frame)
    caption = entry.below(group, frame, remake)
    write_csv(folder / f"{entry.id}.csv", frame.drop(columns="runs"), float_format="%.6g")
    write(folder / f"{entry.id}.md", f"### {title}\n\n{formats.markdown(words)}\n{caption}\n")
    return Shown(entry.id, title, words, caption, [pair for pair in behind if pair[1]])


def _label(row: dict) -> str:
    if "model" in row:
        return row["model"]
    keys = ("backbone", "data", "location", "stages", "attention", "variant", "part", "channel")
    values = [row.get(key) for key in keys]
    return ", ".join(value for value in values if isinstance(value, str) and value)


def own_verdicts(sections: list[Section], claims: list[Claim]) -> list[Judged]:
    """Returns each claim's verdicts on its own experiment, from every group that has its runs.

    Where no group has them, the verdict says that the experiment was not run.
    """
    every = [one for section in sections for one in section.judged if one.own and one.found.n]
    result = []
    for claim in claims:
        mine = [one for one in every if one.claim.id == claim.id]
        result += mine or [Judged(claim, claim.table.backbone)]
    return result


def _parts(sections: list[Section], claims: list[Claim]) -> list[tuple[str, list[Judged]]]:
    """Returns (heading, verdicts) for each part of the report.

    The published experiments come first, then the published experiments that were not run. Verdicts
    on other experiments come last.
    """
    own = own_verdicts(sections, claims)
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
    """Writes verdicts.csv and verdicts.md, with the verdicts of every claim.

    The verdicts are on published experiments and on others.
    """
    parts = _parts(sections, claims)
    write_csv(
        out / "verdicts.csv",
        verdicts.frame([one for _, judged in parts for one in judged]),
        float_format="%.6g",
    )
    text = ""
    for title, judged in parts:
        words = wording.shown(judged)
        text += f"### {title}\n\n{formats.markdown(words)}\n"
    legend = "\n".join(f"- **{term}**: {what}." for term, what in wording.LEGEND.items())
    write(out / "verdicts.md", f"{text}{legend}\n")


def _draw(section: Section, definitions: list[Table], folder: Path) -> list[Path]:
    group = section.group
    configurations, gates = accuracies.configurations(group), scores.gates(group)
    for old in [*folder.glob("*.png"), *folder.glob("*.svg")]:  # SVG of an earlier version
        old.unlink()  # of runs that are no longer here
    forests = []
    for backbone in dict.fromkeys(one.backbone for one in section.judged):
        mine = [one for one in section.judged if one.backbone == backbone and one.found.n > 1]
        own = [one for one in mine if one.own]
        title = f"The published experiment, {backbone}, {group.title}"
        forests += accuracy.forest(own, title, folder / f"claims-published-{backbone}.png")
        others = [one for one in mine if not one.own]
        title = wording.elsewhere(group, backbone)
        forests += accuracy.forest(others, title, folder / f"claims-{backbone}.png")
    title = group.title
    return [
        *forests,
        *accuracy.over_epochs(group, definitions, folder),
        *accuracy.confusions(group, definitions, folder),
        *places.figures(group, folder),
        *places.by_block(group, folder),
        *accuracy.against_parameters(configurations, title, folder),
        *channels.of_inputs(group, definitions, folder),
        *channels.by_noise(scores.separation(group), title, folder),
        *channels.by_rank(group, folder),
        *channels.by_layer(group, folder),
        *channels.health(gates, title, folder),
        *inspection.of_group(group, folder),
    ]


def _say_accuracies(section: Section, definitions: list[Table]):
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
        heading = "Mean scores of the input channels, n1 and so on: of noise (more: inputs.md)"
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
        rows[tuple(row[name] for name in names)] |= {"AUC": row["AUC"], "gap": gap}
    wide = pd.DataFrame(rows.values()).fillna("")
    ends = [name for name in ("AUC", "gap") if name in wide]
    shown = [name for name in wide if name not in ends][: 1 + MOST_CHANNELS] + ends
    wide = wide[shown]
    wide.insert(0, "model", [", ".join(filter(None, key)) for key in rows])
    return wide


def _models(shown: Shown) -> list[str]:
    """Returns each row's name in the terminal, with the backbone only where there are several."""
    if "model" not in shown.frame:
        return [_label(row) for row in shown.frame.to_dict("records")]
    backbones, models = shown.frame["backbone"], shown.frame["model"]
    return list(backbones + ": " + models if backbones.nunique() > 1 else models)


def _say(sections: list[Section], claims: list[Claim], out: Path):
    for title, judged in _parts(sections, claims):
        print("\n" + textwrap.fill(f"== {title} ==", formats.WIDTH) + "\n")
        print(wording.terminal(judged))
    runs = sum(len(section.group.runs) for section in sections)
    print(f"\n{formats.counted(runs, 'run')}. Tables, figures and their data: {out}")
    print(f"all of it on one page: {out / 'report.html'}; to choose from: {out / 'explorer.html'}")
