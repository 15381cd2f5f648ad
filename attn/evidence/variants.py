"""Names configurations, and says what tells those of the same names apart."""

import re
from collections import Counter

import pandas as pd

from attn.names import restriction

NAMES = ["backbone", "data", "location", "stages", "attention"]


def with_variant(name: str, variant: str) -> str:
    return f"{name} [{variant}]" if variant else name


def called(run) -> str:
    """Returns what a configuration is called beside others of its backbone, place and data.

    run: a row of a frame, a Series or a dictionary.
    """
    return with_variant(run["attention"] + restriction(run["stages"]), run["variant"])


def called_with_data(run) -> str:
    return called(run) + ("" if run["data"] == "rgb" else f", {run['data']}")


def variants(runs: pd.DataFrame) -> pd.Series:
    """Returns for each run the words that tell its configuration from others of the same names."""
    words = pd.Series("", index=runs.index)
    for _, alike in runs.groupby(NAMES):
        if alike["configuration"].nunique() > 1:
            words[alike.index] = alike["configuration"].map(_told_apart(alike))
    return words


def attention_apart(runs: pd.DataFrame) -> pd.Series:
    """Returns each run's mechanism, told from others of its name by its settings, as in se+a=4.

    The mechanism's YAML was edited between such runs, which may stand at different places.
    """
    known = runs.get("settings", pd.Series("", index=runs.index)).fillna("")
    changes = known.map(lambda text: ",".join(re.findall(r"attention\.(\w+=\S+?)(?=, |$)", text)))
    return runs["attention"] + changes.map(lambda text: text and f"+{text}")


def _told_apart(alike: pd.DataFrame) -> dict[str, str]:
    """Returns for each configuration the words that tell it from others of the same names.

    The words have the configuration's hash only where nothing else is known of a difference.
    """
    firsts = alike.drop_duplicates("configuration").to_dict("records")
    words = {run["configuration"]: _differing(run) for run in firsts}
    counts = Counter(words.values())
    return {
        key: text if counts[text] == 1 else f"{text}, configuration {key}".lstrip(", ")
        for key, text in words.items()
    }


def _differing(run: dict) -> str:
    strict = run.get("strict") == True  # noqa: E712 (numpy's, or NaN where runs are older)
    words = ["strict" if strict else "", run.get("settings")]
    return ", ".join(word for word in words if isinstance(word, str) and word)
