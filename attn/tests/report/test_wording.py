"""Verdicts in words: all of them, in a terminal too."""

import shutil
from dataclasses import replace

import pytest

from attn import stats
from attn.evidence.claims_file import load
from attn.evidence.judged import Judged
from attn.evidence.verdicts import judge, of_own_experiments
from attn.report import wording
from attn.report.terminal import lines_of
from attn.stats import INCONCLUSIVE, NOT_RUN
from attn.tests.made_up import group_of, pair_up

TABLES, CLAIMS = load()


def test_every_claim_is_answered_or_named_with_its_command(tmp_path):
    pair_up(tmp_path / "runs", 0.0061, recipe="quick")
    group = group_of(tmp_path / "runs")

    own = of_own_experiments(judge(group, CLAIMS), CLAIMS)
    assert [one.claim.id for one in own] == [claim.id for claim in CLAIMS]
    assert {one.verdict for one in own} == {NOT_RUN}
    text = lines_of(own)
    assert all(len(line) <= 100 for line in text.splitlines())
    for table in TABLES:
        assert f"not run: python train.py experiment={table.id} for" in " ".join(text.split())


def test_the_terminals_table_fits_100_columns(tmp_path):
    pair_up(tmp_path, 0.0061)
    shutil.rmtree(next(tmp_path.glob("c1-*")))
    lines = lines_of(judge(group_of(tmp_path), CLAIMS)).splitlines()
    assert lines[0].split()[:3] == ["claim", "n", "difference"]
    row = next(line for line in lines if line.startswith("attention-recovers-noise"))
    assert "+0.61" in row and "inconclusive, needs ~10 seeds" in row  # nine are below the minimum
    assert max(len(line) for line in lines) <= 100


CLAIMED = {
    "attention-last-helps": "> 0",
    "noise-hurts": "< 0",
    "modalities": "> 0.5",
    "late-stage-gains-most": "> 0",
    "bottleneck-is-enough": "> \N{MINUS SIGN}0.3",
    "bottleneck-saves-parameters": "≤ \N{MINUS SIGN}50%",
}


@pytest.mark.parametrize(("claim", "text"), CLAIMED.items())
def test_where_a_value_lies_by_the_claim(claim, text):
    assert wording.claimed(next(one for one in CLAIMS if one.id == claim)) == text


@pytest.mark.parametrize("name", ["short", "a-claim-" * 12])
def test_the_longest_verdict_is_whole_and_a_long_name_is_cut(name):
    one = Judged(replace(CLAIMS[0], id=name), "mobilenet_v2")
    one.found = stats.Estimate(10, -12.34, 99.0, -123.45, 123.45)
    one.verdict, one.needs = INCONCLUSIVE, None
    line = lines_of([one]).splitlines()[1]
    assert line.endswith("+0.94 inconclusive, needs >1,000 seeds") and len(line) <= 100
    assert ("…" in line) == (len(name) > 50)
