"""People's names for a group's values: the file in configs/, and the values that were changed."""

from dataclasses import asdict

from attn.config.catalogue import flat, read, recipe
from attn.config.schema import PLACING, Data, Recipe

DEFAULTS = {"backbone": {}, "attention": {}, "data": asdict(Data()), "recipe": asdict(Recipe())}
# Not what the values are but where they apply, or where the data lie.
UNNAMED = ("name", *PLACING, "root", "source")


def label(group: str, values: dict, backbone: str = "") -> str:
    """Returns a label such as `post`, or `post+epochs=3` where the command line changed the epochs.

    backbone: the backbone's name, by which a recipe may differ.
    """
    name = values["name"]
    file = recipe(name, backbone) if group == "recipe" else read(group, name)
    expected = flat(DEFAULTS[group]) | flat(file)
    changed = {
        key.rpartition(".")[2]: value
        for key, value in sorted(flat(values).items())
        if key not in UNNAMED and value != expected.get(key)
    }
    words = ",".join(f"{key}={value}" for key, value in changed.items())
    return values["name"] + (f"+{words}" if words else "")
