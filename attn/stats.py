"""The statistics of several seeds: intervals, paired differences, predictions, verdicts, by scipy.

Intervals are Student's t intervals. They keep their nominal coverage at three to ten seeds, where
the percentiles of a bootstrap cover 83% instead of 95% (n=5). Runs are paired by seed: the runs of
one seed share all weights that they can share, their order of images and their noise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
ALPHA = 1 - LEVEL
# A claim may be looked at twice: with its minimum of seeds, and once more with as many as it then
# needs. Each look is at half of 5%, so that both together keep 5% however many seeds they have.
LOOK = 0.025
EQUAL = 1e-9  # values that differ by less are equal: differences of accuracies are rounded
SMOKE = 7  # fewer pairs are a smoke test: no exact test of signs can reach a look's 2.5% with them
POWER = 0.8
MOST_SEEDS = 1000  # to look for; train.py takes no more

DIRECTIONS = ("more", "less", "no_worse", "at_most")
REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
INCONCLUSIVE, NOT_RUN, NO_VERDICT = "inconclusive", "not run", "no verdict"
INSIDE, OUTSIDE = "inside", "outside"


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; a number for which there are too few values is NaN."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


def estimate(values, level: float = LEVEL) -> Estimate:
    """Returns the mean, sd and t-interval of values (n,).

    Equal values have an interval of no width.
    """
    values = np.asarray(values, float)
    if len(values) == 0:
        return Estimate(0, *[math.nan] * 4)
    if len(values) == 1:
        return Estimate(1, values[0], *[math.nan] * 3)
    if np.ptp(values) < EQUAL:
        return Estimate(len(values), values[0], 0.0, values[0], values[0])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    return Estimate(len(values), values.mean(), values.std(ddof=1), low, high)


def within(found: Estimate, bounds: tuple) -> Estimate:
    """Returns the estimate with its interval cut to `bounds`.

    The quantity cannot lie beyond these bounds.
    """
    low, high = np.clip([found.low, found.high], *bounds)
    return replace(found, low=low, high=high)


def exactly(value: float) -> Estimate:
    """Returns the estimate of a value that is counted, not sampled: its interval has no width."""
    return Estimate(1, value, 0.0, value, value)


def p_value(values) -> float:
    """Returns the p of the two-sided t-test that the mean of values (n,) is 0.

    Fewer than two values give NaN. Equal values have no t: here and in the tests below they get the
    test of signs.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return math.nan
    if np.ptp(values) < EQUAL:
        return 1.0 if abs(values[0]) < EQUAL else 2 * 0.5 ** len(values)
    return float(stats.ttest_1samp(values, 0).pvalue)


def holm(p_values) -> np.ndarray:
    """Adjusts p-values (n,) by Holm's method, which scipy does not have; returns (n,).

    A NaN is a test that has not been made yet. It stays NaN and counts as a test, so that an early
    test is not favoured.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")  # NaN last
    weights = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(weights * p_values[order]))
    return adjusted


@dataclass(frozen=True)
class Paired:
    """The pairs of two configurations' values that share a seed."""

    seeds: list[int]
    differences: np.ndarray  # (n,) treatment - control
    correlation: float  # of the pairs; NaN for fewer than three
    wins: float  # the share of pairs in which treatment is above control, ties a half


def paired(treatment: pd.Series, control: pd.Series) -> Paired:
    """Pairs two configurations' values by their index, a seed or (environment, seed).

    An index that only one configuration has is left out.
    """
    seed_of = {key: key[-1] if isinstance(key, tuple) else key for key in treatment.index}
    keys = sorted(set(treatment.index) & set(control.index), key=lambda key: (seed_of[key], key))
    seeds = [seed_of[key] for key in keys]
    a, b = treatment[keys].to_numpy(float), control[keys].to_numpy(float)
    varies = len(seeds) > 2 and np.ptp(a) > EQUAL and np.ptp(b) > EQUAL
    correlation = float(stats.pearsonr(a, b).statistic) if varies else math.nan
    above = np.where(np.abs(a - b) < EQUAL, 0, np.sign(a - b))
    wins = float(np.mean(above / 2 + 0.5)) if seeds else math.nan
    return Paired(seeds, a - b, correlation, wins)


def pooled_sd(samples) -> tuple[float, int]:
    """Returns the sd that samples, each (n,), have in common, and its degrees of freedom.

    Returns NaN and 0 where no sample has two values.
    """
    samples = [np.asarray(values, float) for values in samples if len(values)]
    freedom = sum(len(values) - 1 for values in samples)
    if not freedom:
        return math.nan, 0
    squares = sum(((values - values.mean()) ** 2).sum() for values in samples)
    return math.sqrt(squares / freedom), freedom


def half_width(sd: float, n: int, freedom: int, level: float = LEVEL) -> float:
    """Returns half of the width of the interval of a mean of n values.

    sd: estimated with `freedom` degrees of freedom.
    """
    return float(stats.t.ppf((1 + level) / 2, freedom)) * sd / math.sqrt(n)


def prediction(*samples) -> tuple[float, float]:
    """Returns the interval in which one more value, drawn like a sample (n,), lies.

    Of two samples, the first minus the second: the interval is that of the difference of one more
    value of each, drawn apart. Fewer than two values of a sample give NaN.
    """
    samples = [np.asarray(values, float) for values in samples]
    if min(map(len, samples)) < 2:
        return math.nan, math.nan
    sd, freedom = pooled_sd(samples)
    half = half_width(sd, 1, freedom) * math.sqrt(sum(1 + 1 / len(values) for values in samples))
    middle = samples[0].mean() - sum(values.mean() for values in samples[1:])
    return middle - half, middle + half


def placed(published: float, predicted: tuple[float, float]) -> str:
    """Says whether a published number of one run lies in the interval that our runs predict for it.

    The answer is empty where there is no such interval.
    """
    low, high = predicted
    if math.isnan(low):
        return ""
    return INSIDE if low <= published <= high else OUTSIDE


def too_small_p(values, direction: str, smallest: float) -> float:
    """Returns the p of a t-test against an effect of at least `smallest`.

    A small p says that the effect is smaller. values (n,): differences. direction: `more` tests
    that their mean is below `smallest`; `less` tests that their mean is above -smallest. The p is
    doubled, as the tests of effects have two sides. Fewer than two values give NaN.
    """
    values = np.asarray(values, float)
    p = _below_p(-values if direction == "less" else values, smallest)
    return float(np.minimum(1, 2 * p))


def _below_p(values, bound: float) -> float:
    """Returns the p of the one-sided t-test that the mean of values lies below the bound."""
    if len(values) < 2:
        return math.nan
    if np.ptp(values) < EQUAL:
        return 0.5 ** len(values) if values[0] < bound else 1.0
    return float(stats.ttest_1samp(values, bound, alternative="less").pvalue)


@dataclass(frozen=True)
class Adjusted:
    """The p-values of a claim, adjusted over the family of the claim.

    effect: of the test of an effect. too_small: of the test that the effect is too small.
    """

    effect: float
    too_small: float


def verdict(found: Estimate, p: Adjusted, direction: str, precise: float, minimum: int) -> str:
    """Says whether a statement holds, from the interval of its difference and the adjusted tests.

    direction: with `more` the statement is reproduced where the interval lies above 0 and the
    effect is there at the level of a look. It is contradicted where the interval reaches 0, the
    effect is smaller than the smallest effect of interest at the same level, and half of the
    interval is at most `precise` wide: a wider interval decides nothing, as it may be a bad draw.
    `less` mirrors `more`. `no_worse` states that the difference lies above minus a margin: p.effect
    is the p of this test, and p.too_small the p that the difference lies below.
    """
    if found.n < minimum or math.isnan(found.low):
        return INCONCLUSIVE
    claimed = found.high < 0 if direction == "less" else found.low > 0
    if direction == "no_worse":  # its test alone says where the difference lies
        claimed = p.effect < LOOK
    if claimed:  # where only the adjustment stands against it, that does not contradict it
        return REPRODUCED if p.effect < LOOK else INCONCLUSIVE
    narrow = (found.high - found.low) / 2 <= precise
    return CONTRADICTED if p.too_small < LOOK and narrow else INCONCLUSIVE


def no_worse_p(values, margin: float) -> float:
    """Returns the p of the one-sided t-test that the mean of values (n,) lies above -margin.

    Fewer than two values give NaN.
    """
    return _below_p(-np.asarray(values, float), margin)


def seeds_needed(sd: float, effect: float, sides: int = 2) -> int | None:
    """Returns how many pairs find an effect with 80% power when differences have this sd.

    The t-test has one side or two, at the level of a look, before any adjustment. Returns None
    where train.py does not take so many seeds, or where the sd is not known.
    """
    if math.isnan(sd):
        return None
    if sd < EQUAL:
        return 2
    n = np.arange(2, MOST_SEEDS + 1)
    least = stats.t.isf(LOOK / sides, n - 1)
    enough = n[stats.nct.sf(least, n - 1, effect / sd * np.sqrt(n)) >= POWER]
    return int(enough[0]) if len(enough) else None


def equals_of_best(values: pd.DataFrame) -> set:
    """Returns the columns whose mean is the best, or is not told apart from the best by a test.

    values: seed x configuration, of which the seeds count that all configurations have. The tests
    are paired t-tests with the best configuration, adjusted by Holm's method. The set is empty
    where fewer than SMOKE seeds count.
    """
    shared = values.dropna()
    if len(shared) < SMOKE:
        return set()
    best = shared.mean().idxmax()
    pairs = {other: shared[best] - shared[other] for other in shared if other != best}
    adjusted = holm([p_value(pair) for pair in pairs.values()])
    return {best} | {other for other, p in zip(pairs, adjusted, strict=True) if p >= ALPHA}


def auc(positive, negative) -> float:
    """Returns how well a number separates two kinds, as the share of pairs in the right order.

    A tie counts as half of a pair.
    """
    statistic = stats.mannwhitneyu(positive, negative).statistic
    return float(statistic / (len(positive) * len(negative)))


def rank_correlation(a, b) -> Estimate:
    """Returns Spearman's correlation with the interval of Bonett and Wright.

    Source: Bonett and Wright (2000, doi:10.1007/BF02294183). The interval is Fisher's with the
    variance that ranks have; scipy's interval for a correlation covers too little. Equal values, or
    fewer than three pairs, give NaN. There is no interval below four pairs, or where all pairs are
    in order.
    """
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(n, *[math.nan] * 4)
    rho = float(stats.spearmanr(a, b).statistic)
    if n < 4 or abs(rho) > 1 - 1e-9:
        return Estimate(n, rho, *[math.nan] * 3)
    half = stats.norm.isf(ALPHA / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = np.tanh([math.atanh(rho) - half, math.atanh(rho) + half])
    return Estimate(n, rho, math.nan, float(low), float(high))
