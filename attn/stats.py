"""What several seeds say: intervals, paired differences, equivalence, verdicts. scipy computes.

Intervals are Student's t, which keep their nominal coverage at three to ten seeds, where a
bootstrap's percentiles cover 83% instead of 95% (n=5). Runs pair by seed: they share what weights
they can, their order of images and their noise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
ALPHA = 1 - LEVEL
SMOKE = 6  # fewer pairs are a smoke test: no exact test of signs can reach 5% with them
POWER = 0.8
MOST_SEEDS = 1000  # to look for; train.py takes no more

DIRECTIONS = ("more", "less", "either", "no_worse", "at_most")
REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
INCONCLUSIVE, NOT_RUN = "inconclusive", "not run"


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; NaN where there are too few values for one."""

    n: int
    mean: float
    sd: float
    low: float
    high: float

    def __neg__(self):
        return Estimate(self.n, -self.mean, self.sd, -self.high, -self.low)


def estimate(values, level: float = LEVEL) -> Estimate:
    """Mean, sd and t-interval of values (n,); equal values have an interval of no width."""
    values = np.asarray(values, float)
    if len(values) == 0:
        return Estimate(0, *[math.nan] * 4)
    if len(values) == 1:
        return Estimate(1, values[0], *[math.nan] * 3)
    if np.ptp(values) == 0:
        return Estimate(len(values), values[0], 0.0, values[0], values[0])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    return Estimate(len(values), values.mean(), values.std(ddof=1), low, high)


def within(found: Estimate, bounds: tuple) -> Estimate:
    """The interval cut to where its quantity can be at all."""
    low, high = np.clip([found.low, found.high], *bounds)
    return replace(found, low=low, high=high)


def exactly(value: float) -> Estimate:
    """Of what is counted, not sampled."""
    return Estimate(1, value, 0.0, value, value)


def p_value(values, against: float = 0.0) -> float:
    """Two-sided t-test that the mean of values (n,) is `against`; NaN for fewer than two.

    Equal values, which have no t, get the test of signs, here and in the tests below.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if values[0] == against else 2 * 0.5 ** len(values)
    return float(stats.ttest_1samp(values, against).pvalue)


def holm(p_values) -> np.ndarray:
    """Holm's adjustment (n,) -> (n,), which scipy has not.

    A NaN, not tested yet, stays one and counts: what is tested early is not favoured by that.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")  # NaN last
    weights = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(weights * p_values[order]))
    return adjusted


@dataclass(frozen=True)
class Paired:
    """The pairs of two configurations that share a seed."""

    seeds: list[int]
    differences: np.ndarray  # (n,) treatment - control
    correlation: float  # of the pairs; NaN for fewer than three
    wins: float  # the share of pairs in which treatment is above control, ties a half


def paired(treatment: pd.Series, control: pd.Series) -> Paired:
    """Both by seed; a seed that only one of them has is left out."""
    seeds = sorted(set(treatment.index) & set(control.index))
    a, b = treatment[seeds].to_numpy(float), control[seeds].to_numpy(float)
    varies = len(seeds) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0
    correlation = float(stats.pearsonr(a, b).statistic) if varies else math.nan
    wins = float(np.mean(np.sign(a - b) / 2 + 0.5)) if seeds else math.nan
    return Paired(seeds, a - b, correlation, wins)


def pooled_sd(samples) -> tuple[float, int]:
    """The sd that samples, each (n,), have in common, and its degrees of freedom.

    NaN and 0 where no sample has two values.
    """
    samples = [np.asarray(values, float) for values in samples]
    freedom = sum(len(values) - 1 for values in samples)
    if not freedom:
        return math.nan, 0
    squares = sum(((values - values.mean()) ** 2).sum() for values in samples)
    return math.sqrt(squares / freedom), freedom


def half_width(sd: float, n: int, freedom: int, level: float = LEVEL) -> float:
    """Of the interval of a mean of n values, whose sd is estimated with so many degrees."""
    return float(stats.t.ppf((1 + level) / 2, freedom)) * sd / math.sqrt(n)


def tost(values, target: float, margin: float) -> float:
    """p of the two one-sided t-tests that the mean lies within target +- margin; NaN below n=2."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if abs(values[0] - target) >= margin else 0.5 ** len(values)
    above = stats.ttest_1samp(values, target - margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, target + margin, alternative="less").pvalue
    return float(max(above, below))


def number_verdict(found: Estimate, p_tost: float, target: float, margin: float, minimum: int):
    """Whether a published number holds: within its margin, wholly outside of it, or undecided."""
    if found.n < minimum or math.isnan(found.low):
        return INCONCLUSIVE
    if p_tost < ALPHA:
        return REPRODUCED
    outside = found.low > target + margin or found.high < target - margin
    return CONTRADICTED if outside else INCONCLUSIVE


def verdict(found: Estimate, p_adjusted: float, direction: str, smallest: float, minimum: int):
    """Whether a statement holds, from the interval of its difference.

    more: reproduced where the interval is above 0 and p, adjusted over its table, below 5%;
    contradicted where the interval is below the smallest effect of interest and reaches 0. less:
    mirrored. either: a difference, of whatever sign, against none as large as the smallest.
    """
    if found.n < minimum or math.isnan(found.low):
        return INCONCLUSIVE
    if direction == "less":
        return verdict(-found, p_adjusted, "more", smallest, minimum)
    excludes_zero = found.low > 0 or (direction == "either" and found.high < 0)
    if excludes_zero:  # where only the adjustment stands against it, that does not contradict it
        return REPRODUCED if p_adjusted < ALPHA else INCONCLUSIVE
    too_small = found.high < smallest and (direction == "more" or found.low > -smallest)
    return CONTRADICTED if too_small else INCONCLUSIVE


def no_worse_p(values, margin: float) -> float:
    """p of the one-sided t-test that the mean lies above -margin; NaN below n=2."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if values[0] <= -margin else 0.5 ** len(values)
    return float(stats.ttest_1samp(values, -margin, alternative="greater").pvalue)


def no_worse_verdict(found: Estimate, p_adjusted: float, margin: float, minimum: int):
    """Whether something is no more than a margin below something else."""
    if found.n < minimum or math.isnan(found.low):
        return INCONCLUSIVE
    if p_adjusted < ALPHA:
        return REPRODUCED
    return CONTRADICTED if found.high < -margin else INCONCLUSIVE


def seeds_needed(sd: float, effect: float, sides: int = 2) -> int | None:
    """As many pairs as find an effect with 80% power when differences have this sd.

    At 5%, by a t-test of two sides or one, before any adjustment. None: more than train.py takes,
    or the sd is not known.
    """
    if math.isnan(sd):
        return None
    if sd == 0:
        return 2
    n = np.arange(2, MOST_SEEDS + 1)
    least = stats.t.isf(ALPHA / sides, n - 1)
    enough = n[stats.nct.sf(least, n - 1, effect / sd * np.sqrt(n)) >= POWER]
    return int(enough[0]) if len(enough) else None


def equals_of_best(values: pd.DataFrame) -> set:
    """The columns whose mean is the best, or not told apart from it; values: seed x configuration.

    Paired t-tests with the best, adjusted by Holm. Configurations of fewer than SMOKE seeds, or
    that share fewer with the best, take no part.
    """
    values = values.loc[:, values.count() >= SMOKE]
    if values.empty:
        return set()
    best = values.mean().idxmax()
    pairs = {other: (values[best] - values[other]).dropna() for other in values if other != best}
    pairs = {other: pair for other, pair in pairs.items() if len(pair) >= SMOKE}
    adjusted = holm([p_value(pair) for pair in pairs.values()])
    return {best} | {other for other, p in zip(pairs, adjusted, strict=True) if p >= ALPHA}


def auc(positive, negative) -> float:
    """How well a number separates two kinds: the share of pairs in the right order, ties a half."""
    statistic = stats.mannwhitneyu(positive, negative).statistic
    return float(statistic / (len(positive) * len(negative)))


def rank_correlation(a, b) -> Estimate:
    """Spearman's, with Bonett and Wright's interval (2000, doi:10.1007/BF02294183).

    It is Fisher's with the variance that ranks have: scipy's for a correlation covers too little.
    NaN for equal values; no interval below four pairs or where all are in order.
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
