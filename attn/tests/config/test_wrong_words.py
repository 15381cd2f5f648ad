"""Wrong command lines: each ends in one line, without a traceback, before a folder is made."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from attn.config import catalogue, cli, sweep, words
from attn.config.schema import Eval
from attn.config.words import check_words
from attn.errors import UserError
from attn.tests.conftest import ROOT

PARAMS = "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      "
NUMBERS = ["epochs", "batch_size", "size", "lr", "momentum", "weight_decay", "warmup", "images"]


def misspell(random_, word):
    """One letter doubled, dropped or replaced."""
    place = random_.randrange(len(word))
    letter = random_.choice(["", word[place] * 2, "q"])
    return word[:place] + letter + word[place + 1 :]


def wrong_words(random_):
    """A command line with exactly one mistake, of a random kind."""
    group = random_.choice([g for g in catalogue.GROUPS if g != "experiment"])
    right = random_.choice(catalogue.choices(group))
    number = random_.choice(NUMBERS)
    mistakes = [
        f"{misspell(random_, group)}={right}",
        f"{group}={misspell(random_, right)}",
        f"{group}.{misspell(random_, 'channels')}=3",
        f"recipe.{misspell(random_, number)}=1",
        f"{number}=1",
        f"recipe.{number}={random_.choice(['many', '[1]', 'true', '-1'])}",
        f"seed={random_.choice(['1', '0,1'])}",
        f"seeds={random_.choice(['0', '-2', 'x', '[1,1]', '[a]', '1.5', '[]'])}",
        f"location={misspell(random_, 'per_block')}",
        f"device={random_.choice(['gpu', '0', 'mps'])}",
        f"data.noise.channels={random_.choice(['-1', 'x', '1.5', 'null'])}",
        f"data.noise.kind={misspell(random_, 'gaussian')}",
        f"runs={random_.choice(['', 'null', 'a=b', 'f(x)', '~a', '[b]'])}",
        f"data.source={misspell(random_, 'synthetic')}",
        f"recipe.precision={random_.choice(['fp16', '32', 'half'])}",
        f"recipe.schedule={misspell(random_, 'cosine')}",
        f"recipe.augment={misspell(random_, 'crop_flip')}",
        f"attention.{misspell(random_, 'reduction')}=4",
        f"attention.reduction={random_.choice(['0', '-4', 'x', '[2]', 'null', '0.5'])}",
        f"attention.bias={random_.choice(['maybe', '7', 'null'])}",
        f"backbone.stem={random_.choice(['wide', 'CIFAR', 'null', '3'])}",
        f"backbone.refine_at={random_.choice(['start', 'null', '1'])}",
        f"stages={random_.choice(['[9]', '[]', 'some', '2', '[0]', '[x]'])}",
        right,
    ]
    return ["attention=se", random_.choice(mistakes)]


def refusal(words):
    """What the programs say of a command line, with all that main does before it trains."""
    try:
        sweep.check_all(words)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        return str(error).partition("\n")[0]
    return pytest.fail(f"nothing wrong with {words}")


@pytest.mark.slow
def test_three_hundred_wrong_command_lines_end_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_, kinds = random.Random(20), set()
    for _ in range(300):
        words = wrong_words(random_)
        message = refusal(words)
        assert len(message.splitlines()) == 1, (words, message)
        assert len(message) > 20 and "Error" not in message, (words, message)
        kinds.add(words[1].partition("=")[0])
    assert len(kinds) > 80
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.noise.kind=gaussian"], "data.noise.kind=gaussian: there are no noise channels"),
        (
            ["data.noise.size=8"],
            "data.noise.size=8: there are no noise channels; add data=rgb_noise",
        ),
        (["runs=FILE"], "FILE is a file; name a folder"),
        (["runs=FILE/below"], "FILE is a file; name a folder"),
        (["runs='${nowhere}'"], "Interpolation key 'nowhere' not found"),
        (["data.noise.channels=1000000"], "=1000000: it must be from 0 to 256"),
        (["recipe.epochs=99999999999999999999999"], "it must be from 1 to 10,000"),
        (["hydra/launcher=joblib"], "only a sweep goes to a launcher; add -m"),
        (["location=first,last"], "location=first,last: several values; add -m"),
        (["location=last,last"], "location=last,last: several values; add -m"),
        (["seeds=[0],[3]"], "write seeds=[0,3]"),
        (["hydra/launcher=null"], "hydra/launcher=null: choose one of basic"),
        (["hydra.run.dir=a,b"], "hydra.run.dir=a,b: several values"),
        (["recipe.epochs=range(1,5,0)"], "recipe.epochs=range(1,5,0): Hydra cannot read it"),
        (["runs=/a,b"], "a text with commas is 'runs=\"/a,b\"'"),
        (["stages=2"], "stages=2: choose all, between, or a list such as [2]"),
        (["blocks=2"], "blocks=2: choose all, or a list such as [2]"),
        (
            ["attention=se", "blocks=[2]", "stages=[1]"],
            "with stages=[1]; choose stages or blocks",
        ),
        (["-m", "experiment=noise,accuracy"], "one at a time; each is a sweep of its own"),
        (["-m", "experiment=glob(*)"], "one at a time; each is a sweep of its own"),
        (["attention=eca", "attention.reduction=8"], "here. These have it: aff, bam, cbam"),
        (["experiment=noise", "hydra.mode=RUN"], "hydra.mode=RUN: leave it out; -m or experiment="),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: leave it out; runs= would name"),
        (["hydra/job_logging=foo"], "hydra/job_logging=foo: leave it out"),
        (["-m", "hydra.sweeper.params.attention='se,cbam'"], "write what varies with -m"),
        (["-m", "hydra.launcher.n_jobs=0"], "a number of jobs, or -1 for all processors"),
        (["attention=constant", "attention.value=inf"], "value=inf: it must be above 0, and"),
        (["hydra/sweeper=optuna"], "a sweeper that tunes would choose on the test set"),
        (["hydra/launcher=none"], "hydra/launcher=none: choose one of basic"),
        (["hydra.run.dir=/proc/x"], "hydra.run.dir=/proc/x: /proc cannot be written to"),
    ],
)
def test_what_no_single_run_can_mean_ends_in_one_line(tmp_path, words, message):
    (tmp_path / "file").touch()
    words = [word.replace("FILE", str(tmp_path / "file")) for word in words]
    assert message.replace("FILE", str(tmp_path / "file")) in refusal(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attention: half", "wrong.yaml: attention=half: a choice goes under `hydra:`, `sweeper:`"),
        (PARAMS + "attention: halve", "wrong.yaml: attention=halve: choose one of aff, "),
        (PARAMS + "attention: glob(z*)", "wrong.yaml: attention=glob(z*): it finds none; there is"),
        (PARAMS + "location: a=b", "wrong.yaml: location=a=b: Hydra cannot read it"),
        (
            PARAMS + "atention: se",
            "wrong.yaml: atention: there is no such key here. Did you mean att",
        ),
    ],
)
def test_a_mistake_in_an_experiment_is_named_with_its_file(tmp_path, monkeypatch, text, message):
    configs = shutil.copytree(catalogue.CONFIGS, tmp_path / "configs")
    (configs / "experiment" / "wrong.yaml").write_text(f"# @package _global_\n{text}\n")
    for module in (catalogue, words):
        monkeypatch.setattr(module, "CONFIGS", configs)
    assert message in refusal(["experiment=wrong"])


def test_an_experiment_without_its_first_line_is_refused(tmp_path, monkeypatch):
    configs = shutil.copytree(catalogue.CONFIGS, tmp_path / "configs")
    (configs / "experiment" / "wrong.yaml").write_text(f"{PARAMS}location: first\n")
    for module in (catalogue, words):
        monkeypatch.setattr(module, "CONFIGS", configs)
    assert "wrong.yaml: its first line must be `# @package" in refusal(["experiment=wrong"])


def test_an_experiment_may_vary_a_group_by_a_function(tmp_path, monkeypatch):
    configs = shutil.copytree(catalogue.CONFIGS, tmp_path / "configs")
    text = f"# @package _global_\n{PARAMS}attention: glob(cb*)\n"
    (configs / "experiment" / "some.yaml").write_text(text)
    for module in (catalogue, words):
        monkeypatch.setattr(module, "CONFIGS", configs)
    sweep.check_all(["experiment=some", "recipe=quick"])
    assert [cell[0] for cell in sweep.split(["experiment=some"])] == [
        "attention=cbam",
        "attention=cbam_channel",
    ]


def test_the_last_word_of_a_key_counts_in_the_place_of_the_first():
    cells = sweep.split(["location=first,last", "attention=se,cbam", "location=none", "seeds=2"])
    assert cells == [["location=none", f"attention={a}", "seeds=2"] for a in ("se", "cbam")]
    placed = sweep.split(["experiment=placement", "attention=se,bam"])
    assert placed[0][0] == "attention=se" and placed[-1][0] == "attention=bam"
    sweep.check_all(["seeds=2", "seeds=3", "location=none"])


def test_what_counts_is_said_where_a_key_is_given_twice(capsys):
    sweep.check_all(["seeds=2", "seeds=3", "location=none"])
    assert capsys.readouterr().err == "seeds is given 2 times; the last counts: seeds=3\n"


@pytest.mark.parametrize("flag", ["--seeds", "-seeds", "--hel", "--seeds=2"])
def test_a_flag_that_hydra_does_not_have_is_refused(flag):
    name = flag.partition("=")[0]
    with pytest.raises(UserError, match=f"{name}: there is no such flag; a setting is written"):
        cli.is_question([flag, "2"])


def test_signs_that_a_terminal_does_not_have_are_written_with_those_it_has():
    code = (
        "from attn.config import cli\nwith cli.stoppable(): print('\u22121 \u2264 \u2026 \u00e4')"
    )
    ascii_ = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=ascii_)
    assert said == b"-1 <= ... ?\n"


def test_a_sweep_may_describe_the_noise_of_some_of_its_cells():
    sweep.check_all(["experiment=noise", "data.noise.kind=gaussian"])


def test_home_is_this_users():
    assert cli.expand_home(["runs=~/a", "seeds=2", "-m"]) == [
        f"runs={Path.home()}/a",
        "seeds=2",
        "-m",
    ]


def test_right_words_pass():
    for right in (
        [
            "recipe=quick",
            "backbone=resnet20",
            "seeds=[0,3]",
            "recipe.lr=5e-2",
            "recipe.images=null",
        ],
        ["attention=se,cbam", "attention.reduction=4,8", "stages=[1],[2,3]", "--multirun"],
        ["experiment=noise", "data=rgb_noise", "hydra.verbose=true", "-m"],
        ["attention=glob(*)", "seeds=3", "data.root='/a,b'"],
        ["location=choice(first,last)", "attention=sort(se,cbam)", "seeds=range(0,3)", "-m"],
    ):
        check_words(right)
    check_words(["publish=true", "runs=elsewhere"], Eval)


@pytest.mark.parametrize("launcher", ["slurm", "joblib"])
def test_a_launcher_whose_plugin_is_not_installed_is_no_choice(monkeypatch, launcher):
    loader = "hydra._internal.config_loader_impl.ConfigLoaderImpl"
    monkeypatch.setattr(f"{loader}.get_group_options", lambda *_: ["basic", "slurm"])
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(
        UserError, match="choose one of basic; joblib, slurm and others are plugins"
    ):
        check_words([f"hydra/launcher={launcher}"])
