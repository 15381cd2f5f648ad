"""What attention gains in one block: alone, by what is lost without it, and its Shapley value.

A Shapley value is the mean gain of a block over all orders in which blocks get their attention
(Shapley 1953). Here it comes from the sets of blocks that were trained, by the weighted regression
of Lundberg and Lee (arXiv:1705.07874): a sum of a value for each block that fits the gains of the
sets, and adds up to the gain of all blocks. Where gains are sums of more than pairs of blocks the
fit is approximate, unless all sets were trained.
"""

from math import comb

import numpy as np
import pandas as pd

from attn import stats
from attn.report.group import Group, by_pair
from attn.report.verdicts import one_configuration

NAMES = ["backbone", "data", "attention"]
PREFIX = "blocks "
QUANTITIES = {"alone": "alone", "without": "lost without", "shapley": "Shapley value"}


NONE = pd.Series(dtype=float)


def numbers(stages: str) -> frozenset:
    """Returns the blocks that a value of the column `stages` names."""
    return frozenset(int(word) for word in stages.removeprefix(PREFIX).split("+"))


def gains(group: Group) -> list[tuple[dict, dict[frozenset, pd.Series]]]:
    """Returns (names, {blocks: points above no attention, by environment and seed}).

    There is an entry for each mechanism of which single blocks, or sets of blocks, and all blocks
    were trained. The blocks are those that any set has.
    """
    found = []
    for key, runs in group.runs[group.runs["location"] == "per_block"].groupby(NAMES):
        names = dict(zip(NAMES, key, strict=True))
        sets = {s: numbers(s) for s in runs["stages"].unique() if s.startswith(PREFIX)}
        if not sets or "all" not in set(runs["stages"]):
            continue
        alike = group.runs[(group.runs[["backbone", "data"]] == [*key[:2]]).all(axis=1)]
        plain = _accuracies(alike[alike["location"] == "none"])
        sets["all"] = frozenset().union(*sets.values())
        found.append(
            (
                names,
                {
                    blocks: (_accuracies(runs[runs["stages"] == text]) - plain).dropna()
                    for text, blocks in sets.items()
                },
            )
        )
    return found


def _accuracies(runs: pd.DataFrame) -> pd.Series:
    return 100 * by_pair(one_configuration(runs), "test_accuracy")


def table(group: Group) -> pd.DataFrame:
    """Returns a row for each block of each mechanism, with means and t-intervals over seeds."""
    rows = []
    for names, by_set in gains(group):
        every, values = max(by_set, key=len), shapley(by_set)
        mine = group.runs[(group.runs[NAMES] == list(names.values())).all(axis=1)]
        runs = " ".join(mine["run"][mine["location"] == "per_block"])
        for block in sorted(every):
            alone = by_set.get(frozenset({block}), NONE)
            lost = (by_set[every] - by_set.get(every - {block}, NONE)).dropna()
            row = {**names, "block": block, "runs": runs}
            for name, found in zip(QUANTITIES, (alone, lost, values[block]), strict=True):
                made = stats.estimate(found)
                row |= {f"{name}_n": made.n, name: made.mean}
                row |= {f"{name}_low": made.low, f"{name}_high": made.high}
            rows.append(row)
    return pd.DataFrame(rows)


def shapley(by_set: dict[frozenset, pd.Series]) -> pd.DataFrame:
    """Returns each block's value (a column) for each seed that all sets share.

    The frame is empty where the sets do not determine the values.
    """
    every = sorted(max(by_set, key=len))
    found = pd.DataFrame(by_set).dropna()  # a row for each seed, a column for each set
    whole = found.pop(frozenset(every)).to_numpy()[:, None]
    member = np.array([[float(block in blocks) for block in every] for blocks in found])
    first, last = member[:, :-1], member[:, -1:]  # the last value follows from the sum
    weights = np.sqrt([[_weight(len(every), len(blocks))] for blocks in found])
    if len(found) == 0 or np.linalg.matrix_rank(first - last) < len(every) - 1:
        return pd.DataFrame(columns=every, dtype=float)
    left = found.to_numpy() - whole * last.T  # (seeds, sets)
    values = np.linalg.lstsq(weights * (first - last), weights * left.T, rcond=None)[0].T
    values = np.hstack([values, whole - values.sum(1, keepdims=True)])
    return pd.DataFrame(values, index=found.index, columns=every)


def _weight(count: int, size: int) -> float:
    return (count - 1) / (comb(count, size) * size * (count - size))
