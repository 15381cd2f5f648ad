"""Verdicts in words: for Markdown, the page, and a terminal of 100 columns."""

import pandas as pd

from attn.evidence.claims import METRICS, PRECISE, Claim
from attn.evidence.group import Group
from attn.evidence.judged import Judged
from attn.formats import MINUS, interval, number
from attn.stats import LOOK, NOT_RUN, SMOKE

LEGEND = {
    "difference": "treatment minus control, seed by seed, with Student's t-interval: points of "
    "accuracy, or of a metric of scores its own unit; of a claim that holds one metric against a "
    "number, the metric itself; of parameters and multiply-adds, which are counted, per cent of "
    "the control's",
    "claimed": "where it lies by the claim",
    "bound": "the smallest effect of interest, counted from there; of “no worse” and of "
    "costs the margin",
    "published": "the published difference, which is of one run each",
    "one run": "where the difference of one run each of ours lies (95% prediction interval)",
    "published number lies": "inside or outside this interval",
    "r": "the correlation of treatment and control over seeds; of an interaction that of its two "
    "differences",
    "P": "the share of seeds in which the treatment is above the control, of an interaction the "
    "first difference above the second; ties count a half",
    "primary": "fixed as what this project is about; their p is adjusted over all primary claims. "
    "All others are exploratory, adjusted over those of their table. A recipe and a backbone have "
    "families of their own",
    "p (Holm)": "of an effect, adjusted over the claims of its family, tested yet or not; where "
    "all differences are equal, of the test of signs",
    "p (too small)": "of the opposite, that an effect as large as the bound is not there: of a "
    "one-sided test, doubled, and adjusted in the same way",
    "reproduced": f"the whole interval lies where it is claimed, however close to its edge, and p "
    f"is below {LOOK:.1%}, half of 5%, as a claim may be looked at twice; of “no worse”, a "
    "one-sided test puts the difference above minus the margin",
    "contradicted": f"p (too small) is below {LOOK:.1%}, the interval reaches the edge of what is "
    f"claimed or beyond, and half of it is at most {PRECISE:g} points wide (of scores and frozen "
    "gates the bound): too small or reversed, and not by a bad draw. Of “no worse”, the difference "
    "lies below minus the margin, with an interval as narrow",
    "inconclusive": "neither, or fewer seeds than the claim's minimum. The seeds that it needs are "
    "this minimum, or as many as find an effect as large as the bound in four of five cases (of "
    "“no worse”, as many as find that a difference of 0 is no worse), at the sd seen and before "
    "adjustment; of ten seeds that number may be off by a factor of two or three. After its second "
    "look a claim asks for no more seeds",
    "smoke test": f"fewer than {SMOKE} seeds, which decide nothing",
}


def shown(judged: list[Judged]) -> pd.DataFrame:
    """Returns a table in words, with a row for each claim."""
    rows = []
    for one in judged:
        claim, found = one.claim, one.found
        ends = "exact" if one.exact and found.n else _interval(claim, found.low, found.high)
        rows.append(
            {
                "claim": f"{claim.id} (primary)" if claim.primary else claim.id,
                "verdict": f"{one.text}; a smoke test" if one.smoke else one.text,
                "n": found.n,
                "difference": _value(claim, found.mean),
                "95% interval": ends,
                "claimed": claimed(claim),
                "bound": bound(claim),
                "published": published(one),
                "one run": _interval(claim, *one.predicted),
                "published number lies": one.number,
                "r": number(one.correlation),
                "P": number(one.wins),
                "p (Holm)": p_text(one.p_holm),
                "p (too small)": p_text(one.p_small_holm),
                "missing": "; ".join(one.missing),
            }
        )
    return pd.DataFrame(rows)


def to_run(judged: list[Judged]) -> dict[tuple, list[str]]:
    """Returns the claims that were not run, by (command that runs them, *notes on missing runs)."""
    claims = {}
    for one in judged:
        if one.verdict == NOT_RUN:
            claims.setdefault((one.command, *one.missing), []).append(one.claim.id)
    return claims


def elsewhere(group: Group, backbone: str) -> str:
    """Returns the heading of verdicts that are not about a published experiment."""
    return f"Other runs than the published experiment: {backbone}, {group.title}"


def claimed(claim: Claim) -> str:
    """Returns where the difference, or the metric held against a number, lies by the claim."""
    if claim.direction == "no_worse":
        text = f"> {(claim.against or 0) - claim.margin:g}"
    elif claim.direction == "at_most":
        text = f"≤ {claim.margin:g}%"
    else:
        text = f"{'<' if claim.direction == 'less' else '>'} {claim.against or 0:g}"
    return text.replace("-", MINUS)


def stated(claim: Claim) -> str:
    """Returns what a claim says, where its number lies by that, and the published number."""
    known = claim.published is not None
    number = f", published {_value(claim, claim.target)}" if known else ""
    said = f"{claim.statement} Claimed: {claimed(claim)}, bound {bound(claim)}{number}"
    return f"{said}. Fixed: {claim.fixed.rstrip('.')}"


def bound(claim: Claim) -> str:
    return number(claim.bound) + ("%" if METRICS[claim.metric] == "%" else "")


def published(one: Judged) -> str:
    """Returns the published number; the text is empty except for the claim's own experiment."""
    return "" if one.published is None else _value(one.claim, one.published)


def p_text(p: float) -> str:
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _value(claim: Claim, difference: float) -> str:
    """Returns a difference as text, or the metric itself where it is held against a number."""
    if METRICS[claim.metric] == "%":
        return f"{number(difference, 1, sign=True)}%" if not pd.isna(difference) else ""
    if claim.against is not None:
        return number(difference + claim.against, _digits(claim))
    return number(difference, _digits(claim), sign=True)


def _digits(claim: Claim) -> int:
    """Returns the decimals of a metric: three for scores, which lie between 0 and 1."""
    return 2 if METRICS[claim.metric] else 3


def _interval(claim: Claim, low: float, high: float) -> str:
    """Returns an interval of differences, or of the metric where it is held against a number."""
    shift = claim.against or 0
    return interval(low + shift, high + shift, _digits(claim), sign=claim.against is None)


def seeds_of(one: Judged) -> str:
    """Returns each pair's difference by seed, or its metric where that is held against a number."""
    pairs = zip(one.seeds, one.differences, strict=True)
    return "  ".join(f"{seed}: {_value(one.claim, value)}" for seed, value in pairs)
