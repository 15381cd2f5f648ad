"""Does a score follow what an input channel holds, or the channel's place?

A colour and a noise channel exchange their contents (see attn.evaluation.inspect.swap). A score
that is computed from the content moves with the content. A score that is learned for the place
stays.
"""

import pandas as pd

from attn import stats
from attn.evidence.group import Group, by_configuration
from attn.names import channel_name

LEAST_GAP = 0.01  # between the two usual scores: with less the question has no answer
PARTS = {  # of a pair of channels, and how they are called
    "colour": "colour slot",
    "noise": "noise slot",
    "noise_in_colour": "colour slot holding noise",
    "colour_in_noise": "noise slot holding a colour",
}
FOLLOWS = "follows content"


def pairs(swap: pd.DataFrame) -> pd.DataFrame:
    """Returns each run's pairs of a colour and a noise channel, with the scores of their slots."""
    keys = ["run", "colour", "noise"]
    colour = swap[swap["slot"] == swap["colour"]].set_index(keys)
    noise = swap[swap["slot"] == swap["noise"]].set_index(keys)
    scores = {
        "score_colour": colour["usual"],
        "score_noise": noise["usual"],
        "score_noise_in_colour": colour["swapped"],
        "score_colour_in_noise": noise["swapped"],
    }
    found = pd.DataFrame(scores)
    return found.assign(follows_content=_follows(found)).reset_index()


def _follows(scores: pd.DataFrame) -> pd.Series:
    """Returns 1 where the two scores change places with the contents, 0 where they stay.

    The result is NaN where the colour's usual score is not above the noise channel's by LEAST_GAP.
    """
    gap = scores["score_colour"] - scores["score_noise"]
    rise = scores["score_colour_in_noise"] - scores["score_noise"]
    fall = scores["score_colour"] - scores["score_noise_in_colour"]
    return ((rise + fall) / (2 * gap)).where(gap >= LEAST_GAP)


def named(pairs: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs of one run in words."""
    names = {f"score_{part}": name for part, name in PARTS.items()}
    channels = {part: pairs[part].map(channel_name) for part in ("colour", "noise")}
    return pairs.assign(**channels).rename(columns=names | {"follows_content": FOLLOWS})


def table(group: Group) -> pd.DataFrame:
    """Returns a table with a row for each configuration: means over pairs, then over runs.

    Whether a run's scores follow the contents is computed from their means over the run's pairs.
    For a single pair with a small gap the ratio would be chance.
    """
    if group.swap.empty:
        return pd.DataFrame()
    means = pairs(group.swap).groupby("run").mean().drop(columns=["colour", "noise"])
    means = means.assign(follows_content=_follows(means)).reset_index()
    rows = []
    for names, runs in by_configuration(means.merge(group.runs, on="run")):
        row = {name: names[name] for name in ("backbone", "data", "attention", "variant")}
        row |= {"n": len(runs)} | {f"score_{part}": runs[f"score_{part}"].mean() for part in PARTS}
        found = stats.estimate(runs["follows_content"].dropna())
        row |= {"follows_content": found.mean, "low": found.low, "high": found.high}
        rows.append(row | {"follows_content_n": found.n, "runs": " ".join(runs["run"])})
    return pd.DataFrame(rows)
