"""Each statistic by a second route: another function of scipy, or simulation with known truth."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from attn import stats
from attn.stats import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Estimate

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
    assert stats.p_value([1.0] * 10, against=0.5) == signs and stats.p_value([0.5] * 3, 0.5) == 1
    assert math.isnan(stats.p_value([1.0]))


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


def test_holm_is_the_closed_test_of_bonferroni():
    """The adjusted p is the largest Bonferroni p of all subsets of hypotheses with this one."""
    p = np.array([0.012, 0.4, 0.001, 0.03])
    subsets = [[i for i in range(4) if mask >> i & 1] for mask in range(1, 16)]
    closed = [max(len(s) * p[s].min() for s in subsets if i in s) for i in range(4)]
    assert stats.holm(p) == pytest.approx(np.minimum(1, closed))
    untested = stats.holm([0.02, math.nan, 0.04])
    assert untested[[0, 2]] == pytest.approx([0.06, 0.08]) and math.isnan(untested[1])


@pytest.mark.parametrize("target", [0.0, 0.5, -1.0])
def test_equivalence_is_a_90_percent_interval_within_the_margin(rng, target):
    values = rng.normal(0.1, 0.3, 12)
    ninety = stats.estimate(values, 0.90)
    for margin in (0.05, 0.2, 0.4, 0.8, 1.6):
        inside = target - margin < ninety.low and ninety.high < target + margin
        assert (stats.tost(values, target, margin) < 0.05) == inside
    signs = scipy_stats.binomtest(4, 4, alternative="greater").pvalue
    assert stats.tost([0.2] * 4, 0, 0.3) == signs and stats.tost([0.4] * 4, 0, 0.3) == 1


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

        return scipy_stats.power(test, sample, n, significance=0.05, n_resamples=4000).power

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
    better = Estimate(10, 1.2, 0.1, 1.1, 1.3)
    assert stats.no_worse_verdict(better, 0.0, 0.5, 10) == REPRODUCED
    worse = Estimate(10, -1.2, 0.1, -1.3, -1.1)
    assert stats.no_worse_verdict(worse, 1.0, 0.5, 10) == CONTRADICTED
    assert stats.no_worse_verdict(worse, 1.0, 0.5, 11) == INCONCLUSIVE
    unclear = Estimate(10, -0.5, 1.0, -1.1, 0.1)
    assert stats.no_worse_verdict(unclear, 0.5, 0.5, 10) == INCONCLUSIVE


V = [  # mean, low, high, adjusted p, direction, verdict; smallest effect of interest 0.3
    (1.0, 0.5, 1.5, 0.01, "more", REPRODUCED),
    (1.0, 0.5, 1.5, 0.09, "more", INCONCLUSIVE),  # not after the table's adjustment
    (0.2, 0.1, 0.25, 0.01, "more", REPRODUCED),  # there, if small
    (0.2, 0.1, 0.25, 0.09, "more", INCONCLUSIVE),  # an adjustment contradicts nothing
    (0.0, -0.2, 0.25, 0.9, "more", CONTRADICTED),
    (-1.0, -1.5, -0.5, 0.01, "more", CONTRADICTED),
    (0.1, -0.4, 0.6, 0.5, "more", INCONCLUSIVE),
    (-1.0, -1.5, -0.5, 0.01, "less", REPRODUCED),
    (0.0, -0.25, 0.2, 0.9, "less", CONTRADICTED),
    (-0.1, -0.6, 0.4, 0.5, "less", INCONCLUSIVE),
    (-1.0, -1.5, -0.5, 0.01, "either", REPRODUCED),
    (1.0, 0.5, 1.5, 0.01, "either", REPRODUCED),
    (0.0, -0.2, 0.2, 0.9, "either", CONTRADICTED),
    (0.0, -0.4, 0.2, 0.9, "either", INCONCLUSIVE),
]


@pytest.mark.parametrize(("mean", "low", "high", "p", "direction", "expected"), V)
def test_verdicts(mean, low, high, p, direction, expected):
    found = Estimate(10, mean, 1.0, low, high)
    assert stats.verdict(found, p, direction, 0.3, 10) == expected
    assert stats.verdict(found, p, direction, 0.3, 11) == INCONCLUSIVE  # too few seeds


NUMBERS = [  # low, high, p of equivalence, verdict; published 1, margin 0.5
    (0.7, 1.2, 0.01, REPRODUCED),
    (0.2, 1.2, 0.2, INCONCLUSIVE),
    (-0.5, 0.4, 0.9, CONTRADICTED),
    (1.6, 2.0, 0.9, CONTRADICTED),
]


@pytest.mark.parametrize(("low", "high", "p", "expected"), NUMBERS)
def test_verdicts_on_numbers(low, high, p, expected):
    found = Estimate(10, (low + high) / 2, 1.0, low, high)
    assert stats.number_verdict(found, p, 1.0, 0.5, 10) == expected
    assert stats.number_verdict(found, p, 1.0, 0.5, 11) == INCONCLUSIVE


def test_the_best_and_its_equals(rng):
    seeds = np.arange(8)
    noise = rng.normal(0, 0.05, (8, 3))
    shared = rng.normal(0, 2.0, (8, 1))  # which pairing takes out
    values = pd.DataFrame(shared + noise + [1.0, 1.0, 0.0], columns=["a", "b", "c"], index=seeds)
    assert stats.equals_of_best(values) == {"a", "b"}
    values.loc[5:, "b"] = np.nan  # too few seeds to take part
    assert stats.equals_of_best(values) == {"a"}
    assert stats.equals_of_best(values.iloc[:4]) == set()


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


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["more", "less", "either"])
def test_no_effect_is_rarely_reproduced(direction):
    verdicts = [stats.verdict(f, p, direction, 0.5, 10) for f, p, _ in simulated(0.0, 10)]
    rate = verdicts.count(REPRODUCED) / len(verdicts)
    assert rate < (0.06 if direction == "either" else 0.033)


@pytest.mark.slow
def test_a_table_of_no_effects_rarely_reproduces_any():
    """Holm keeps the rate of tables with a false verdict at 5%, as single tests do not."""
    rng = np.random.default_rng(5)
    wrong = {"holm": 0, "single": 0}
    for _ in range(2000):
        values = rng.normal(0, 1, (6, 10))
        p = np.array([stats.p_value(row) for row in values])
        found = [stats.estimate(row) for row in values]
        for name, used in (("holm", stats.holm(p)), ("single", p)):
            verdicts = [
                stats.verdict(f, q, "either", 0.5, 10) for f, q in zip(found, used, strict=True)
            ]
            wrong[name] += REPRODUCED in verdicts
    assert wrong["holm"] / 2000 < 0.065 and wrong["single"] / 2000 > 0.2


@pytest.mark.slow
def test_a_planted_effect_is_found_with_the_promised_power():
    n = stats.seeds_needed(1.0, 0.8)
    verdicts = [stats.verdict(f, p, "more", 0.8, n) for f, p, _ in simulated(0.8, n)]
    assert verdicts.count(REPRODUCED) / len(verdicts) == pytest.approx(0.8, abs=0.035)
    verdicts = [stats.verdict(f, p, "more", 0.8, n) for f, p, _ in simulated(0.0, n)]
    assert verdicts.count(CONTRADICTED) / len(verdicts) == pytest.approx(0.8, abs=0.035)


@pytest.mark.slow
def test_a_true_number_is_reproduced_with_the_promised_power():
    """As others have simulated: sd 0.25, margin 0.3: 0.49 at five seeds, 0.75 at 7, 0.93 at 10."""
    for n, power in ((5, 0.49), (7, 0.75), (10, 0.93)):
        verdicts = [
            stats.number_verdict(found, stats.tost(values, 0.7, 1.2), 0.7, 1.2, n)
            for found, _, values in simulated(0.7, n)
        ]
        assert verdicts.count(REPRODUCED) / len(verdicts) == pytest.approx(power, abs=0.035)
        assert verdicts.count(CONTRADICTED) < 0.01 * len(verdicts)


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
def test_no_worse_is_rarely_said_of_what_is_worse():
    verdicts = [
        stats.no_worse_verdict(found, stats.no_worse_p(values, 0.5), 0.5, 10)
        for found, _, values in simulated(-0.5, 10)
    ]
    assert verdicts.count(REPRODUCED) / len(verdicts) == pytest.approx(0.05, abs=0.012)
