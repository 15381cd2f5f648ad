"""From runs to verdicts: pairs by seed, what is missing, whose number it is, and its words."""

import math
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from attn import stats
from attn.evidence import accuracies
from attn.evidence.claims_file import CLAIMS as CLAIMS_YAML
from attn.evidence.claims_file import load
from attn.evidence.group import named
from attn.evidence.scores import BOUNDS, with_metrics
from attn.evidence.verdicts import judge
from attn.report import wording
from attn.report.report import report
from attn.report.terminal import lines_of
from attn.stats import (
    CONTRADICTED,
    INCONCLUSIVE,
    INSIDE,
    NO_VERDICT,
    NOT_RUN,
    OUTSIDE,
    REPRODUCED,
)
from attn.tests.made_up import ATTENDED, SCORES, SPREAD, group_of, pair_up, run

TABLES, CLAIMS = load()
SE = {"attention": "se", "location": "per_block", "data": "rgb", "configuration": "c2"}


def judged(root, claim="attention-recovers-noise"):
    return next(one for one in judge(group_of(root), CLAIMS) if one.claim.id == claim)


GAINS = [
    (0.0061, REPRODUCED, INSIDE),
    (0.02, REPRODUCED, OUTSIDE),  # it helps, but by far more than published
    (-0.01, CONTRADICTED, OUTSIDE),
    (0.002, REPRODUCED, INSIDE),  # of which one run each may well have shown 0.61
]


@pytest.mark.parametrize(("gain", "verdict", "number"), GAINS)
def test_a_planted_difference_gets_its_verdict(tmp_path, gain, verdict, number):
    pair_up(tmp_path, gain)
    one = judged(tmp_path)
    assert (one.verdict, one.number, one.own) == (verdict, number, True)
    assert one.found.n == 10 and one.found.mean == pytest.approx(100 * gain, abs=0.05)
    assert one.correlation > 0.95 and len(one.runs) == 20 and not one.missing


def test_pairing_takes_out_what_seeds_share(tmp_path):
    pair_up(tmp_path, 0.0061)
    runs = group_of(tmp_path).runs
    accuracies = [g["test_accuracy"] for _, g in runs.groupby("location")]
    assert stats.estimate(accuracies[0] * 100).sd > 5 * judged(tmp_path).found.sd


def test_an_effect_too_small_to_matter_says_so(tmp_path):
    pair_up(tmp_path, 0.001)
    one = judged(tmp_path)
    assert one.verdict == REPRODUCED and one.text == "reproduced (but smaller than 0.3)"


def test_few_seeds_are_a_smoke_test(tmp_path):
    pair_up(tmp_path, 0.0061, seeds=5)
    one = judged(tmp_path)
    assert one.smoke and one.verdict == INCONCLUSIVE and one.needs == 10
    (words,) = wording.shown([one])["verdict"]
    assert words == "inconclusive (needs about 10 seeds); a smoke test"


def test_seeds_without_a_partner_are_named_and_left_out(tmp_path):
    pair_up(tmp_path, 0.0061, seeds=10, attended_seeds=8)
    one = judged(tmp_path)
    assert one.found.n == 8 and one.seeds == list(range(8))
    assert one.missing == ["RGB + 3 noise channels + attention at first, seeds 8, 9: missing"]


def test_a_run_without_a_partner_anywhere_is_not_run(tmp_path):
    run(tmp_path, 0, 0.83)
    one = judged(tmp_path)
    assert one.verdict == NOT_RUN and not one.missing
    assert wording.to_run([one]) == {
        ("python train.py experiment=noise",): ["attention-recovers-noise"]
    }


ELSEWHERE = [
    ({"recipe": "quick"}, "recipe=quick backbone=mobilenet_v2"),
    ({"recipe": "post+lr=0.1"}, "recipe=post recipe.lr=0.1 backbone=mobilenet_v2"),
    ({"backbone": "resnet20"}, "recipe=post backbone=resnet20"),
    ({"source": "synthetic"}, "recipe=post backbone=mobilenet_v2 data.source=synthetic"),
    ({"recipe_key": "edited"}, "recipe=post backbone=mobilenet_v2"),
]


@pytest.mark.parametrize(("changes", "words"), ELSEWHERE)
def test_what_is_not_the_published_experiment_gives_no_verdict_on_its_number(
    tmp_path, changes, words
):
    pair_up(tmp_path, 0.0061, **changes)
    one = judged(tmp_path)
    assert not one.own and one.number == "" and math.isnan(one.predicted[0])
    assert wording.published(one) == ""
    assert one.command == f"python train.py experiment=noise {words}"
    word = changes.get("recipe") or changes.get("backbone") or changes.get("source")
    word = word or "another post"
    shows = "no verdict: quick decides nothing"
    assert one.text == (shows if word == "quick" else f"reproduced on {word}")
    heading = wording.elsewhere(one.group, one.backbone)
    assert heading.startswith("Other runs than the published experiment: ")
    assert ("SYNTHETIC" in heading) == ("source" in changes)


def test_the_demonstration_gives_no_verdict_and_keeps_its_numbers(tmp_path):
    pair_up(tmp_path, 0.0061, recipe="quick+epochs=1")
    one = judged(tmp_path)
    assert one.verdict == NO_VERDICT and one.found.mean == pytest.approx(0.61, abs=0.05)
    assert "no verdict" in lines_of([one])


def test_image_files_say_what_they_are(tmp_path):
    pair_up(tmp_path, 0.0061, source="images")
    one = judged(tmp_path)
    assert one.own and "not the official pixels" in one.group.title


def test_scores_become_one_number_a_run(tmp_path):
    run(tmp_path, 0, 0.8, scores=SCORES, **ATTENDED)
    run(tmp_path, 1, 0.8, scores=(0.9, 0.2, 0.8, 0.5, 0.1, 0.1), **ATTENDED)
    run(tmp_path, 0, 0.8)
    run(tmp_path, 0, 0.8, scores=(0.9, 0.2, 0.8), **ATTENDED | {"data": "rgb"})
    measured = with_metrics(group_of(tmp_path)).dropna(subset=["noise_auc"])
    assert measured["noise_auc"].tolist() == pytest.approx([1.0, 8 / 9])
    assert measured["score_gap"].tolist() == pytest.approx([0.9, -0.3])


def test_parameters_are_added_to_the_network_of_the_same_data(tmp_path):
    run(tmp_path, 0, 0.8, parameters=1000)
    run(tmp_path, 0, 0.8, parameters=900, data="rgb", configuration="c8")
    run(tmp_path, 0, 0.8, parameters=1050, **ATTENDED)
    run(tmp_path, 0, 0.8, parameters=1000, **ATTENDED | {"data": "rgb", "configuration": "c9"})
    added = with_metrics(group_of(tmp_path)).set_index("configuration")["added_parameters"]
    assert added.to_dict() == {"c0": 0, "c1": 50, "c8": 0, "c9": 100}


NORMS = (2.0, 1.0, 4.0, 0.5, 0.25, 0.125)


def test_what_scores_and_first_filters_say_of_noise_becomes_one_number_a_run(tmp_path):
    static = ATTENDED | {"attention": "static", "configuration": "c6"}
    spatial = ATTENDED | {"attention": "sse", "configuration": "c7"}
    run(tmp_path, 0, 0.8, scores=(0.5, 0.9, 0.8, 0.2, 0.1, 0.1), norms=NORMS, **ATTENDED)
    run(tmp_path, 1, 0.8, scores=(0.5, 0.9, 0.8, 0.2, 0.1, 0.1), **ATTENDED)  # from before
    run(tmp_path, 0, 0.8, scores=(1, 1, 1, 0, 0, 0), norms=NORMS, **static)
    run(tmp_path, 0, 0.8, norms=NORMS, **spatial)  # which scores no channel
    run(tmp_path, 0, 0.8, norms=NORMS)
    run(tmp_path, 0, 0.8, norms=NORMS[:3], data="rgb", configuration="c8")
    measured = with_metrics(group_of(tmp_path)).set_index(["configuration", "seed"])
    assert measured.loc["c1", "lowest_colour"].tolist() == pytest.approx([0, 0])
    assert measured.loc["c1", "highest_noise"].tolist() == pytest.approx([-math.log(4)] * 2)
    contrast = measured["input_contrast"]
    assert contrast["c1", 0] == pytest.approx(math.log(0.9 / 0.1))  # 0.9 x 1 over 0.2 x 0.5
    assert contrast["c0", 0] == pytest.approx(math.log(1 / 0.5))
    assert contrast["c6", 0] == pytest.approx(math.log(1 / 0.5e-7))
    for other in (("c1", 1), ("c7", 0), ("c8", 0)):
        assert math.isnan(contrast[other])
    saturated = measured.loc[("c6", 0)]
    assert saturated["lowest_colour"] == pytest.approx(BOUNDS["lowest_colour"][1])
    assert saturated["highest_noise"] == pytest.approx(BOUNDS["highest_noise"][0])


def claims_on(tmp_path, metric, **more):
    """A claim of one's own on a metric of the noise table, as configs/claims.yaml has it."""
    own = {"id": "mine", "statement": "So.", "table": "noise", "metric": metric, "smallest": 0.1}
    own |= {"treatment": NOISY_FIRST, "direction": "more", "minimum": 7}
    content = yaml.safe_load(CLAIMS_YAML.read_text())
    like = next(one for one in content["claims"] if one["metric"] == "score_gap")
    content["claims"] = [{k: v for k, v in like.items() if k not in DECIDED} | own | more]
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)[1]


NOISY_FIRST, NOISY = "RGB + 3 noise channels + attention at first", "RGB + 3 noise channels"
DECIDED = ("published", "margin", "against", "control")
OF_SCORES = {  # shown against a number, and against the other row
    "noise_auc": ("1.000", "0.000"),
    "score_gap": ("0.900", "+0.600"),
    "lowest_colour": ("2.31", "+1.47"),
    "highest_noise": ("\N{MINUS SIGN}4.60", "\N{MINUS SIGN}4.19"),
    "input_contrast": ("5.26", "+3.87"),
}


@pytest.mark.parametrize("metric", OF_SCORES)
def test_a_metric_of_scores_is_held_against_a_number_or_a_row(tmp_path, metric):
    static = ATTENDED | {"attention": "static", "configuration": "c6", "data": "rgb_noise"}
    for seed in range(7):
        run(tmp_path / "runs", seed, 0.8, scores=SCORES, norms=NORMS, **ATTENDED)
        weaker = (0.9, 0.8, 0.7, 0.4, 0.2, 0.1)
        run(tmp_path / "runs", seed, 0.8, scores=weaker, norms=NORMS, **static)
    group = group_of(tmp_path / "runs")
    (number,) = claims_on(tmp_path, metric, against=-9.0)
    row = replace(number.treatment, attention="static", model="static")
    pair = replace(number, against=None, control=row)
    for claim, text in zip((number, pair), OF_SCORES[metric], strict=True):
        (one,) = judge(group, [claim])
        shown = wording.shown([one]).iloc[0]
        assert one.found.n == 7 and not one.missing and shown["difference"] == text
        assert "points" not in " ".join(map(str, shown)) and text in lines_of([one])


def test_the_contrast_of_a_gate_is_held_against_that_of_the_first_convolution(tmp_path):
    for seed in range(10):
        norms = NORMS if seed else None  # of a run from before they were recorded
        run(tmp_path / "runs", seed, 0.8, norms=norms)
        moved = [score + 0.001 * (seed % 4) for score in SCORES[:3]]
        scores = [*moved, *SCORES[3:]]
        run(tmp_path / "runs", seed, 0.8, scores=scores, norms=NORMS, **ATTENDED)
    (claim,) = claims_on(tmp_path, "input_contrast", control=NOISY)
    (one,) = judge(group_of(tmp_path / "runs"), [claim])
    assert one.verdict == REPRODUCED and one.found.n == 9
    assert one.found.mean == pytest.approx(math.log(0.96 / 0.01), abs=0.01)
    assert one.missing == ["RGB + 3 noise channels, seeds 0: without input contrast"]


def test_claims_on_scores(tmp_path):
    for seed in range(10):
        moved = [score + 0.001 * (seed % 4) for score in SCORES[:3]]
        run(tmp_path, seed, 0.8, scores=[*moved, *SCORES[3:]], **ATTENDED)
    gap = judged(tmp_path, "scores-far-apart")
    assert (gap.verdict, gap.number) == (REPRODUCED, INSIDE)
    assert gap.found.mean == pytest.approx(0.90 - 0.5, abs=0.01)
    shown = wording.shown([gap]).iloc[0]
    assert shown["difference"] == "0.901" and shown["published"] == "0.904"
    assert shown["claimed"] == "> 0.5"
    assert "0.901 0.900 to 0.902   > 0.5" in lines_of([gap])
    auc = judged(tmp_path, "modalities")
    assert auc.verdict == REPRODUCED and (auc.found.low, auc.found.high) == (0.5, 0.5)
    assert wording.shown([auc]).iloc[0]["95% interval"] == "all equal"


def test_costs_are_exact(tmp_path):
    rgb = {"data": "rgb"}
    run(tmp_path, 0, 0.8, parameters=1000, multiply_adds=5000, **rgb)
    run(tmp_path, 0, 0.8, parameters=1255, multiply_adds=5001, **SE)
    parameters = judged(tmp_path, "se-cheap-parameters")
    operations = judged(tmp_path, "se-cheap-operations")
    assert parameters.verdict == CONTRADICTED and operations.verdict == REPRODUCED
    assert parameters.found.mean == pytest.approx(25.5) and not parameters.smoke
    assert wording.shown([parameters]).iloc[0]["95% interval"] == "exact"


@pytest.mark.parametrize("name", ["primary", "noise"])
def test_p_values_are_adjusted_over_their_family_alone(tmp_path, name):
    """Primary claims of all tables are a family; what a table has besides is another."""
    pair_up(tmp_path, 0.0061)
    for seed in range(10):
        run(tmp_path, seed, 0.8453 - SPREAD[seed], data="rgb", configuration="c3")
        last = {"attention": "cbam_channel", "location": "last", "configuration": "c4"}
        run(tmp_path, seed, 0.8463 + SPREAD[seed], data="rgb", **last)
    every = judge(group_of(tmp_path), CLAIMS)
    family = [j for j in every if j.claim.primary or j.claim.table.id == "noise"]
    family = [j for j in family if j.claim.primary == (name == "primary")]
    assert len(family) > 2 and {j.claim.family for j in family} == {name}
    for raw, adjusted in (("p", "p_holm"), ("p_small", "p_small_holm")):
        expected = list(stats.holm([getattr(j, raw) for j in family]))
        found = [getattr(j, adjusted) for j in family]
        assert found == pytest.approx(expected, nan_ok=True)
    assert any(j.p_holm > j.p for j in family)


def test_an_interaction_is_a_difference_of_differences(tmp_path):
    pair_up(tmp_path, 0.0061)
    first = ATTENDED | {"data": "rgb", "configuration": "c7"}
    for seed in range(10):
        run(tmp_path, seed, 0.84 + SPREAD[seed], data="rgb", configuration="c3")
        run(tmp_path, seed, 0.8415 + SPREAD[seed], **first)
    one = judged(tmp_path, "recovery-is-of-the-noise")
    assert one.found.mean == pytest.approx(0.61 - 0.15, abs=0.05) and one.found.n == 10
    assert one.verdict == REPRODUCED and one.claim.primary and len(one.runs) == 40
    for lost, row in enumerate(("c0", "c1", "c3", "c7")):  # a seed of each of the four rows
        paths = [p for p in tmp_path.iterdir() if p.name.startswith(row)]
        shutil.rmtree(next(path for path in paths if path.name.endswith(f"-{lost}")))
        left = judged(tmp_path, "recovery-is-of-the-noise")
        assert left.found.n == len(left.seeds) == 9 - lost and not math.isnan(left.found.mean)


A = {"environment": "torch 2.14.1, AMD EPYC, AVX2, fp32 fused"}
B = {"environment": "torch 2.11.0, AMD EPYC, AVX2, fp32 fused"}


def test_a_difference_is_taken_within_one_environment(tmp_path):
    """Seed 3 was trained on two machines: it is named, and is no pair."""
    for seed in range(10):
        where = A if seed < 4 else B
        run(tmp_path, seed, 0.83 + SPREAD[seed] + (0.02 if where is A else 0), **where)
        other = B if seed == 3 else where
        level = 0.02 if other is A else 0
        run(tmp_path, seed, 0.8361 + level + SPREAD[seed], **ATTENDED, **other)
    one = judged(tmp_path)
    assert one.seeds == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert one.found.mean == pytest.approx(0.61) and one.found.sd < 1e-9
    assert one.missing == ["seeds 3: computed in different environments"]
    (group,) = named([group_of(tmp_path)])
    assert group.title == "recipe post, CIFAR-10, computed in 2 environments"
    levels = accuracies.environments(group).set_index("environment")["mean"]
    assert levels[A["environment"]] - levels[B["environment"]] == pytest.approx(2, abs=0.3)
    (row,) = [
        r for r in accuracies.configurations(group).to_dict("records") if r["location"] == "first"
    ]
    assert (row["n"], row["pairs"], row["difference"]) == (10, 9, pytest.approx(0.61))


def test_runs_from_before_environments_were_recorded_stay_readable(tmp_path):
    run(tmp_path, 0, 0.83)
    run(tmp_path, 0, 0.84, mode="eager", **ATTENDED)
    known = set(group_of(tmp_path).runs["environment"])
    assert known == {"not recorded: cpu, fp32", "not recorded: cpu, fp32 eager"}


def test_a_claim_that_is_not_tested_yet_counts_in_the_adjustment(tmp_path):
    """SE's gain is one of five claims of its table, whether CBAM was run or not."""
    for seed in range(10):
        run(tmp_path, seed, 0.83, data="rgb")
        run(tmp_path, seed, 0.84 + 4 * SPREAD[seed], **SE)
    one = judged(tmp_path, "se-gain")
    assert one.p_holm == pytest.approx(5 * one.p)


def test_the_same_comparison_in_two_tables_has_one_p_and_says_so(tmp_path):
    for seed in range(10):
        run(tmp_path, seed, 0.83, data="rgb", recipe="short")
        run(tmp_path, seed, 0.84 + 4 * SPREAD[seed], recipe="short", **SE)
    gain, cifar = judged(tmp_path, "se-gain"), judged(tmp_path, "se-helps-cifar")
    assert cifar.p == gain.p and cifar.p_holm == gain.p_holm == pytest.approx(5 * gain.p)
    assert cifar.text == "reproduced on short (the runs of se-gain)" and not gain.same_as


@pytest.mark.parametrize("other", ["a9", "c9"])  # before and behind the one with the most runs
def test_an_edited_yaml_does_not_mix_into_a_claim(tmp_path, other):
    pair_up(tmp_path, 0.0061)
    for seed in range(3):
        run(tmp_path, seed, 0.1, configuration=other)
    run(tmp_path, 11, 0.1, configuration=other)
    one = judged(tmp_path)
    assert one.found.n == 10 and one.found.mean == pytest.approx(0.61, abs=0.05)
    assert one.missing == ["RGB + 3 noise channels, seeds 11: of another configuration"]


def test_a_treatment_whose_every_seed_failed_is_named(tmp_path):
    pair_up(tmp_path, 0.0, seeds=2, attended_seeds=0)
    group = group_of(tmp_path)
    failed = {"run": "x", "backbone": "mobilenet_v2", "data": "rgb_noise", "stages": "all"}
    failed |= {"attention": "cbam_channel", "location": "first", "seed": 1, "state": "failed"}
    group.unfinished = pd.DataFrame([failed | {"reason": "non-finite loss"}])
    one = next(j for j in judge(group, CLAIMS) if j.claim.id == "attention-recovers-noise")
    model = "RGB + 3 noise channels + attention at first"
    assert one.missing == [f"{model}, seeds 1: failed (non-finite loss)"]
    assert one.verdict == NOT_RUN


def undecided(root, seeds):
    for seed in range(seeds):
        run(root, seed, 0.83)
        run(root, seed, 0.8315 + 0.005 * (-1) ** seed, **ATTENDED)
    one = judged(root)
    assert one.verdict == INCONCLUSIVE and one.found.n == seeds
    return one


def test_a_first_look_that_does_not_decide_asks_for_seeds(tmp_path):
    one = undecided(tmp_path, seeds=10)
    assert one.needs > 30 and one.roughly >= one.needs
    assert one.text == f"inconclusive (needs about {one.roughly} seeds)"
    assert lines_of([one]).splitlines()[1].endswith(f"needs ~{one.roughly} seeds")
    assert replace(one, needs=104).roughly == 110


def test_a_second_look_asks_for_none(tmp_path):
    one = undecided(tmp_path, seeds=30)
    assert one.needs is None and one.text == "inconclusive after its second look"
    assert lines_of([one]).splitlines()[1].endswith("inconclusive after two looks")


def test_the_page_has_the_commands_that_trained_these_very_runs(tmp_path):
    gains = [0.0015 + 0.005 * (-1) ** seed for seed in range(12)]
    for seed, gain in enumerate(gains):
        run(tmp_path, seed, 0.83, recipe="short", backbone="resnet20")
        run(tmp_path, seed, 0.83 + gain, recipe="short", backbone="resnet20", **ATTENDED)
    report(tmp_path, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    (card,) = re.findall("<article.*?</article>", page, re.DOTALL)
    commands = re.findall("<code>(.*?)</code>", card)
    seeds = ",".join(map(str, range(12)))
    assert commands == [
        "python train.py backbone=resnet20 attention=cbam_channel data=rgb_noise location=first "
        f"recipe=short seeds=[{seeds}]",
        f"python train.py backbone=resnet20 attention=none data=rgb_noise recipe=short "
        f"seeds=[{seeds}]",
    ]
    assert "resnet20 in place of mobilenet_v2" in card


def test_better_is_no_worse(tmp_path):
    last = {"data": "rgb", "location": "last", "attention": "cbam_channel"}
    reduced = last | {"attention": "cbam_channel+reduction=16", "configuration": "c5"}
    for seed in range(10):
        run(tmp_path, seed, 0.83, parameters=1000, **last)
        run(tmp_path, seed, 0.85 + SPREAD[seed], parameters=880, **reduced)
    assert judged(tmp_path, "bottleneck-is-enough").verdict == REPRODUCED
    assert judged(tmp_path, "bottleneck-saves-parameters").verdict == NOT_RUN
    run(tmp_path, 0, 0.8, parameters=800, data="rgb", configuration="c6")  # what the gates add to
    saved = judged(tmp_path, "bottleneck-saves-parameters")
    assert saved.found.mean == pytest.approx(-60) and saved.verdict == REPRODUCED


@pytest.mark.slow
def test_two_groups_of_the_published_experiment_are_two_answers(tmp_path):
    pair_up(tmp_path, 0.0061)
    pair_up(tmp_path, -0.01, source="images", fingerprint="e" * 64)
    report(tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "verdicts.md").read_text()
    archive, images = text.split("### The published experiment, ")[1:]
    archive, images = archive.partition("###")[0], images.partition("###")[0]
    if "not the official pixels" in archive:
        archive, images = images, archive
    assert "| attention-recovers-noise | reproduced | 10 | +0.6" in archive
    assert "| attention-recovers-noise | contradicted | 10 |" in images
    assert "not the official pixels" in images and "not the official pixels" not in archive
    frame = pd.read_csv(tmp_path / "out" / "verdicts.csv").dropna(subset="group")
    assert frame.loc[frame["n"] == 10, "group"].nunique() == 2


def test_fewer_images_than_cifar10s_are_another_dataset(tmp_path):
    """Forty images of a user's own had made a page titled "The published experiment"."""
    pair_up(tmp_path, -0.01, source="images", train_images=40)
    group = group_of(tmp_path)
    gain = next(one for one in judge(group, CLAIMS) if one.found.n)
    assert not gain.own and "another dataset of 40 training and 10,000 test images" in gain.text
    assert "40 training and 10,000 test images" in group.title


def test_a_test_of_one_side_asks_for_fewer_seeds(tmp_path):
    """Of a bottleneck that loses 0.15 points, where 0.3 would count."""
    for seed in range(10):
        last = {"location": "last", "data": "rgb", "attention": "cbam_channel"}
        run(tmp_path, seed, 0.83, **last, configuration="c3")
        narrow = last | {"attention": "cbam_channel+reduction=16"}
        accuracy = round(0.8285 + 0.005 * (-1) ** seed, 4)
        run(tmp_path, seed, accuracy, **narrow, configuration="c4")
    one = judged(tmp_path, "bottleneck-is-enough")
    assert one.verdict == INCONCLUSIVE
    sd = one.found.sd
    assert one.needs == stats.seeds_needed(sd, 0.3, sides=1) < stats.seeds_needed(sd, 0.3)


def test_a_seed_between_others_that_no_row_has_is_missing(tmp_path):
    pair_up(tmp_path, 0.0061)
    for folder in tmp_path.glob("*-4"):
        shutil.rmtree(folder)
    one = judged(tmp_path)
    assert one.found.n == 9
    rows = ("RGB + 3 noise channels + attention at first", "RGB + 3 noise channels")
    assert one.missing == [f"{row}, seeds 4: missing" for row in rows]
