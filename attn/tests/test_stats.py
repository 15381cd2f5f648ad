"""Each statistic by a second route: another function of scipy, or simulation with known truth."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from attn import stats
from attn.evidence.claims_file import load
from attn.stats import CONTRADICTED, INCONCLUSIVE, INSIDE, OUTSIDE, REPRODUCED, Adjusted, Estimate

VALUES = np.random.default_rng(20_26).normal(0.4, 1.0, 7)


@pytest.fixture
def rng():
    """Its numbers do not depend on which tests ran before."""
    return np.random.default_rng(20_26)


def test_the_interval_is_the_t_distributions():
    found = stats.estimate(VALUES)
    scale = scipy_stats.sem(VALUES)
    low, high = scipy_stats.t.interval(0.95, 6, loc=VALUES.mean(), scale=scale)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.n, found.mean, found.sd) == pytest.approx(
        (7, VALUES.mean(), np.std(VALUES, ddof=1))
    )


def test_few_or_equal_values_have_the_interval_that_they_can_have():
    assert stats.estimate([]).n == 0 and math.isnan(stats.estimate([]).mean)
    one = stats.estimate([0.3])
    assert one.mean == 0.3 and math.isnan(one.low) and math.isnan(one.sd)
    same = stats.estimate([1.0] * 10)
    assert (same.low, same.mean, same.high, same.sd) == (1.0, 1.0, 1.0, 0.0)
    signs = scipy_stats.binomtest(10, 10).pvalue
    assert stats.p_value([1.0] * 10) == signs and stats.p_value([0.0] * 3) == 1
    assert math.isnan(stats.p_value([1.0]))
    rounded = 100 * (np.linspace(0.7, 0.8, 10) + 0.0035) - 100 * np.linspace(0.7, 0.8, 10)
    assert np.ptp(rounded) > 0 and stats.p_value(rounded) == signs
    assert stats.estimate(rounded).sd == 0 and stats.too_small_p(rounded, "more", 0.3) == 1
    assert stats.seeds_needed(rounded.std(ddof=1), 0.3) == 2


def test_pairs_are_a_paired_t_test_on_the_seeds_that_both_have(rng):
    seeds = list(range(8))
    a = pd.Series(rng.normal(1, 1, 8), index=seeds)
    b = pd.Series(rng.normal(0, 1, 8), index=seeds[::-1])  # another order of the same seeds
    pairs = stats.paired(a, b.drop(3))
    assert pairs.seeds == [0, 1, 2, 4, 5, 6, 7]
    x, y = a[pairs.seeds], b[pairs.seeds]
    other = scipy_stats.ttest_rel(x, y)
    assert stats.p_value(pairs.differences) == pytest.approx(other.pvalue)
    found = stats.estimate(pairs.differences)
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval(0.95)))
    assert pairs.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pairs.wins == np.mean(x.to_numpy() > y.to_numpy())
    ties = stats.paired(pd.Series([1.0, 2.0]), pd.Series([1.0, 1.0]))
    assert ties.wins == 0.75 and math.isnan(ties.correlation)
    several = pd.Series([1.0, 2.0, 3.0], index=[("b", 0), ("a", 1), ("a", 0)])
    assert stats.paired(several, 0 * several).differences.tolist() == [3.0, 1.0, 2.0]


def test_the_pooled_sd_is_that_of_an_analysis_of_variance(rng):
    samples = [rng.normal(mean, 2, n) for mean, n in ((0, 2), (5, 3), (1, 6), (2, 1))]
    sd, freedom = stats.pooled_sd(samples)
    means, counts = [x.mean() for x in samples], [len(x) for x in samples]
    between = np.cov(means, fweights=counts) * (sum(counts) - 1) / 3
    ratio = scipy_stats.f_oneway(*samples).statistic
    assert (sd**2, freedom) == (pytest.approx(between / ratio), 8)
    assert stats.pooled_sd([[1.0], [2.0]])[1] == 0
    alone = stats.estimate(VALUES)
    assert stats.half_width(alone.sd, 7, 6) == pytest.approx(alone.high - alone.mean)


def test_the_band_of_a_sweep_holds_92_percent_of_its_cells(rng):
    """Simulated: 50 cells of two seeds, no effect, a baseline that they share."""
    inside = []
    for _ in range(1000):
        cells = rng.normal(size=(50, 2)) - rng.normal(size=2)
        sd, freedom = stats.pooled_sd(cells)
        half = stats.half_width(sd, 2, freedom)
        inside.append(np.mean(np.abs(cells.mean(1)) < half))
    assert np.mean(inside) == pytest.approx(0.92, abs=0.02)


@pytest.mark.parametrize(
    "p", [[0.012, 0.4, 0.001, 0.03], [0.01, 0.5, 0.0101], [0.02, 0.02, 0.021, 0.9]], ids=str
)
def test_holm_is_the_closed_test_of_bonferroni(p):
    """The adjusted p is the largest Bonferroni p of all subsets of hypotheses with this one."""
    p = np.array(p)
    every = range(len(p))
    subsets = [[i for i in every if mask >> i & 1] for mask in range(1, 2 ** len(p))]
    closed = [max(len(s) * p[s].min() for s in subsets if i in s) for i in every]
    assert stats.holm(p) == pytest.approx(np.minimum(1, closed))


def test_a_hypothesis_without_a_p_counts_in_holms_adjustment():
    untested = stats.holm([0.02, math.nan, 0.04])
    assert untested[[0, 2]] == pytest.approx([0.06, 0.08]) and math.isnan(untested[1])


def test_auc_is_the_share_of_pairs_in_the_right_order():
    good, bad = [0.9, 0.5, 0.4], [0.1, 0.4, 0.6]
    pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    assert stats.auc(good, bad) == pytest.approx(np.mean(pairs))
    assert stats.auc([0.9, 0.8], [0.1, 0.2]) == 1 and stats.auc([0.5], [0.5]) == 0.5


def test_rank_correlation_is_spearmans(rng):
    a, b = rng.normal(size=20), rng.normal(size=20)
    found = stats.rank_correlation(a, b)
    assert found.mean == pytest.approx(scipy_stats.spearmanr(a, b).statistic)
    assert -1 <= found.low < found.mean < found.high <= 1
    assert math.isnan(stats.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).mean)
    perfect = stats.rank_correlation(range(6), range(6))
    assert perfect.mean == pytest.approx(1) and math.isnan(perfect.low)  # no interval of no width


@pytest.mark.parametrize("effect", [0.3, 0.6, 1.2])
def test_the_seeds_that_are_needed_have_the_power_that_is_asked(effect):
    n = stats.seeds_needed(1.0, effect)
    rng = np.random.default_rng(7)

    def power(n):
        def test(x, axis):
            return scipy_stats.ttest_1samp(x, 0, axis=axis)

        def sample(size):
            return rng.normal(effect, 1.0, size)

        return scipy_stats.power(test, sample, n, significance=stats.LOOK, n_resamples=4000).power

    assert power(n) > 0.78  # 0.80 less three standard errors
    assert power(max(2, n - max(2, n // 10))) < 0.80


def test_seeds_that_cannot_be_known_or_trained():
    assert stats.seeds_needed(math.nan, 0.3) is None and stats.seeds_needed(0.0, 0.3) == 2
    assert stats.seeds_needed(10.0, 0.1) is None  # more than can be trained
    assert stats.seeds_needed(1.0, 0.5, sides=1) < stats.seeds_needed(1.0, 0.5)


def test_no_worse_is_a_one_sided_test_against_the_margin(rng):
    values = rng.normal(-0.1, 0.3, 10)
    for margin in (0.05, 0.2, 0.4):
        ninety = stats.estimate(values, 0.90)  # its lower end leaves 5% below
        assert (stats.no_worse_p(values, margin) < 0.05) == (ninety.low > -margin)
    signs = scipy_stats.binomtest(4, 4, alternative="greater").pvalue
    assert stats.no_worse_p([-0.2] * 4, 0.3) == signs and stats.no_worse_p([-0.4] * 4, 0.3) == 1
    better, worse = Estimate(10, 1.2, 0.1, 1.1, 1.3), Estimate(10, -1.2, 0.1, -1.3, -1.1)
    assert stats.verdict(better, Adjusted(0.0, 1.0), "no_worse", 0.5, 10) == REPRODUCED
    assert stats.verdict(worse, Adjusted(1.0, 0.0), "no_worse", 0.5, 10) == CONTRADICTED
    assert stats.verdict(worse, Adjusted(1.0, 0.0), "no_worse", 0.5, 11) == INCONCLUSIVE
    assert stats.verdict(worse, Adjusted(1.0, 0.04), "no_worse", 0.5, 10) == INCONCLUSIVE
    wide = Estimate(10, -2.2, 1.0, -2.8, -1.6)
    assert stats.verdict(wide, Adjusted(1.0, 0.0), "no_worse", 0.5, 10) == INCONCLUSIVE


V = [  # mean, low, high, adjusted p of an effect and of a small one, direction; smallest 0.3
    (1.0, 0.5, 1.5, 0.01, 1.0, "more", REPRODUCED),
    (1.0, 0.5, 1.5, 0.04, 1.0, "more", INCONCLUSIVE),  # not at the level of a look
    (0.2, 0.1, 0.25, 0.01, 0.01, "more", REPRODUCED),  # there, if small
    (0.2, 0.1, 0.25, 0.09, 0.01, "more", INCONCLUSIVE),  # an adjustment contradicts nothing
    (0.0, -0.2, 0.25, 0.9, 0.02, "more", CONTRADICTED),
    (0.0, -0.2, 0.25, 0.9, 0.04, "more", INCONCLUSIVE),  # nor does an interval without one
    (-1.0, -1.4, -0.6, 0.01, 0.001, "more", CONTRADICTED),
    (-2.0, -2.6, -1.4, 0.01, 0.001, "more", INCONCLUSIVE),  # too wide: a bad draw
    (0.1, -0.4, 0.6, 0.5, 0.5, "more", INCONCLUSIVE),
    (-1.0, -1.5, -0.5, 0.01, 1.0, "less", REPRODUCED),
    (0.0, -0.25, 0.2, 0.9, 0.02, "less", CONTRADICTED),
    (-0.1, -0.6, 0.4, 0.5, 0.5, "less", INCONCLUSIVE),
]


@pytest.mark.parametrize(("mean", "low", "high", "effect", "small", "direction", "expected"), V)
def test_verdicts(mean, low, high, effect, small, direction, expected):
    found, p = Estimate(10, mean, 1.0, low, high), Adjusted(effect, small)
    assert stats.verdict(found, p, direction, 0.5, 10) == expected
    assert stats.verdict(found, p, direction, 0.5, 11) == INCONCLUSIVE  # too few seeds


@pytest.mark.parametrize("direction", ["more", "less"])
def test_too_small_is_an_interval_within_the_smallest_effect(rng, direction):
    """Of one side: the interval of the same level lies below it; doubled, of 97.5%."""
    values = rng.normal(0.0, 0.3, 12)
    low, high = scipy_stats.t.interval(0.95, 11, values.mean(), scipy_stats.sem(values))
    for smallest in (0.05, 0.1, 0.2, 0.3, 0.5):
        inside = {"more": high < smallest, "less": low > -smallest}
        assert (stats.too_small_p(values, direction, smallest) < 0.05) == inside[direction]
    assert math.isnan(stats.too_small_p([1.0], direction, 0.3))
    assert stats.too_small_p([0.0] * 10, direction, 0.3) == 2 * 0.5**10
    assert stats.too_small_p([0.4] * 10, "more", 0.3) == 1


def test_one_more_run_lies_where_it_is_predicted(rng):
    """Simulated, for one run and for a difference of runs that share no seed."""
    inside = {"run": [], "difference": []}
    for _ in range(4000):
        a, b = rng.normal(3, 1, 8), rng.normal(1, 1, 6)
        one, other = rng.normal(3, 1), rng.normal(1, 1)
        inside["run"].append(stats.placed(one, stats.prediction(a)))
        predicted = stats.prediction(a, b)
        inside["difference"].append(stats.placed(one - other, predicted))
    for places in inside.values():
        assert places.count(INSIDE) / 4000 == pytest.approx(0.95, abs=0.012)
        assert set(places) == {INSIDE, OUTSIDE}
    assert stats.placed(1.0, stats.prediction([2.0])) == ""
    assert stats.placed(1.0, stats.prediction([2.0, 3.0], [1.0])) == ""


def test_the_best_and_its_equals(rng):
    seeds = np.arange(8)
    noise = rng.normal(0, 0.05, (8, 3))
    shared = rng.normal(0, 2.0, (8, 1))  # which pairing takes out
    values = pd.DataFrame(shared + noise + [1.0, 1.0, 0.0], columns=["a", "b", "c"], index=seeds)
    assert stats.equals_of_best(values) == {"a", "b"}
    apart = pd.DataFrame({"a": values["a"], "b": values["b"].set_axis(seeds + 5)})
    assert stats.equals_of_best(apart) == set()  # three seeds are in both
    more = pd.DataFrame({"a": shared[:, 0] + 0.1, "b": shared[:, 0]}, index=seeds)
    more.loc[8, "a"] = -50.0  # a seed of one configuration says nothing of which is better
    assert stats.equals_of_best(more) == {"a"}
    values.loc[5:, "b"] = np.nan  # too few seeds: which is best is not known
    assert stats.equals_of_best(values) == set()


def simulated(effect: float, n: int, count: int = 4000):
    """Estimates and p-values of many claims with a known effect, sd 1."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        values = rng.normal(effect, 1.0, n)
        yield stats.estimate(values), stats.p_value(values), values


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_what_it_says(n):
    covered = np.mean([found.low <= 0.7 <= found.high for found, _, _ in simulated(0.7, n)])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def looked_at(draw, sizes, direction="more", smallest=0.3, most=60):
    """The verdicts of a report after two looks; draw(n, claim) gives n differences of a claim.

    sizes: how many claims each family has. The second look is taken where the first leaves a claim
    inconclusive, with as many seeds as its sd then asks for, at most `most`.
    """
    families = np.repeat(np.arange(len(sizes)), sizes)
    values = [draw(10, claim) for claim in range(len(families))]
    first = judged(values, families, direction, smallest)
    for claim, said in enumerate(first):
        if said == INCONCLUSIVE:
            needs = stats.seeds_needed(values[claim].std(ddof=1), smallest) or most
            more = draw(max(0, min(needs, most) - 10), claim)
            values[claim] = np.concatenate([values[claim], more])
    second = judged(values, families, direction, smallest)
    return [b if a == INCONCLUSIVE else a for a, b in zip(first, second, strict=True)]


def judged(values, families, direction, smallest):
    effects = np.array([stats.p_value(v) for v in values])
    small = np.array([stats.too_small_p(v, direction, smallest) for v in values])
    for family in np.unique(families):
        mine = families == family
        effects[mine], small[mine] = stats.holm(effects[mine]), stats.holm(small[mine])
    return [
        stats.verdict(stats.estimate(v), Adjusted(e, s), direction, 0.5, 10)
        for v, e, s in zip(values, effects, small, strict=True)
    ]


def rates(word, effect, sizes, sd, count, seed=5):
    """How often any claim of a report gets a word when all have the same true effect."""
    rng = np.random.default_rng(seed)
    reports = (looked_at(lambda n, _: rng.normal(effect, sd, n), sizes) for _ in range(count))
    return np.mean([word in verdicts for verdicts in reports])


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.4, 0.7, 2.0])
@pytest.mark.parametrize(("word", "effect"), [(REPRODUCED, 0.0), (CONTRADICTED, 0.3)])
def test_a_table_is_wrong_in_at_most_5_percent_after_two_looks(word, effect, sd):
    """False `reproduced` where nothing is there; false `contradicted` where the smallest is."""
    assert rates(word, effect, [4], sd, 400) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
@pytest.mark.parametrize(("word", "effect"), [(REPRODUCED, 0.0), (CONTRADICTED, 0.3)])
def test_over_the_whole_report_the_primary_claims_keep_that_rate(word, effect):
    """The exploratory claims do not: each table has a rate of its own."""
    _, claims = load()
    families = Counter(c.family for c in claims if c.metric == "test_accuracy")
    sizes = [families.pop("primary"), *families.values()]
    rng, wrong = np.random.default_rng(8), {"primary": 0, "report": 0}
    for _ in range(150):
        verdicts = looked_at(lambda n, _: rng.normal(effect, 0.7, n), sizes)
        wrong["primary"] += word in verdicts[: sizes[0]]
        wrong["report"] += word in verdicts
    assert wrong["primary"] / 150 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert wrong["report"] / 150 < 1 - 0.95 ** len(sizes) + 0.05


@pytest.mark.slow
def test_a_bad_draw_of_noisy_runs_contradicts_nothing():
    """With an sd of 2 points, as of two epochs, ten seeds had often contradicted what is true."""
    rng = np.random.default_rng(4)
    samples = [rng.normal(0.3, 2.0, 10) for _ in range(2000)]
    by_interval = np.mean([stats.estimate(v).high < 0.3 for v in samples])
    families = np.zeros(1, int)
    words = [judged([v], families, "more", 0.3)[0] for v in samples]
    assert by_interval > 0.015 and words.count(CONTRADICTED) < 0.002 * len(words)


@pytest.mark.slow
def test_a_planted_effect_is_found_with_the_promised_power():
    n = stats.seeds_needed(1.0, 0.8)
    found = [
        stats.verdict(f, Adjusted(p, stats.too_small_p(v, "more", 0.8)), "more", 1.0, n)
        for f, p, v in simulated(0.8, n)
    ]
    assert found.count(REPRODUCED) / len(found) == pytest.approx(0.8, abs=0.035)
    none = [
        stats.verdict(f, Adjusted(p, stats.too_small_p(v, "more", 0.8)), "more", 1.0, n)
        for f, p, v in simulated(0.0, n)
    ]
    assert none.count(CONTRADICTED) / len(none) == pytest.approx(0.8, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho"), [(6, 0.0), (6, 0.8), (64, 0.5), (64, 0.9)])
def test_the_rank_correlations_interval_covers_what_it_says(n, rho):
    """The true rank correlation of normal numbers is 6/pi asin(r/2), so r is 2 sin(pi rho/6)."""
    rng = np.random.default_rng(11)
    r = 2 * math.sin(math.pi * rho / 6)
    covered = []
    for _ in range(2000):
        a, b = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], n).T
        found = stats.rank_correlation(a, b)
        if not math.isnan(found.low):
            covered.append(found.low <= rho <= found.high)
    assert 0.93 < np.mean(covered) < 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("sd", "margin"), [(0.5, 0.5), (1.0, 0.5), (0.7, 0.3)])
def test_no_worse_is_rarely_said_of_what_is_worse(sd, margin):
    """After two looks, the second with as many seeds as the first then asks for."""
    rng, wrong = np.random.default_rng(6), []
    for _ in range(2000):
        values = rng.normal(-margin, sd, 10)
        said = [no_worse(values, margin)]
        if said[0] == INCONCLUSIVE:
            more = min(stats.seeds_needed(values.std(ddof=1), margin, sides=1) or 200, 200) - 10
            said.append(no_worse([*values, *rng.normal(-margin, sd, max(1, more))], margin))
        wrong.append(REPRODUCED in said)
    assert 0.025 < np.mean(wrong) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def no_worse(values, margin):
    p = stats.too_small_p(values, "more", -margin)
    p = Adjusted(stats.no_worse_p(values, margin), p)
    return stats.verdict(stats.estimate(values), p, "no_worse", 0.5, 10)


def test_differences_that_are_equal_but_for_rounding_are_ties():
    a = pd.Series([0.1 + 0.2, 0.3, 0.3])
    pairs = stats.paired(a, pd.Series([0.3, 0.1 + 0.2, 0.3]))
    assert pairs.wins == 0.5 and math.isnan(pairs.correlation)
