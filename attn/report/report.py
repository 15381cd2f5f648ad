"""From run folders, or published data files, to data, tables, verdicts, figures and the page."""

import json
import textwrap
from pathlib import Path

from attn import formats
from attn.errors import RunError
from attn.evidence import accuracies, scores
from attn.evidence.claims import ClaimError, Table
from attn.evidence.claims_file import load
from attn.evidence.collect import collect
from attn.evidence.group import (
    ARRAYS,
    FRAMES,
    Group,
    folders_of_groups,
    published,
    published_file,
)
from attn.evidence.publish import edited_recipes, joined, write_groups
from attn.report import wording
from attn.report.explorer import write_explorer
from attn.report.figures import accuracy, channels, forest, inspection, layers, places
from attn.report.page import write_page
from attn.report.section import Section, parts_of, write_tables, write_verdicts
from attn.report.tables import ENTRIES
from attn.report.terminal import say_accuracies, say_verdicts
from attn.runs.files import one_at_a_time, write
from attn.runs.folder import skipped

PUBLISHED = Path(__file__).resolve().parents[2] / "results"


def report(root: Path, out: Path, publish: bool = False):
    """Writes data, tables, verdicts and figures: a folder under `out` for each group, and one page.

    `root` holds run folders, or folders of published data. With `publish`, the data that `out` has
    of other runs stays. Raises RunError where there is no finished run, and ClaimError where
    configs/claims.yaml is wrong.
    """
    if out.resolve() == PUBLISHED and not publish:
        raise RunError(f"out={out}: what is published there would go; publish=true keeps it")
    _refuse_folder_of_others(out)
    definitions, claims = load()
    _refuse_names_of_files(definitions)
    collected = collect(root)
    for reason in collected.left_out:
        print(f"left out: {reason}")
    groups = collected.groups + published(root)
    if not groups:
        raise RunError(
            f"no finished run in {root}: train some first, as with bash scripts/reproduce.sh"
        )
    for line in edited_recipes(groups):
        print(line)
    with one_at_a_time(out):
        sections = _write_all(groups, root, out, publish, definitions, claims)
    for section in sections:
        print("\n" + textwrap.fill(f"== {section.group.title} ==", formats.WIDTH))
        say_accuracies(section, definitions)
    say_verdicts(parts_of(sections, claims))
    if root not in (Path("runs"), PUBLISHED, Path("results")):
        print(f"\nthe commands of claims that were not run take runs={root} besides")
    runs = sum(len(section.group.runs) for section in sections)
    print(f"\n{formats.counted(runs, 'run')}. Tables, figures and their data: {out}")
    print(f"all of it on one page: {out / 'report.html'}; to choose from: {out / 'explorer.html'}")


def _refuse_names_of_files(definitions: list[Table]):
    """Raises ClaimError where a table of configs/claims.yaml has the name of another file."""
    for table in definitions:
        if table.id in (*FRAMES, *ARRAYS, *(entry.id for entry in ENTRIES)):
            raise ClaimError(
                f"configs/claims.yaml: table {table.id}: a report has a file of that name; "
                "give the experiment, and the table, another"
            )


def _refuse_folder_of_others(out: Path):
    """Raises RunError where `out` holds what a report would replace, and is no report itself."""
    pages = [path for path in (out / "report.html", out / "explorer.html") if path.exists()]
    others = [*pages, *folders_of_groups(out)]
    ours = out / "verdicts.csv", out / ".lock"  # the latter of a report that is being made
    if others and not any(path.exists() for path in ours):
        raise RunError(f"out={out}: {others[0].name} there would go; name an empty folder")


def _write_all(groups: list[Group], root: Path, out: Path, publish: bool, definitions, claims):
    """Writes everything of the groups, and returns a section for each."""
    impossible = skipped(root)
    if publish:
        for group in groups:
            if "+" in group.recipe:
                print(f"publishes a recipe with other numbers, {group.recipe}")
        groups = joined(groups, published(out))
        impossible = sorted({*impossible, *_read_skipped(out)})
    names = write_groups(groups, out)
    (out / "skipped.json").unlink(missing_ok=True)
    if impossible:
        write(out / "skipped.json", json.dumps(impossible, indent=1) + "\n")
        print(f"{formats.counted(len(impossible), 'cell')} skipped as impossible; the page has why")
    remake = remake_of(root, publish)
    # From the files alone, as whoever makes them again from published ones has.
    sections = [
        write_tables(Group.read(out / name), definitions, claims, out, remake) for name in names
    ]
    write_verdicts(sections, claims, out)
    for section in sections:
        section.figures = _draw(section, definitions, out / section.group.name)
    write_page(sections, claims, _read_skipped(out), out)
    write_explorer([section.group for section in sections], out)
    return sections


def remake_of(root: Path, publish: bool) -> str:
    """Returns the command that remakes the tables of the runs in root, or all published tables."""
    if publish:
        return "python eval.py runs=results publish=true"  # from its data files
    return "python eval.py" if root == Path("runs") else f"python eval.py runs={root}"


def _read_skipped(out: Path) -> list[str]:
    path = out / "skipped.json"
    with published_file(path):
        return list(map(str, json.loads(path.read_text()))) if path.exists() else []


def _draw(section: Section, definitions: list[Table], folder: Path) -> list[Path]:
    group = section.group
    configurations, gates = accuracies.configurations(group), scores.gates(group)
    for old in folder.glob("*.png"):  # of runs that are no longer here
        old.unlink()
    forests = []
    for backbone in dict.fromkeys(one.backbone for one in section.judged):
        mine = [one for one in section.judged if one.backbone == backbone]
        own = [one for one in mine if one.own]
        title = f"The published experiment, {backbone}, {group.title}"
        forests += forest.of_claims(own, title, folder / f"claims-published-{backbone}.png")
        others = [one for one in mine if not one.own]
        title = wording.elsewhere(group, backbone)
        forests += forest.of_claims(others, title, folder / f"claims-{backbone}.png")
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
        *layers.by_rank(group, folder),
        *layers.by_layer(group, folder),
        *layers.health(gates, title, folder),
        *inspection.of_group(group, folder),
    ]
