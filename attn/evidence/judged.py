"""A claim with its seeds, interval and verdict, and the table of all such claims."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from attn import stats
from attn.evidence.claims import COST, Claim
from attn.evidence.group import DEMONSTRATION, Group
from attn.stats import NO_VERDICT, NOT_RUN, Estimate

INSPECT = "python eval.py checkpoint=all"


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
    uninspected: bool = False  # every row was trained, and no gate was frozen yet
    missing: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    @cached_property
    def elsewhere(self) -> str:
        """Returns how the experiment differs from the claim's own; empty where it does not."""
        return self.claim.table.elsewhere(self.group, self.backbone) if self.group else ""

    @property
    def own(self) -> bool:
        return not self.elsewhere

    @property
    def published(self) -> float | None:
        """Returns the published number, as a difference, where the runs are comparable with it."""
        return self.claim.target if self.own and self.claim.published is not None else None

    @property
    def exact(self) -> bool:
        return self.claim.metric in COST

    @property
    def smoke(self) -> bool:
        return 0 < self.found.n < stats.SMOKE and not self.exact

    @property
    def command(self) -> str:
        """Returns the command that trains the claim's table, with this recipe and backbone.

        Where the table is trained and its networks were not inspected yet, it is the command that
        inspects them.
        """
        if self.uninspected:
            return INSPECT
        table = self.claim.table
        return table.command_on(self.group, self.backbone) if self.group else table.command()

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
    def asks(self) -> tuple[str, int]:
        """Returns how many seeds an undecided claim needs, as (a word, a number)."""
        if self.found.n < 2:
            return "at least", self.least
        return ("about", self.roughly) if self.needs else ("more than", stats.MOST_SEEDS)

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
        word, number = self.asks
        return f"{self.verdict} (needs {word} {number:,} seeds)"


def frame_of(judged: list[Judged]) -> pd.DataFrame:
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
                "published": one.published,
                "predicted_low": one.predicted[0],
                "predicted_high": one.predicted[1],
                "number": one.number,
                "needs": one.needs,
                "missing": "; ".join(one.missing),
            }
        )
    return pd.DataFrame(rows)
