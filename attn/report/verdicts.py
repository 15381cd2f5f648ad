"""Every claim's seeds, interval and verdict on the runs of one group."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from attn import stats
from attn.names import ranges
from attn.report.claims import COST, Claim, Row
from attn.report.group import DEMONSTRATION, Group, by_pair, one_configuration
from attn.report.scores import BOUNDS, with_metrics
from attn.stats import CONTRADICTED, NO_VERDICT, NOT_RUN, REPRODUCED, Estimate


@dataclass
class Judged:
    """A claim on one backbone of one group.

    Without a group, the claim is on its own experiment, which was not run.
    """

    claim: Claim
    backbone: str
    group: Group | None = None
    found: Estimate = field(default_factory=lambda: stats.estimate([]))
    seeds: list[int] = field(default_factory=list)
    differences: np.ndarray = field(default_factory=lambda: np.array([]))
    correlation: float = math.nan
    wins: float = math.nan
    p: float = math.nan  # of an effect
    p_holm: float = math.nan  # adjusted over its family
    p_small: float = math.nan  # that an effect as large as the smallest of interest is not there
    p_small_holm: float = math.nan
    verdict: str = NOT_RUN
    predicted: tuple[float, float] = (math.nan, math.nan)  # of one run each, as is published
    number: str = ""  # where the published number lies
    needs: int | None = None  # seeds that decide, where these do not
    same_as: str = ""  # an earlier claim that makes the very same comparison
    missing: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    @property
    def elsewhere(self) -> str:
        """Returns how the experiment differs from the claim's own; empty where it does not."""
        table, group = self.claim.table, self.group
        if group is None:
            return ""
        if group.recipe != table.recipe:
            return group.recipe
        if group.runs["recipe_key"].iloc[0] != table.recipe_key:
            return f"another {group.recipe}"
        if self.backbone != table.backbone:
            return self.backbone
        if group.source == "synthetic":
            return group.source
        return group.other_size and f"another dataset of {group.other_size}"

    @property
    def own(self) -> bool:
        """Returns whether the experiment is the claim's own.

        Runs on image files count, and the title of their group names their source.
        """
        return not self.elsewhere

    @property
    def exact(self) -> bool:
        return self.claim.metric in COST

    @property
    def smoke(self) -> bool:
        return 0 < self.found.n < stats.SMOKE and not self.exact

    @property
    def command(self) -> str:
        """Returns the command that trains the claim's table, with this recipe and backbone."""
        table = self.claim.table
        return table.command() if self.own else table.command(self.group.recipe, self.backbone)

    @property
    def place(self) -> str:
        """Returns the words that follow a verdict where it is not of the published experiment."""
        return f" on {self.elsewhere}" if self.elsewhere and self.found.n else ""

    @property
    def least(self) -> int:
        """Returns the number of seeds without which nothing is decided."""
        return max(self.claim.minimum, self.found.n + 1)

    @property
    def roughly(self) -> int:
        """Returns the number of seeds that decide, rounded up to two digits.

        The sd that the number follows from is a guess.
        """
        step = 10 ** max(0, len(str(self.needs)) - 2)
        return -(-self.needs // step) * step

    @property
    def looked_twice(self) -> bool:
        """Returns whether the claim has had its second look.

        The first look is at the claim's minimum of seeds. A third would not keep the level.
        """
        return self.found.n > self.claim.minimum

    @property
    def text(self) -> str:
        """Returns the verdict in words.

        The words say where the verdict is not of the published experiment, and what it still needs.
        A verdict on the same comparison as an earlier claim's names the earlier claim.
        """
        if self.same_as:
            return f"{self.verdict}{self.place} (the runs of {self.same_as})"
        return self._word

    @property
    def _word(self) -> str:
        smallest = self.claim.smallest
        bound = max(abs(self.found.low), abs(self.found.high))
        small = smallest and self.claim.control and bound < smallest
        if self.verdict == stats.REPRODUCED and small:
            return f"{self.verdict}{self.place} (but smaller than {smallest:g})"
        if self.verdict == NO_VERDICT:
            return f"{NO_VERDICT}: {DEMONSTRATION} decides nothing"
        if self.verdict != stats.INCONCLUSIVE:
            return f"{self.verdict}{self.place}"
        if self.looked_twice:
            return f"{self.verdict} after its second look"
        most = f"more than {stats.MOST_SEEDS:,}"
        needs = f"about {self.roughly:,}" if self.needs else most
        if self.found.n < 2:
            needs = f"at least {self.least:,}"
        return f"{self.verdict} (needs {needs} seeds)"


def judge(group: Group, claims: list[Claim]) -> list[Judged]:
    """Judges every claim on every backbone of the group, with p-values adjusted over its family."""
    measured = with_metrics(group)
    result = []
    for backbone, runs in measured.groupby("backbone", sort=True):
        mine = [_measure(group, backbone, runs, claim) for claim in claims]
        for name in dict.fromkeys(claim.family for claim in claims):
            family = [j for j in mine if j.claim.family == name and not j.exact]
            effects = stats.holm([j.p for j in family])
            small = stats.holm([j.p_small for j in family])
            for judged, effect, too_small in zip(family, effects, small, strict=True):
                judged.p_holm, judged.p_small_holm = effect, too_small
        _share_comparisons(mine)
        for judged in mine:
            _decide(judged)
        result += mine
    return result


def _share_comparisons(judged: list[Judged]):
    """Gives claims that make the same comparison the least favourable of their p-values.

    Such claims are of several tables. All but the first name the first in `same_as`.
    """
    alike = {}
    for one in judged:
        if one.runs and not one.exact:
            test = (one.claim.metric, one.claim.against, one.claim.direction)
            alike.setdefault((*one.runs, *test), []).append(one)
    for claims in alike.values():
        effect = max(one.p_holm for one in claims)
        small = max(one.p_small_holm for one in claims)
        for one in claims:
            one.p_holm, one.p_small_holm = effect, small
            one.same_as = "" if one is claims[0] else claims[0].claim.id


def missing(group: Group, backbone: str, row: Row, expected=()) -> list[str]:
    """Returns for each reason a note on the seeds that a row has no result of.

    The seeds are the expected seeds and those of unfinished runs.
    """
    notes = {}
    if len(group.unfinished):
        mine = row.of(group.unfinished[group.unfinished["backbone"] == backbone])
        for run in mine.itertuples():
            notes[run.seed] = f"failed ({run.reason})" if run.state == "failed" else run.state
    every = row.of(group.runs[group.runs["backbone"] == backbone])
    done = set(one_configuration(every)["seed"])
    for seed in set(every["seed"]) - done:
        notes[seed] = "of another configuration"
    reasons = {}
    for seed in sorted((set(expected) | notes.keys()) - done):
        reasons.setdefault(notes.get(seed, "missing"), []).append(seed)
    return [f"{row.model}, seeds {ranges(s)}: {reason}" for reason, s in reasons.items()]


def _measure(group: Group, backbone: str, runs: pd.DataFrame, claim: Claim) -> Judged:
    """Measures the claim's differences; the verdict waits for the p-values of its family."""
    judged = Judged(claim, backbone, group)
    chosen = [one_configuration(row.of(runs)).dropna(subset=[claim.metric]) for row in claim.rows]
    if any(part.empty for part in chosen):
        judged.missing = [note for row in claim.rows for note in missing(group, backbone, row)]
        judged.missing += _unmeasured(claim, runs)
        return judged
    if judged.exact:  # the same for every seed
        values = [part[claim.metric].iloc[0] for part in chosen]
        judged.found = stats.exactly(100 * (values[0] / values[1] - 1))
        judged.runs = [part["run"].iloc[0] for part in chosen]
        return judged
    every = set().union(*(part["seed"] for part in chosen))
    judged.missing = [note for row in claim.rows for note in missing(group, backbone, row, every)]
    judged.missing += _unmeasured(claim, runs)
    scale = 100 if claim.metric == "test_accuracy" else 1
    values = [scale * by_pair(part, claim.metric) for part in chosen]
    pairs = _pairs(claim, values)
    judged.missing += _unpaired(chosen, pairs.seeds)
    judged.seeds, judged.differences = pairs.seeds, pairs.differences
    judged.correlation, judged.wins = pairs.correlation, pairs.wins
    judged.found = stats.estimate(pairs.differences)
    if claim.control is None:
        low, high = BOUNDS[claim.metric]
        bounds = (low - claim.against, high - claim.against)
        judged.found = stats.within(judged.found, bounds)
    both = pd.concat(chosen)
    judged.runs = both[both["seed"].isin(pairs.seeds)]["run"].tolist()
    _test(judged, pairs.differences)
    if judged.own and claim.published is not None:
        judged.predicted = _predicted(claim, values)
        judged.number = stats.placed(claim.target, judged.predicted)
    return judged


def _pairs(claim: Claim, values: list[pd.Series]) -> stats.Paired:
    """Pairs a claim's rows by environment and seed; an interaction pairs two differences."""
    if claim.control is None:
        return stats.paired(values[0], pd.Series(float(claim.against), index=values[0].index))
    if claim.interaction:
        treatment, control, other, others = values
        return stats.paired((treatment - control).dropna(), (other - others).dropna())
    return stats.paired(*values)


def _unpaired(chosen: list[pd.DataFrame], paired: list[int]) -> list[str]:
    """Returns a note on the seeds that all rows have, but computed in different environments."""
    shared = set.intersection(*(set(part["seed"]) for part in chosen)) - set(paired)
    seeds = ", ".join(map(str, sorted(shared)))
    return [f"seeds {seeds}: computed in different environments"] if shared else []


def _test(judged: Judged, differences: np.ndarray):
    claim = judged.claim
    if claim.direction == "no_worse":
        judged.p = stats.no_worse_p(differences, claim.margin)
        judged.p_small = stats.too_small_p(differences, "more", -claim.margin)
    else:
        judged.p = stats.p_value(differences)
        judged.p_small = stats.too_small_p(differences, claim.direction, claim.smallest)


def _predicted(claim: Claim, values: list[pd.Series]) -> tuple[float, float]:
    """Returns where one run of the treatment lies, or its difference to one run of the control.

    Where a claim has no control, the number that it takes instead is subtracted.
    """
    if claim.control is None:
        low, high = stats.prediction(values[0])
        return low - claim.against, high - claim.against
    return stats.predicted_difference(*values[:2])


def _unmeasured(claim: Claim, runs: pd.DataFrame) -> list[str]:
    """Returns notes on the runs that lack the claim's metric.

    Runs from before the metric was recorded lack it, for example.
    """
    notes = []
    for row in claim.rows:
        mine = one_configuration(row.of(runs))
        lacking = sorted(mine["seed"][mine[claim.metric].isna()])
        if lacking:
            seeds = ", ".join(map(str, lacking))
            notes.append(f"{row.model}, seeds {seeds}: without {claim.metric.replace('_', ' ')}")
    return notes


def _decide(judged: Judged):
    """Fills in the verdict and the seeds that are still needed."""
    claim, found = judged.claim, judged.found
    if not found.n:
        return
    if not judged.exact and not judged.group.decides:
        judged.verdict, judged.number = NO_VERDICT, ""
        return
    judged.verdict = _verdict(judged, claim.minimum)
    if judged.verdict == stats.INCONCLUSIVE and not judged.looked_twice:
        if claim.direction == "no_worse":
            needed = stats.seeds_needed(found.sd, claim.margin, sides=1)
        else:
            needed = stats.seeds_needed(found.sd, claim.smallest)
        if _verdict(judged, 2) != stats.INCONCLUSIVE:  # nothing but the minimum is missing
            needed = claim.minimum
        judged.needs = needed and max(needed, judged.least)


def _verdict(judged: Judged, minimum: int) -> str:
    claim, found = judged.claim, judged.found
    if claim.direction == "at_most":
        return REPRODUCED if found.mean <= claim.margin else CONTRADICTED
    p = stats.Adjusted(judged.p_holm, judged.p_small_holm)
    if claim.direction == "no_worse":
        return stats.no_worse_verdict(found, p, claim.precise, minimum)
    return stats.verdict(found, p, claim.direction, claim.precise, minimum)


def frame(judged: list[Judged]) -> pd.DataFrame:
    """Returns the table of verdicts.csv, with a row for each claim and backbone."""
    rows = []
    for one in judged:
        claim, found = one.claim, one.found
        rows.append(
            {
                "claim": claim.id,
                "primary": claim.primary,
                "group": one.group.name if one.group else "",
                "recipe": one.group.recipe if one.group else claim.table.recipe,
                "backbone": one.backbone,
                "source": one.group.source if one.group else "",
                "verdict": one.verdict,
                "published_experiment": one.own,
                "n": found.n,
                "smoke_test": one.smoke,
                "metric": claim.metric,
                "against": claim.against,
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "sd": found.sd,
                "correlation": one.correlation,
                "wins": one.wins,
                "p": one.p,
                "p_holm": one.p_holm,
                "p_too_small": one.p_small,
                "p_too_small_holm": one.p_small_holm,
                "published": claim.published if one.own else None,
                "predicted_low": one.predicted[0],
                "predicted_high": one.predicted[1],
                "number": one.number,
                "needs": one.needs,
                "missing": "; ".join(one.missing),
            }
        )
    return pd.DataFrame(rows)
