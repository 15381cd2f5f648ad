"""Tables, their forms and the whole report from a few made-up runs; what is damaged is left out."""

import json
import math
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import yaml

from attn import formats
from attn.config.sweep import configuration
from attn.errors import RunError
from attn.evidence import accuracies, content, frozen, verdicts
from attn.evidence.claims import ClaimError, command_of
from attn.evidence.claims_file import load
from attn.evidence.collect import SEEN, collect
from attn.evidence.group import Group, named
from attn.evidence.scores import gates, importance, separation
from attn.report import tables
from attn.report.figures import channels
from attn.report.report import report
from attn.report.section import write_tables
from attn.stats import CONTRADICTED, REPRODUCED
from attn.tests.made_up import ATTENDED, SCORES, group_of, made_up_runs, run

TABLES, CLAIMS = load()
NOISE = next(table for table in TABLES if table.id == "noise")


def test_a_table_has_seeds_intervals_differences_and_what_was_published(tmp_path):
    for seed, (without, attended) in enumerate([(0.8301, 0.8407), (0.8402, 0.8493)]):
        run(tmp_path, seed, without)
        run(tmp_path, seed, attended, **ATTENDED)
        run(tmp_path, seed, without + 0.01, data="rgb", configuration="c2")
    group = group_of(tmp_path)
    first = group.epochs["epoch"] == 0
    group.epochs["test_accuracy"] = group.epochs["test_accuracy"].mask(first, 0.9)
    frame = accuracies.accuracy(group, NOISE).set_index("model")
    noisy = frame.loc["RGB + 3 noise channels"]
    assert noisy["best_epoch"] == pytest.approx(90)
    assert (noisy["n"], noisy["published"]) == (2, 83.73)
    assert noisy["mean"] == pytest.approx(83.515) and noisy["sd"] == pytest.approx(0.714178)
    half = 12.7062 * 0.714178 / math.sqrt(2)  # Student's t with one degree of freedom
    assert noisy["high"] - noisy["mean"] == pytest.approx(half, rel=1e-4)
    one_run = half * math.sqrt(2 + 1)  # beside the mean of two runs one more run varies
    assert noisy["one_run_high"] - noisy["mean"] == pytest.approx(one_run, rel=1e-4)
    assert noisy["seeds"] == "0: 83.01  1: 84.02"
    assert noisy["difference"] == pytest.approx(-1) and noisy["difference_low"] == pytest.approx(-1)
    control = frame.loc["RGB + attention at first (our control)"]
    assert control["n"] == 0 and control["seeds"] == "not run" and pd.isna(control["published"])
    assert control["missing"] == "RGB + attention at first (our control), seeds 0, 1: missing"
    assert pd.isna(frame.loc["RGB baseline", "difference"])


ELSE = [
    {"recipe": "quick"},
    {"recipe": "post+lr=0.1"},
    {"backbone": "resnet20"},
    {"source": "synthetic"},
    {"source": "images", "train_images": 200},
]


@pytest.mark.parametrize("changes", ELSE)
def test_what_is_not_the_posts_experiment_has_no_published_column(tmp_path, changes):
    run(tmp_path / "runs", 0, 0.5, **changes)
    run(tmp_path / "runs", 0, 0.5, **ATTENDED | changes)
    group = group_of(tmp_path / "runs")
    assert "published" not in accuracies.accuracy(group, NOISE).columns
    if "backbone" not in changes:
        folder = _folder(tmp_path, group)
        section = write_tables(named([group])[0], TABLES, CLAIMS, folder, "python eval.py")
        assert "alone can be held against published ones" in section.tables[0].caption


def _folder(tmp_path, group):
    """A place for a group's tables."""
    named([group])[0].write(tmp_path / named([group])[0].name)
    return tmp_path


def test_a_sweep_of_ones_own_shows_its_accuracies_in_the_terminal(tmp_path, capsys):
    for seed in range(2):
        run(tmp_path, seed, 0.77)
        for location in ("first", "last"):
            run(tmp_path, seed, 0.8, attention="gsop", location=location, configuration=location)
    report(tmp_path, tmp_path / "out")
    printed = capsys.readouterr().out
    assert "Every configuration" in printed and "Points above no attention, by place" in printed
    assert "gsop 2 +3.00 +3.00" in " ".join(printed.split())
    rows = [line for line in printed.splitlines() if "gsop" in line and "80.00" in line]
    assert len(rows) == 2 and all(len(line) <= 100 for line in rows)


def test_an_edited_yaml_makes_a_row_of_its_own(tmp_path):
    run(tmp_path, 0, 0.5)
    run(tmp_path, 0, 0.6, configuration="c9")
    for key, reduction in (("c1", 4), ("c2", 8)):
        folder = run(tmp_path, 0, 0.6, **ATTENDED | {"configuration": key})
        words = ["data=rgb_noise", "location=first", f"attention.reduction={reduction}"]
        values = asdict(configuration(*words)) | {"seed": 0}
        (folder / "config.yaml").write_text(yaml.safe_dump(values))
    group = named([group_of(tmp_path)])[0]
    group.write(tmp_path / "out")
    for known in (group, Group.read(tmp_path / "out")):
        assert accuracies.accuracy(known, NOISE)["model"].tolist()[1:5] == [
            "RGB + 3 noise channels [configuration c0]",
            "RGB + 3 noise channels [configuration c9]",
            "RGB + 3 noise channels + attention at first [attention.reduction=4]",
            "RGB + 3 noise channels + attention at first [attention.reduction=8]",
        ]
        edited = known.runs[known.runs["configuration"] == "c2"].iloc[0]
        assert command_of(edited, [0]).endswith("recipe=post attention.reduction=8 seeds=[0]")


def test_a_difference_of_fewer_pairs_than_seeds_says_of_how_many(tmp_path):
    run(tmp_path, 0, 0.8, data="rgb", configuration="c2")
    for seed in range(3):
        run(tmp_path, seed, 0.81 + 0.01 * seed)
    run(tmp_path, 0, 0.85, **ATTENDED)
    words = tables.of_claims(NOISE).in_words(accuracies.accuracy(group_of(tmp_path), NOISE))
    assert words["to baseline"].tolist() == ["", "+1.00 (1 pair)", "+5.00", ""]
    for text in (formats.markdown(words), formats.html_table(words)):
        assert "+1.00 (1 pair)" in text


def test_the_best_and_its_equals_are_marked_in_every_form(tmp_path):
    for seed in range(8):
        run(tmp_path, seed, 0.8 + 0.001 * (seed % 3))
        run(tmp_path, seed, 0.9 + 0.001 * (seed % 2), **ATTENDED)
    frame = accuracies.accuracy(group_of(tmp_path), NOISE)
    assert frame.loc[frame["best"], "model"].tolist() == [NOISE.rows[2].model]
    words = tables.of_claims(NOISE).in_words(frame)
    assert "| **90.05** |" in formats.markdown(words) and "**80" not in formats.markdown(words)
    assert "<strong>90.05</strong>" in formats.html_table(words)


def test_every_form_escapes_what_it_must():
    frame = pd.DataFrame({"a_b": ["x|y & 50%", None], "n": [12345, 1], "c": [-0.005, 1.0]})
    assert formats.markdown(frame).splitlines()[2:] == [
        "| x\\|y & 50% | 12,345 | 0.00 |".replace("0.00", "\N{MINUS SIGN}0.01"),
        "|  | 1 | 1.00 |",
    ]
    assert "<td>x|y &amp; 50%</td>" in formats.html_table(frame)


NUMBERS = [
    (1234.5, {}, "1,234.50"),
    (-0.001, {}, "0.00"),
    (0.5, {"sign": True}, "+0.50"),
    (-0.5, {"sign": True}, "\N{MINUS SIGN}0.50"),
    (-0.001, {"sign": True}, "0.00"),
    (math.nan, {}, ""),
    (None, {}, ""),
]


@pytest.mark.parametrize(("value", "options", "text"), NUMBERS)
def test_numbers(value, options, text):
    assert formats.number(value, **options) == text


def test_gate_health_is_what_the_scores_say(tmp_path):
    """Two places of two channels; untrained, then the last of two epochs, on all images."""
    folder = run(tmp_path, 0, 0.8, attention="se", location="per_block")
    rows = [
        {"module": f"layer{place}.se", "channel": c, "epoch": epoch, "images": n, "mean": mean}
        for place in (1, 2)
        for c in (0, 1)
        for epoch, n, mean in (
            (-1, 250, 0.5),
            (0, 1000, 0.6),
            (1, 64, 0.9),
            (1, 10_000, 0.2 * place),
        )
    ]
    frame = pd.DataFrame(rows).assign(sd=0.1, saturated=0.25)
    frame.to_csv(folder / "scores.csv", index=False)
    (row,) = gates(group_of(tmp_path)).to_dict("records")
    assert (row["attention"], row["part"], row["first"]) == ("se", "gate", 0.5)
    assert row["last"] == pytest.approx(0.3)
    assert row["moved"] == pytest.approx(0.2)  # by 0.3 at one place, by 0.1 at the other
    assert (row["spread"], row["saturated"], row["loss_last"]) == (0.1, 0.25, 1.5)


def test_separation_and_importance_over_seeds(tmp_path):
    for seed in range(3):
        folder = run(tmp_path, seed, 0.8, scores=SCORES, **ATTENDED)
        lost = {"channel": range(6), "score": SCORES, "sd": [1, 1, 1, 1, 1, 1 + seed]}
        lost["lost"] = [30, 20, 10, 0.1, 0.3, 0.2]
        frame = pd.DataFrame(lost).assign(module="seams.input", images=2000)
        frame.to_csv(folder / "importance.csv", index=False)
    group = group_of(tmp_path)
    (row,) = separation(group).to_dict("records")
    assert (row["n"], row["noise_auc"], row["noise_auc_low"]) == (3, 1.0, 1.0)
    assert row["score_gap"] == pytest.approx(0.9) and row["precision"] == 1
    (row,) = importance(group).to_dict("records")
    ranks = [6, 5, 4, 3, 1, 2], [6, 5, 4, 1, 3, 2]
    assert row["n"] == 3 and row["score"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert row["sd"] == pytest.approx(np.mean([row["sd_low"], row["sd_high"]]))


def swapped(root, seed, usual, away):
    """A run and what became of its scores: each moves by this share of the way to the other's."""
    folder = run(root, seed, 0.8, scores=usual, **ATTENDED)
    rows = []
    for colour in range(3):
        for noise in range(3, 6):
            scores = list(usual)
            scores[colour] += away * (usual[noise] - usual[colour])
            scores[noise] += away * (usual[colour] - usual[noise])
            pair = {"colour": colour, "noise": noise}
            rows += [
                pair | {"slot": slot, "usual": usual[slot], "swapped": scores[slot]}
                for slot in range(6)
            ]
    pd.DataFrame(rows).to_csv(folder / "swap.csv", index=False)


def test_the_share_of_a_score_that_follows_the_content_over_seeds(tmp_path):
    for seed, share in enumerate((0.2, 0.3)):
        swapped(tmp_path / "runs", seed, SCORES, share)
    swapped(tmp_path / "runs", 2, [0.5] * 6, 0.9)  # no gap: undefined
    report(tmp_path / "runs", tmp_path / "out")
    (row,) = content.table(Group.read(tmp_path / "out" / "post")).to_dict("records")
    assert (row["n"], row["follows_content_n"]) == (3, 2)
    assert row["follows_content"] == pytest.approx(0.25)
    assert row["high"] - row["low"] == pytest.approx(2 * 12.7062 * 0.05, rel=1e-4)
    colour, noise = np.mean(SCORES[:3]), np.mean(SCORES[3:])
    assert row["score_colour"] == pytest.approx((2 * colour + 0.5) / 3)
    risen = 2 * noise + 0.5 * (colour - noise) + 0.5
    assert row["score_colour_in_noise"] == pytest.approx(risen / 3)
    text = (tmp_path / "out" / "post" / "content.md").read_text()
    assert "| undefined |" in text and "0.25" in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="post-content"' in page and "Does the score follow the content or the place?" in page


@pytest.mark.parametrize(
    ("scores", "precision"),
    [
        ([0.5] * 6, 0.5),
        ([0.9, 0.5, 0.5, 0.5, 0.1, 0.1], 1 / 3 + 2 / 3 * 2 / 3),
        ([1, 2, 3, 4, 5, 6], 0),
    ],
)
def test_channels_that_tie_share_their_places(tmp_path, scores, precision):
    scores = [score / 10 for score in scores]
    run(tmp_path, 0, 0.8, scores, **ATTENDED)
    (row,) = separation(group_of(tmp_path)).to_dict("records")
    assert row["precision"] == pytest.approx(precision)


def test_scores_among_noise_of_several_kinds_are_drawn(tmp_path):
    """A noise channel scores above one colour: two of three, and the AUC counts its pairs."""
    mixed = (0.9, 0.8, 0.1, 0.5, 0.2)
    for seed in range(3):
        for data, scores in (("rgb_noise", SCORES), ("rgb_noise+channels=2,kind=copy", mixed)):
            run(tmp_path, seed, 0.8, scores, **ATTENDED | {"data": data, "configuration": data[9:]})
    group = group_of(tmp_path)
    frame = separation(group).set_index("data")
    row = frame.loc["rgb_noise+channels=2,kind=copy"]
    assert row["precision"] == pytest.approx(2 / 3) and row["noise_auc"] == pytest.approx(4 / 6)
    (path,) = channels.by_noise(separation(group), "title", tmp_path)
    assert path.stat().st_size > 10_000
    alone = separation(group).iloc[:1]
    assert channels.by_noise(alone, "title", tmp_path) == []  # nothing to compare


def frozen_run(root, seed, lost, **options):
    """A run whose gates were frozen: `lost` of all at once, and of each alone."""
    folder = run(root, seed, 0.8, scores=SCORES, **ATTENDED | options)
    names = ["all", *(f"layer{i}.0.seams.refine" for i in range(1, len(lost)))]
    frame = pd.DataFrame({"module": names, "lost": lost}).assign(accuracy=80.0, images=2000)
    frame = frame.assign(frozen=80 - frame["lost"], low=frame["lost"] - 1, high=frame["lost"] + 1)
    frame.assign(between=0.1 * (seed + 1)).to_csv(folder / "frozen.csv", index=False)


def test_what_is_lost_with_frozen_gates_over_seeds(tmp_path):
    for seed, lost in enumerate((1.0, 2.0, 3.0)):
        frozen_run(tmp_path / "runs", seed, [lost, 0.5, lost])
    frozen_run(tmp_path / "runs", 0, [4.0], attention="static", configuration="c2")
    report(tmp_path / "runs", tmp_path / "out")
    group = Group.read(tmp_path / "out" / "post")
    several, single = frozen.table(group).to_dict("records")
    assert (several["n"], several["gates"], several["frozen"]) == (3, 2, pytest.approx(78))
    assert several["lost"] == pytest.approx(2)
    assert several["high"] - several["low"] == pytest.approx(2 * 4.302653 / 3**0.5)
    assert (several["worst"], several["worst_lost"]) == ("layer2.0.seams.refine", 2)
    assert several["between"] == pytest.approx(20)
    assert (single["n"], single["gates"], single["worst"]) == (1, 1, "")
    assert (single["lost"], single["low"], single["high"]) == (4, 3, 5)  # over its images
    assert frozen.change(group) == {
        run: -lost for run, lost in zip(group.runs["run"], (1.0, 2.0, 3.0, 4.0), strict=True)
    }
    assert len(frozen.by_place(group)) == 3  # two gates, and the single one
    assert "| points lost |" in (tmp_path / "out" / "post" / "frozen_gates.md").read_text()
    assert (tmp_path / "out" / "post" / "frozen-mobilenet_v2.png").exists()


@pytest.mark.parametrize(("lost", "verdict"), [(0.0, REPRODUCED), (2.0, CONTRADICTED)])
def test_a_claim_that_gates_are_constants_is_judged(tmp_path, lost, verdict):
    for seed in range(10):
        frozen_run(tmp_path, seed, [lost + 0.01 * seed], location="last", data="rgb")
    (judged,) = [
        one
        for one in verdicts.judge(group_of(tmp_path), load()[1])
        if one.claim.id == "gate-at-last-is-a-constant"
    ]
    assert (judged.found.n, judged.verdict) == (10, verdict)
    assert judged.found.mean == pytest.approx(-lost - 0.045)


def test_the_report_is_whole(tmp_path, capsys):
    made_up_runs(tmp_path)
    report(tmp_path, tmp_path / "out")
    printed = capsys.readouterr().out
    assert all(len(line) <= 100 for line in printed.splitlines() if "/" not in line)
    out = tmp_path / "out"
    for name in ("noise", "configurations", "separation", "inputs", "gates"):
        for kind in ("csv", "md"):
            assert (out / "post" / f"{name}.{kind}").stat().st_size > 100
    pictures = sorted(path.stem for path in (out / "post").glob("*.png"))
    assert [name.split("-")[0] for name in pictures] == [
        *("claims", "controls_first", "health", "noise", "parameters", "scores", "scores"),
    ]
    assert "SYNTHETIC" in (out / "verdicts.md").read_text()
    page = (out / "report.html").read_text()
    for run_name in pd.read_csv(out / "post" / "runs.csv")["run"]:
        assert f'id="{run_name}"' in page and f'href="#{run_name}"' in page
    for picture in pictures:
        assert f'id="post-figure-{picture}"' in page
    names = re.findall(r'\sid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert "python train.py experiment=accuracy" in page
    assert page.count("data:image/") == len(list(out.glob("*/*.png"))) + 1  # the first again
    opening = page[page.index('id="published"') : page.index('id="verdicts"')]
    cells = re.findall(r"<td[^>]*>(?:<strong>)?([^<]*)", opening)
    noise = cells[cells.index("RGB + 3 noise channels") :]
    assert noise[1:3] == ["83.73", "83.10, 82.85 to 83.35 (n=3)"] and "<img" in opening
    assert page.index('id="waiting"') > page.index('id="post"')  # the answers first
    for outside in ("http://", "https://", "<script", 'src="/', "@import"):
        assert outside not in page.replace("http://www.w3.org", "")


def test_stem_norms_are_read_and_published_and_older_runs_have_none(tmp_path):
    run(tmp_path, 0, 0.83)
    new = run(tmp_path, 1, 0.84, norms=[3, 2, 1, 0.5, 0.25, 0.125])
    named([group_of(tmp_path)])[0].write(tmp_path / "out")
    stem = Group.read(tmp_path / "out").stem
    assert stem["run"].unique().tolist() == [new.name] and len(group_of(tmp_path).runs) == 2
    assert stem["norm"].tolist() == [3, 2, 1, 0.5, 0.25, 0.125]


DAMAGED_STEMS = [
    ("", "it is empty"),
    ("channel,norm\n", "a channel is missing"),
    ("channel,norm\n0,1\n1,1\n", "a channel is missing"),
    ("channel,norm\n0,1\n1,1\n2,1\n4,1\n", "a channel is missing"),
    ("channel,norm\n0,1\n1,\n2,1\n", "could not convert"),
    ("channel,norm\n0,1\n1,0\n2,1\n", "a norm is no number above 0"),
    ("channel,norm\n0,1\n1,inf\n2,1\n", "a norm is no number above 0"),
    ("channel,norm\n0,1\n1,x\n2,1\n", "could not convert"),
]


@pytest.mark.parametrize(("text", "reason"), DAMAGED_STEMS)
def test_a_damaged_stem_is_named(tmp_path, text, reason):
    run(tmp_path, 0, 0.83)
    damaged = run(tmp_path, 1, 0.84)
    (damaged / "stem.csv").write_text(text)
    found = collect(tmp_path)
    (left_out,) = found.left_out
    assert left_out.startswith(f"{damaged.name}: its stem.csv is damaged ({reason}")
    assert len(found.groups[0].runs) == 1


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match=r"no finished run in .*: train some first"):
        report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


FILES = {"metrics.csv": b"", "scores.csv": b"a,b\n1,2\n", "predictions.npz": b"PK nonsense"}
FILES |= {
    "importance.csv": b"a,b\n1,2\n",
    "classes.csv": b"a,b\n1,2\n",
    "swap.csv": b"slot,usual\n0,0.5\n",
    "frozen.csv": b"module,lost\nall,0.5\n",
    "stem.csv": b"channel,norm\n0,0.5\n",
}
NO_MODULES = "epoch,images,channel,mean\n0,64,0,0.5\n"
WRONG = {"test_accuracy": "high", "parameters": None, "source": "mars", "fingerprint": None}


def test_damage_is_left_out_with_the_reason(tmp_path, capsys):
    run(tmp_path, 0, 0.83)
    for name, summary in (("cut", '{"run"'), ("bare", "{}"), ("list", "[1]")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("")
        (folder / "summary.json").write_text(summary)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text("[1, 2")
    whole = run(tmp_path, 1, 0.84)
    shutil.copytree(whole, tmp_path / "copy")
    for seed, (file, text) in enumerate(FILES.items(), 2):
        (run(tmp_path, seed, 0.84, scores=SCORES, **ATTENDED) / file).write_bytes(text)
    cut = {"metrics.csv": "its end is not the summary's", "scores.csv": "5 of 6 rows in epoch 1"}
    for seed, file in enumerate(cut, 10):  # their last line is lost
        path = run(tmp_path, seed, 0.84, scores=SCORES, **ATTENDED) / file
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("{}")
    (run(tmp_path, 16, 0.84, **ATTENDED) / "scores.csv").write_text(NO_MODULES)
    (run(tmp_path, 15, 0.84, scores=SCORES, **ATTENDED) / "scores.csv").unlink()
    for seed, (key, wrong) in enumerate(WRONG.items(), 20):
        folder = run(tmp_path, seed, 0.84)
        summary = json.loads((folder / "summary.json").read_text()) | {key: wrong}
        (folder / "summary.json").write_text(json.dumps(summary))
    report(tmp_path, tmp_path / "out")
    printed = capsys.readouterr().out
    assert "delete it and summary.json, and train.py writes both again" in printed
    for name in ("cut", "bare", "list"):
        assert f"left out: {name}: its summary.json is damaged" in printed
    assert "left out: odd: its config.yaml is damaged" in printed
    assert f"left out: copy: it is a copy of {whole.name}" in printed
    assert printed.count("its summary.json is damaged") == 3 + len(WRONG)
    for file in FILES:
        assert f"its {file}" in printed
    for file, reason in (*cut.items(), ("scores.csv", "there is none")):
        assert f"its {file} is damaged ({reason}); delete the folder, and train.py" in printed
    assert printed.count("left out: ") == 3 + 2 + 1 + len(FILES) + len(cut) + 2 + len(WRONG)
    assert len(pd.read_csv(tmp_path / "out" / "post" / "runs.csv")) == 2


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("importance.csv", "seams.input,0,0.5,0.1,x,2000", "its column lost has 'x', which is no"),
        ("importance.csv", "seams.input,0,0.5,0.1,1,2000\n" * 2, "line 3 stands twice"),
    ],
)
def test_damage_in_what_a_look_found_is_left_out(tmp_path, capsys, file, text, reason):
    run(tmp_path, 0, 0.83)
    head = ",".join(SEEN[file.removesuffix(".csv")])
    (run(tmp_path, 1, 0.84) / file).write_text(f"{head}\n{text}\n")
    report(tmp_path, tmp_path / "out")
    told = f"its {file} is damaged ({reason}"
    printed = " ".join(capsys.readouterr().out.split())
    assert told in printed and "delete it, and eval.py checkpoint=all makes it again" in printed


def test_a_table_with_the_name_of_another_file_is_refused(tmp_path, monkeypatch):
    made_up_runs(tmp_path)
    for name in ("scores", "pictures", "blocks"):
        renamed = [replace(NOISE, id=name)]
        monkeypatch.setattr("attn.report.report.load", lambda tables=renamed: (tables, []))
        with pytest.raises(ClaimError, match=f"table {name}: a report has a file of that name"):
            report(tmp_path, tmp_path / "out")
