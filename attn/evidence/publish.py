"""Joins groups of runs with those that were published before, writes them, names edited recipes."""

import shutil
from dataclasses import replace
from pathlib import Path

from attn.errors import RunError
from attn.evidence.frames import KEY
from attn.evidence.group import Group, folders_of_groups, named
from attn.runs.whole import told


def edited_recipes(groups: list[Group]) -> list[str]:
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


def joined(groups: list[Group], older: list[Group]) -> list[Group]:
    """Returns the groups with the older groups' other runs, and the groups that only those have.

    A group that is among the older groups keeps its name there. Any other group has no name yet.
    """
    others = {}
    for group in sorted(older, key=lambda group: group.name != group.plain_name):
        others[group.key] = others[group.key].joined(group) if group.key in others else group
    new = [
        _added(group, others.pop(group.key)) if group.key in others else replace(group, name="")
        for group in groups
    ]
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
    return replace(group.without(set(differing)).joined(older), name=older.name)


def write_groups(groups: list[Group], out: Path) -> list[str]:
    """Writes the data files of each group into a folder of `out`, and returns the folders' names.

    The folders of groups whose runs are gone are removed. Raises RunError, before anything is
    written, where a folder's runs.csv is no group's.
    """
    groups, known = named(groups), folders_of_groups(out)
    for group in groups:
        path = out / group.name / "runs.csv"
        if path.exists() and path.parent not in known:
            raise RunError(
                f"{path} would go: it is damaged, or not ours, as its first line lacks some of "
                f"{', '.join(KEY)}; git checkout brings a committed file back"
            )
    for group in groups:
        group.write(out / group.name)
    names = [group.name for group in groups]
    for stale in known:
        if stale.name not in names:
            _remove(stale)
    return names


def _remove(stale: Path):
    """Removes the folder of a group whose runs are gone, unless somebody's own files are in it."""
    kinds = (".csv", ".npz", ".md", ".png")
    foreign = [path.name for path in stale.iterdir() if path.suffix not in kinds]
    if foreign:
        print(f"left alone: {stale}, whose runs are gone, as {foreign[0]} there is not ours")
    else:
        print(f"removed: {stale}, whose runs are gone, or in a folder of another name")
        shutil.rmtree(stale)
