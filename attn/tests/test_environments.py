"""scripts/environments.py: what it compares, what it says of it, what it refuses."""

import runpy

import pandas as pd
import pytest

from attn.tests.conftest import ROOT, program

WORDS = ["data.source=synthetic", "recipe.images=160", "recipe.test_images=100"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return runpy.run_path(str(ROOT / "scripts" / "environments.py"))


def outcome(**changes):
    """What a process says of two steps."""
    one = {"torch": "2", "computed": "fp32, eager", "start": "a", "end": "b", "losses": [2.0, 1.0]}
    return one | changes


def test_one_bit_of_a_loss_or_of_the_weights_is_a_difference(script):
    compared, verdict = script["compared"], script["_verdict"]
    same = compared(outcome(), outcome())
    assert verdict(same) == "same bits" and same["first_step"] is None
    assert same["difference_at_last"] == 0
    other = compared(outcome(losses=[2.0, 1.0 + 2**-23], end="c"), outcome())
    assert verdict(other) == "other losses" and other["first_step"] == 2
    assert other["difference_there"] == other["difference_at_last"] == 2**-23
    assert verdict(compared(outcome(end="c"), outcome())) == "other weights at the end"
    assert verdict(compared(outcome(start="c"), outcome())) == "other weights at the start"
    lost = [float("nan")] * 2
    assert verdict(compared(outcome(losses=lost), outcome(losses=lost))) == "same bits"


def test_this_machine_has_variations_of_different_names(script):
    names = [variation.name for variation in script["variations"](["python"])]
    assert names[:2] == ["unchanged", "the same again"] and names[-1] == "another torch"
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_steps_are_trained_again_in_the_same_and_in_another_environment(
    script, tmp_path, monkeypatch, capsys
):
    listed = script["variations"]([])
    two = [listed[0], listed[1], script["Variation"]("lost", python="false")]
    two.insert(2, script["Variation"]("another recipe", words=["recipe.lr=0.1"]))
    monkeypatch.setitem(script["main"].__globals__, "variations", lambda pythons: two)
    monkeypatch.setattr("sys.argv", ["", "--steps", "7", "--out", str(tmp_path), *WORDS])
    with pytest.raises(SystemExit, match="some failed"):
        script["main"]()
    (folder,) = tmp_path.iterdir()
    frame = pd.read_csv(folder / "environments.csv").set_index("variation")
    assert (
        frame.loc["the same again", "same_losses"] and frame.loc["the same again", "same_weights"]
    )
    other = frame.loc["another recipe"]
    assert other["same_start"] and not other["same_losses"]  # and the first update is the second's
    assert other["first_step"] == 2 and other["difference_at_last"] > 0
    assert frame.loc["lost", "computed"] == "FAILED"
    text = (folder / "environments.md").read_text()
    assert text in capsys.readouterr().out
    assert "| the same again |" in text and "The first 7 steps of `device=cpu" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stpes", "3"], "unknown option --stpes"),
        (["--steps", "0"], "--steps 0: it takes a number from 1 on"),
        (["--python", "/nowhere"], "--python /nowhere: there is no such file"),
        (["--steps", "11", "data.source=synthetic", "recipe.images=160"], "has 10 steps"),
        (["recipe.lrr=1"], "Did you mean recipe.lr?"),
        (["seeds=2"], "seeds=2: one seed is trained here"),
    ],
)
def test_wrong_words_are_refused_at_once(words, message):
    done = program("scripts/environments.py", *words)
    assert done.returncode and message in done.stderr and "Traceback" not in done.stderr
