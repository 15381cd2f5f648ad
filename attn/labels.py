"""What people call a group's values: the file of configs/ they come from, and what was changed."""

from dataclasses import asdict
from pathlib import Path

import yaml

from attn.schema import RESERVED, Data, Recipe

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DEFAULTS = {"backbone": {}, "attention": {}, "data": asdict(Data()), "recipe": asdict(Recipe())}
UNNAMED = (*RESERVED, "root", "source")  # where the data lie is not what they are


def label(group: str, values: dict) -> str:
    """`post`, or `post+epochs=3` where the command line changed the epochs."""
    original = yaml.safe_load((CONFIGS / group / f"{values['name']}.yaml").read_text())
    expected = _flat(DEFAULTS[group]) | _flat(original)
    changed = {
        key.rpartition(".")[2]: value
        for key, value in sorted(_flat(values).items())
        if key not in UNNAMED and value != expected.get(key)
    }
    words = ",".join(f"{key}={value}" for key, value in changed.items())
    return values["name"] + (f"+{words}" if words else "")


def _flat(values: dict, prefix: str = "") -> dict:
    """{"noise": {"channels": 3}} -> {"noise.channels": 3}."""
    flat = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
