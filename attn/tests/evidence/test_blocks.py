"""What attention gains in one block, against games whose Shapley values are known."""

import itertools

import numpy as np
import pandas as pd
import pytest
import yaml

from attn.config.words import elements, varied
from attn.evidence import blocks
from attn.evidence.blocks import numbers, shapley
from attn.report.figures import places
from attn.tests.made_up import group_of, run


def by_set(game, sets):
    """A game's gains for each set of blocks, for two seeds of which the second gains twice."""
    return {blocks: pd.Series([game(blocks), 2 * game(blocks)]) for blocks in map(frozenset, sets)}


def curved(blocks):
    """Blocks that need each other: more than a sum of each block's own gain."""
    return sum(blocks) + 2.0 * ({1, 2} <= blocks) - 3.0 * ({2, 3, 4} <= blocks) + len(blocks) ** 1.5


def over_orders(game, count):
    """Shapley values by their definition: mean gains over all orders."""
    values = np.zeros(count)
    orders = list(itertools.permutations(range(1, count + 1)))
    for order in orders:
        for i, block in enumerate(order):
            before = frozenset(order[:i])
            values[block - 1] += (game(before | {block}) - game(before)) / len(orders)
    return values


def test_shapley_values_of_all_sets_are_the_mean_gains_over_all_orders():
    sets = [s for size in range(1, 5) for s in itertools.combinations(range(1, 5), size)]
    found = shapley(by_set(curved, sets), frozenset(range(1, 5)))
    expected = over_orders(curved, 4)
    np.testing.assert_allclose(found.to_numpy(), [expected, 2 * expected], rtol=1e-9)


def trained_sets() -> list[frozenset]:
    """The sets of blocks that experiment=blocks trains, as Hydra reads them."""
    (override,) = [one for one in varied("blocks") if one.key_or_group == "blocks"]
    chosen = elements(override)
    assert chosen.pop(0) == "all"
    return [frozenset(yaml.safe_load(text)) for text in chosen]


def test_the_experiment_has_each_block_alone_without_and_in_balance():
    sets, every = trained_sets(), frozenset(range(1, 10))
    assert len(sets) == len(set(sets)) == 30
    assert {every - chosen for chosen in sets} == set(sets)
    assert [len(chosen) for chosen in sets].count(1) == 9
    assert len({sum(block in chosen for chosen in sets) for block in every}) == 1
    found = shapley(by_set(pairs, [*sets, every]), every)
    np.testing.assert_allclose(found.iloc[0], by_halves(pairs, every), rtol=1e-9)


def pairs(blocks):
    """Blocks that need each other in pairs, whose values any balanced sets give."""
    both = [i * j for i, j in itertools.combinations(sorted(blocks), 2) if (i + j) % 3 == 0]
    return sum(blocks) + 0.1 * sum(both)


def by_halves(game, every):
    """Shapley values of pairs: each of two blocks has half of what they gain together."""
    values = [game({block}) for block in sorted(every)]
    for i, j in itertools.combinations(sorted(every), 2):
        together = game({i, j}) - game({i}) - game({j})
        values[i - 1] += together / 2
        values[j - 1] += together / 2
    return values


@pytest.mark.parametrize("game", [sum, curved])
def test_the_values_add_up_to_the_gain_of_all_blocks(game):
    sets = [*([i] for i in range(1, 5)), *([j for j in range(1, 5) if j != i] for i in range(1, 5))]
    found = shapley(by_set(game, [*sets, range(1, 5)]), frozenset(range(1, 5)))
    np.testing.assert_allclose(
        found.sum(axis=1), [game(frozenset(range(1, 5))) * k for k in (1, 2)]
    )
    if game is sum:  # where blocks do not need each other, each block has its own gain
        np.testing.assert_allclose(found.iloc[0], [1, 2, 3, 4], rtol=1e-9)


def test_too_few_sets_give_no_values():
    every = frozenset({1, 2, 3})
    assert shapley(by_set(sum, [[1], [1, 2, 3]]), every).empty
    assert shapley(by_set(sum, [[1], [2], [3]]), every).empty  # without the set of all
    assert shapley(by_set(sum, [[1, 2, 3]]), every).empty
    assert shapley(by_set(sum, [[1], [2], [3], [1, 2, 3, 4]]), every).empty  # of another network
    nobody = {frozenset({1}): pd.Series([1.0]), every: pd.Series(dtype=float)}
    assert shapley(nobody, every).empty


@pytest.mark.parametrize("sets", [["blocks 3"], ["blocks 1", "blocks 2"], ["blocks 1+2", "all"]])
def test_a_sweep_that_is_not_whole_has_what_it_has(tmp_path, sets):
    level = {"backbone": "resnet20", "data": "rgb"}
    for seed in range(2):
        run(tmp_path, seed, 0.8, **level)
        for text in [*sets, "1"]:  # stages are not blocks
            words = level | {"attention": "se", "location": "per_block", "stages": text}
            run(tmp_path, seed, 0.81, configuration=f"c{text}", **words)
    frame = blocks.table(group_of(tmp_path))
    trained = frozenset().union(*(numbers(text) for text in sets if text != "all"))
    assert set(frame["block"]) == (set(range(1, 10)) if "all" in sets else trained)
    alone = [len(numbers(text)) == 1 for text in sets if text != "all"]
    assert frame["alone_n"].max() == (2 if any(alone) else 0)
    assert frame["without_n"].max() == 0 and frame["shapley_n"].max() == 0
    assert all(not run.startswith("c1-") for run in frame["runs"].iloc[0].split())


def test_the_table_holds_means_over_seeds(tmp_path):
    """Nine blocks of which most gain nothing, in ten seeds of different levels."""
    gains = dict.fromkeys(range(1, 10), 0.0) | {1: 0.01, 3: 0.02, 4: -0.005}
    sets = [*({i} for i in gains), *(set(gains) - {i} for i in gains)]
    for seed in range(10):
        level = {"backbone": "resnet20", "data": "rgb"}
        run(tmp_path, seed, 0.8 + 0.01 * seed, **level)
        for number, chosen in enumerate([*sets, set(gains)]):
            text = "all" if len(chosen) == 9 else "blocks " + "+".join(map(str, sorted(chosen)))
            gain = sum(gains[block] for block in chosen) + 0.001 * (seed % 2)
            level |= {"attention": "se", "location": "per_block", "stages": text}
            run(tmp_path, seed, 0.8 + 0.01 * seed + gain, configuration=f"s{number}", **level)
    group = group_of(tmp_path)
    frame = blocks.table(group).set_index("block")
    assert list(frame.index) == list(gains)
    points = 100 * np.array(list(gains.values()))
    assert frame["alone"].tolist() == pytest.approx(points + 0.05)
    assert frame["without"].tolist() == pytest.approx(points)
    assert frame["shapley"].tolist() == pytest.approx(points + 0.05 / 9)
    assert (frame[["alone_n", "without_n", "shapley_n"]] == 10).all().all()
    half = 2.262157 * 0.05270463 / 10**0.5  # of gains of 0 and 0.1 points, five times each
    assert (frame["alone_high"] - frame["alone"]).tolist() == pytest.approx([half] * 9, rel=1e-5)
    (path,) = places.by_block(group, tmp_path)
    assert path.name == "blocks-resnet20-rgb.png" and path.stat().st_size > 10_000


def test_stages_are_no_blocks(tmp_path):
    for seed in range(2):
        run(tmp_path, seed, 0.8, data="rgb")
        for stages in ("all", "1", "2"):
            words = {"attention": "se", "location": "per_block", "stages": stages}
            run(tmp_path, seed, 0.8, data="rgb", configuration=f"c{stages}", **words)
    assert blocks.table(group_of(tmp_path)).empty
    assert numbers("blocks 1+12") == {1, 12}
