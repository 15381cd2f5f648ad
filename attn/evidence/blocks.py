"""Measures what attention gains in one block: alone, by what is lost without it, by Shapley value.

A Shapley value is the mean gain of a block over all orders in which blocks get their attention
(Shapley 1953). Here it comes from the sets of blocks that were trained, by the weighted regression
of Lundberg and Lee (arXiv:1705.07874): a sum of a value for each block that fits the gains of the
sets, and adds up to the gain of all blocks. The fit is exact where all sets were trained, and where
gains are sums over blocks and pairs of blocks and each set was trained with its complement.
"""

from math import comb

import numpy as np
import pandas as pd

from attn import stats
from attn.evidence.group import Group, by_pair, estimate_columns, one_configuration
from attn.evidence.variants import attention_apart
from attn.names import AT_OTHER_SEAMS, BLOCKS

MECHANISM = ["backbone", "data", "attention"]
PREFIX = "blocks "
QUANTITIES = {"alone": "alone", "without": "lost without", "shapley": "Shapley value"}


def numbers(stages: str) -> frozenset:
    """Returns the blocks that a value of the column `stages` names."""
    return frozenset(int(word) for word in stages.removeprefix(PREFIX).split("+"))


def gains(group: Group) -> list[tuple[dict, dict[frozenset, pd.Series], list[str]]]:
    """Returns (names, {blocks: points above no attention, by environment and seed}, runs).

    There is an entry for each mechanism, and each variant of it, of which sets of blocks were
    trained. The set of all blocks has its gains where that was trained too.
    """
    found = []
    inside = group.runs[group.runs["location"] == "per_block"]
    inside = inside.assign(attention=attention_apart(inside))
    for key, runs in inside.groupby([*MECHANISM, "variant"]):
        names = dict(zip([*MECHANISM, "variant"], key, strict=True))
        sets = {s: numbers(s) for s in runs["stages"].unique() if s.startswith(PREFIX)}
        if not sets:
            continue
        alike = group.runs[(group.runs[["backbone", "data"]] == [*key[:2]]).all(axis=1)]
        without = one_configuration(alike[alike["location"] == "none"])
        plain = _accuracies(without)
        if "all" in set(runs["stages"]) and (every := every_block(names)):
            sets["all"] = every
        by_set = {
            blocks: (_accuracies(runs[runs["stages"] == text]) - plain).dropna()
            for text, blocks in sets.items()
        }
        found.append((names, by_set, [*without["run"], *runs["run"][runs["stages"].isin(sets)]]))
    return found


def every_block(names: dict) -> frozenset:
    """Returns the blocks of a backbone in which a mechanism can stand; empty where not known."""
    backbone, _, options = names["backbone"].partition("+")
    elsewhere = names["attention"].partition("+")[0] in AT_OTHER_SEAMS or "refine_at=" in options
    return frozenset() if elsewhere else frozenset(BLOCKS.get(backbone, ()))


def _accuracies(runs: pd.DataFrame) -> pd.Series:
    return 100 * by_pair(runs, "test_accuracy")


def table(group: Group) -> pd.DataFrame:
    """Returns a row for each block of each mechanism, with means and t-intervals over seeds."""
    rows = []
    for names, by_set, runs in gains(group):
        every = every_block(names)
        values = shapley(by_set, every)
        for block in sorted(frozenset().union(*by_set)):
            found = {
                "alone": by_set.get(frozenset({block}), []),
                "without": _lost(by_set, every, block),
                "shapley": values.get(block, []),
            }
            row = {**names, "block": block, "runs": " ".join(runs)}
            for name, differences in found.items():
                made = stats.estimate(differences)
                row |= {f"{name}_n": made.n} | estimate_columns(name, made)
            rows.append(row)
    return pd.DataFrame(rows)


def _lost(by_set: dict[frozenset, pd.Series], every: frozenset, block: int):
    """Returns by seed what all blocks gain above all but one; empty where either is missing.

    every: all blocks; empty where they are not known.
    """
    others = every - {block}
    there = bool(every) and {every, others} <= by_set.keys()
    return (by_set[every] - by_set[others]).dropna() if there else []


def shapley(by_set: dict[frozenset, pd.Series], every: frozenset) -> pd.DataFrame:
    """Returns each block's value (a column) for each seed that all sets share.

    every: all blocks. The frame is empty where the sets do not determine the values.
    """
    nothing, order = pd.DataFrame(columns=sorted(every), dtype=float), sorted(every)
    if every not in by_set or len(by_set) == 1 or not all(blocks <= every for blocks in by_set):
        return nothing
    found = pd.DataFrame(by_set).dropna()  # a row for each seed, a column for each set
    whole = found.pop(every).to_numpy()[:, None]
    member = np.array([[float(block in blocks) for block in order] for blocks in found])
    first, last = member[:, :-1], member[:, -1:]  # the last value follows from the sum
    weights = np.sqrt([[_weight(len(every), len(blocks))] for blocks in found])
    if len(found) == 0 or np.linalg.matrix_rank(first - last) < len(every) - 1:
        return nothing
    left = found.to_numpy() - whole * last.T  # (seeds, sets)
    values = np.linalg.lstsq(weights * (first - last), weights * left.T, rcond=None)[0].T
    values = np.hstack([values, whole - values.sum(1, keepdims=True)])
    return pd.DataFrame(values, index=found.index, columns=order)


def _weight(count: int, size: int) -> float:
    return (count - 1) / (comb(count, size) * size * (count - size))
