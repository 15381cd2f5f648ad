"""Joins groups of runs with those that were published before, and names edited recipes."""

from attn.evidence.group import Group
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
    """Returns the groups with the older groups' other runs, and the groups that only those have."""
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
