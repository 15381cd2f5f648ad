"""Every claim's seeds, interval and verdict on the runs of one group."""

import numpy as np
import pandas as pd

from attn import stats
from attn.evidence.claims import Claim, Row
from attn.evidence.group import Group, by_pair, one_configuration
from attn.evidence.judged import Judged
from attn.evidence.scores import BOUNDS, with_metrics
from attn.names import ranges
from attn.stats import CONTRADICTED, NO_VERDICT, REPRODUCED


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

    The `same_as` of every claim but the first names the first.
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


def of_own_experiments(judged: list[Judged], claims: list[Claim]) -> list[Judged]:
    """Returns each claim's verdicts on its own experiment, from every group that has its runs.

    Where no group has pairs of them, the verdict is that the experiment was not run, with what a
    group knows of the reason.
    """
    own, result = [one for one in judged if one.own], []
    for claim in claims:
        mine = [one for one in own if one.claim.id == claim.id]
        waiting = next((one for one in mine if one.missing), Judged(claim, claim.table.backbone))
        result += [one for one in mine if one.found.n] or [waiting]
    return result


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
    trained = [one_configuration(row.of(runs)) for row in claim.rows]
    chosen = [part.dropna(subset=[claim.metric]) for part in trained]
    measured = all(len(part) for part in chosen)
    if measured and judged.exact:  # the same for every seed
        value, control = (part[claim.metric].iloc[0] for part in chosen)
        if control:
            judged.found = stats.exactly(100 * (value / control - 1))
            judged.runs = [part["run"].iloc[0] for part in chosen]
        else:
            judged.missing = [f"{claim.control.model} has no {_in_words(claim.metric)}"]
        return judged
    every = set().union(*(part["seed"] for part in chosen)) if measured else ()
    every = range(min(every), max(every) + 1) if every else ()  # one in between is missing too
    judged.missing = [note for row in claim.rows for note in missing(group, backbone, row, every)]
    judged.missing += _unmeasured(claim, trained)
    if not measured:
        judged.uninspected = claim.metric == "frozen_change" and all(len(part) for part in trained)
        return judged
    scale = 100 if claim.metric == "test_accuracy" else 1
    values = [scale * by_pair(part, claim.metric) for part in chosen]
    pairs = _pairs(claim, values)
    judged.missing += _unpaired(chosen, pairs.seeds) + _edited_between(chosen)
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
    seeds = ranges(sorted(shared))
    return [f"seeds {seeds}: computed in different environments"] if shared else []


def _edited_between(chosen: list[pd.DataFrame]) -> list[str]:
    """Returns a note on each setting in which rows of one mechanism, backbone or dataset differ."""
    values = {}
    for row in (part.iloc[0] for part in chosen):
        settings = row.get("settings")
        for word in settings.split(", ") if isinstance(settings, str) else ():
            key, _, value = word.partition("=")
            group = key.partition(".")[0]
            if group in ("attention", "backbone", "data"):
                values.setdefault((row[group], key), set()).add(value)
    return [
        f"{name}: {key} is {' and '.join(sorted(found))}, as its YAML was edited between runs"
        for (name, key), found in values.items()
        if len(found) > 1
    ]


def _test(judged: Judged, differences: np.ndarray):
    claim = judged.claim
    if claim.direction == "no_worse":
        judged.p = stats.no_worse_p(differences, claim.margin)
        judged.p_small = stats.too_small_p(differences, "more", -claim.margin)
    else:
        judged.p = stats.p_value(differences)
        judged.p_small = stats.too_small_p(differences, claim.direction, claim.smallest)


def _predicted(claim: Claim, values: list[pd.Series]) -> tuple[float, float]:
    """Returns the 95% prediction interval of one more run of the treatment less one of the control.

    Where a claim has no control, the number that it is held against is subtracted.
    """
    if claim.control is None:
        low, high = stats.prediction(values[0])
        return low - claim.against, high - claim.against
    return stats.prediction(*values[:2])


def _unmeasured(claim: Claim, trained: list[pd.DataFrame]) -> list[str]:
    """Returns notes on the runs that lack the claim's metric.

    Runs from before the metric was recorded lack it, for example.
    """
    lacking = [part["seed"][part[claim.metric].isna()] for part in trained]
    return [
        f"{row.model}, seeds {ranges(sorted(seeds))}: without {_in_words(claim.metric)}"
        for row, seeds in zip(claim.rows, lacking, strict=True)
        if len(seeds)
    ]


def _in_words(metric: str) -> str:
    return metric.replace("_", " ")


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
        sides = 1 if claim.direction == "no_worse" else 2
        needed = stats.seeds_needed(found.sd, claim.bound, sides)
        if _verdict(judged, 2) != stats.INCONCLUSIVE:  # nothing but the minimum is missing
            needed = claim.minimum
        judged.needs = needed and max(needed, judged.least)


def _verdict(judged: Judged, minimum: int) -> str:
    claim, found = judged.claim, judged.found
    if claim.direction == "at_most":
        return REPRODUCED if found.mean <= claim.margin else CONTRADICTED
    p = stats.Adjusted(judged.p_holm, judged.p_small_holm)
    return stats.verdict(found, p, claim.direction, claim.precise, minimum)
