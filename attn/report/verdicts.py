"""Every claim's seeds, interval and verdict on the runs of one group."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from attn import stats
from attn.report.claims import COST, SCORES, Claim, Row
from attn.report.group import Group
from attn.scores import of_input_channels
from attn.stats import NOT_RUN, Estimate, exactly

COLOURS = 3


@dataclass
class Judged:
    """A claim on one backbone of one group."""

    claim: Claim
    group: str
    recipe: str
    source: str
    backbone: str
    found: Estimate
    seeds: list[int] = field(default_factory=list)
    differences: np.ndarray = field(default_factory=lambda: np.array([]))
    correlation: float = math.nan
    wins: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    p_number: float = math.nan
    verdict: str = NOT_RUN
    number: str = ""  # the same of the published number
    needs: int | None = None  # seeds that decide, where these do not
    missing: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    @property
    def own(self) -> bool:
        """Whether this is the claim's own experiment; image files count, and say what they are."""
        table = self.claim.table
        return (self.recipe, self.backbone) == (table.recipe, table.backbone) and (
            self.source != "synthetic"
        )

    @property
    def exact(self) -> bool:
        return self.claim.metric in COST

    @property
    def smoke(self) -> bool:
        return 0 < self.found.n < stats.SMOKE and not self.exact

    @property
    def command(self) -> str:
        """What trains as many seeds as the verdict takes."""
        if self.own:
            return self.claim.table.command()
        return self.claim.table.command(self.recipe, self.backbone)

    @property
    def text(self) -> str:
        """The verdict with what it still needs."""
        smallest = self.claim.smallest
        bound = max(abs(self.found.low), abs(self.found.high))
        if self.verdict == stats.REPRODUCED and smallest and bound < smallest:
            return f"{self.verdict} (but smaller than {smallest:g})"
        if self.verdict != stats.INCONCLUSIVE:
            return self.verdict
        most = f"more than {stats.MOST_SEEDS:,}"
        needs = f"about {self.needs:,}" if self.needs else most
        if self.found.n < 2:
            needs = f"at least {self.claim.minimum}"
        return f"{self.verdict} (needs {needs} seeds)"


def judge(group: Group, claims: list[Claim]) -> list[Judged]:
    """Every claim on every backbone of the group, p-values adjusted over each table."""
    measured = with_score_metrics(group)
    result = []
    for backbone, runs in measured.groupby("backbone", sort=True):
        mine = [_measure(group, backbone, runs, claim) for claim in claims]
        for table in dict.fromkeys(claim.table.id for claim in claims):
            family = [j for j in mine if j.claim.table.id == table and not j.exact]
            for judged, p in zip(family, stats.holm([j.p for j in family]), strict=True):
                judged.p_holm = p
        for judged in mine:
            _decide(judged)
        result += mine
    return result


def not_run(claim: Claim) -> Judged:
    """The claim on its own experiment, of which there is no run."""
    table = claim.table
    nothing = stats.estimate([])
    return Judged(claim, "", table.recipe, "", table.backbone, nothing)


def with_score_metrics(group: Group) -> pd.DataFrame:
    """The runs with noise_auc and score_gap, NaN where a run scores no noise channels.

    Of each input channel's mean score over the whole test set: how well it separates colours from
    noise channels (1 perfectly, 0.5 not at all), and the lowest colour's less the highest noise's.
    """
    values = {}
    for run, scores in end_scores(group).groupby("run"):
        means = scores.sort_values("channel")["mean"].to_numpy()
        if len(means) > COLOURS:
            colours, noise = means[:COLOURS], means[COLOURS:]
            values[run] = stats.auc(colours, noise), colours.min() - noise.max()
    pairs = [values.get(run, (math.nan, math.nan)) for run in group.runs["run"]]
    return group.runs.assign(**dict(zip(SCORES, zip(*pairs, strict=True), strict=True)))


def end_scores(group: Group) -> pd.DataFrame:
    """The input channels' scores after the last epoch, over the whole test set."""
    if group.scores.empty:
        return pd.DataFrame(columns=["run", "channel", "mean"])
    scores = group.scores[group.scores["module"].map(of_input_channels)]
    for column in ("epoch", "images"):
        scores = scores[scores[column] == scores.groupby("run")[column].transform("max")]
    return scores


def one_configuration(runs: pd.DataFrame) -> pd.DataFrame:
    """Of runs of several configurations, as where a YAML was edited between them, the largest's."""
    if runs.empty:
        return runs
    return runs[runs["configuration"] == runs["configuration"].value_counts().sort_index().idxmax()]


def missing(group: Group, backbone: str, row: Row, expected=()) -> list[str]:
    """The expected seeds that a row has no result of, reason by reason."""
    notes = {}
    if len(group.unfinished):
        mine = row.of(group.unfinished[group.unfinished["backbone"] == backbone])
        for run in mine.itertuples():
            notes[run.seed] = f"failed ({run.reason})" if run.state == "failed" else run.state
    done = set(row.of(group.runs[group.runs["backbone"] == backbone])["seed"])
    reasons = {}
    for seed in sorted((set(expected) | notes.keys()) - done):
        reasons.setdefault(notes.get(seed, "missing"), []).append(str(seed))
    return [f"{row.model}, seeds {', '.join(s)}: {reason}" for reason, s in reasons.items()]


def _measure(group: Group, backbone: str, runs: pd.DataFrame, claim: Claim) -> Judged:
    """The claim's differences; the verdict waits for the p-values of its table."""
    judged = Judged(claim, group.name, group.recipe, group.source, backbone, stats.estimate([]))
    treatment, control = (
        one_configuration(row.of(runs)) if row else runs[:0]
        for row in (claim.treatment, claim.control)
    )
    treatment = treatment.dropna(subset=[claim.metric])
    judged.missing = missing(group, backbone, claim.treatment, control["seed"])
    if claim.control:
        judged.missing += missing(group, backbone, claim.control, treatment["seed"])
    if treatment.empty or (claim.control and control.empty):
        judged.missing = []
        return judged
    a = treatment.set_index("seed")[claim.metric]
    if claim.metric in COST:  # the same for every seed
        b = control.iloc[0][claim.metric]
        judged.found = exactly(100 * (a.iloc[0] / b - 1))
        judged.runs = [treatment.iloc[0]["run"], control.iloc[0]["run"]]
        return judged
    if claim.control:
        pairs = stats.paired(100 * a, 100 * control.set_index("seed")[claim.metric])
    else:
        constant = pd.Series(claim.against, index=a.index)
        pairs = stats.paired(a, constant)
    judged.seeds, judged.differences = pairs.seeds, pairs.differences
    judged.correlation, judged.wins = pairs.correlation, pairs.wins
    judged.found = stats.estimate(pairs.differences)
    both = pd.concat([treatment, control])
    judged.runs = both[both["seed"].isin(pairs.seeds)]["run"].tolist()
    same = claim.direction == "same"
    judged.p = (
        stats.tost(pairs.differences, claim.published or 0, claim.margin)
        if same
        else stats.p_value(pairs.differences)
    )
    if judged.own and claim.published is not None and not same:
        judged.p_number = stats.tost(pairs.differences, _target(claim), claim.margin)
    return judged


def _target(claim: Claim) -> float:
    """The published number as a difference."""
    return claim.published - (claim.against or 0)


def _decide(judged: Judged):
    """Fills in the verdict, the published number's, and the seeds that are still needed."""
    claim, found = judged.claim, judged.found
    if not found.n:
        return
    judged.verdict = _verdict(judged, claim.minimum)
    if not math.isnan(judged.p_number):
        judged.number = stats.number_verdict(
            found, judged.p_number, _target(claim), claim.margin, claim.minimum
        )
    if judged.verdict == stats.INCONCLUSIVE:
        same = claim.direction == "same"
        bound = claim.margin if same else claim.smallest
        needed = stats.seeds_needed(found.sd, bound, equivalence=same)
        if _verdict(judged, 2) != stats.INCONCLUSIVE:  # nothing but the minimum is missing
            needed = claim.minimum
        judged.needs = needed and max(needed, claim.minimum)


def _verdict(judged: Judged, minimum: int) -> str:
    claim, found = judged.claim, judged.found
    if judged.exact:
        p = float(abs(found.mean) > claim.margin)
        return stats.number_verdict(found, p, 0, claim.margin, 1)
    if claim.direction == "same":
        target = claim.published or 0
        return stats.number_verdict(found, judged.p_holm, target, claim.margin, minimum)
    return stats.verdict(found, judged.p_holm, claim.direction, claim.smallest, minimum)


def frame(judged: list[Judged]) -> pd.DataFrame:
    """verdicts.csv: a row for each claim and backbone."""
    rows = []
    for one in judged:
        claim, found = one.claim, one.found
        rows.append(
            {
                "claim": claim.id,
                "recipe": one.recipe,
                "backbone": one.backbone,
                "source": one.source,
                "verdict": one.verdict,
                "published_experiment": one.own,
                "n": found.n,
                "smoke_test": one.smoke,
                "metric": claim.metric,
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "sd": found.sd,
                "correlation": one.correlation,
                "wins": one.wins,
                "p": one.p,
                "p_holm": one.p_holm,
                "published": claim.published,
                "number": one.number,
                "p_number": one.p_number,
                "needs": one.needs,
                "missing": "; ".join(one.missing),
            }
        )
    return pd.DataFrame(rows)
