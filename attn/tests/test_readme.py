"""What the READMEs show works as it stands there: a mechanism of one's own, Python, links."""

import re
import shutil
import subprocess
import sys

import pytest

from attn.config import catalogue, sweep, words
from attn.config.catalogue import choices
from attn.evidence.claims_file import load
from attn.tests.conftest import ROOT, TINY, folders

READMES = [
    ROOT / folder / "README.md" for folder in (".", "attn/modules", "configs", "results", "scripts")
]


def blocks(language):
    text = "\n".join(path.read_text() for path in READMES)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def copy(tmp_path):
    """The programs, with a mechanism of one's own as the README says."""
    for name in ("attn", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "train.py", tmp_path)
    (module,) = [block for block in blocks("python") if "class Mine" in block]
    (declared,) = [block for block in blocks("yaml") if "name: mine" in block]
    (tmp_path / "attn" / "modules" / "mine.py").write_text(module)
    (tmp_path / "configs" / "attention" / "mine.yaml").write_text(declared)
    catalogue = tmp_path / "attn" / "modules" / "__init__.py"
    line = 'from attn.modules.mine import Mine\n\nMECHANISMS = {\n    "mine": Mine,\n'
    catalogue.write_text(catalogue.read_text().replace("MECHANISMS = {\n", line))

    def run(*words):
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_a_mechanism_of_ones_own(copy, tmp_path):
    done = copy("train.py", "attention=mine", *TINY, "attention.strength=2")
    assert done.returncode == 0, done.stderr
    (folder,) = folders(tmp_path / "runs")
    assert folder.name.startswith("resnet20-mine+strength2.0-per_block")
    assert "layer3.2.seams.refine" in (folder / "scores.csv").read_text()
    described = copy("-m", "attn.modules", "mine").stdout
    assert "y = sigmoid(a mean(x)) * x" in described and "strength=1.0" in described
    helped = " ".join(copy("train.py", "--help").stdout.split())
    assert "mine What --help says of it." in helped and "1.0 what --help says of this" in helped


@pytest.mark.slow
def test_mistakes_in_a_mechanism_of_ones_own_are_named(copy, tmp_path):
    module = tmp_path / "attn" / "modules" / "mine.py"
    whole = module.read_text()
    module.write_text(whole.replace("strength: float", "strength"))
    done = copy("train.py", "attention=mine", *TINY)
    assert done.returncode == 1
    assert done.stderr.startswith("attention.strength: annotate it where mine takes it, as int")
    module.write_text(whole)
    declared = tmp_path / "configs" / "attention" / "mine.yaml"
    declared.write_text("name: mine\nstrength: 1.0\n")
    done = copy("train.py", "attention=mine", *TINY)
    assert done.returncode == 1
    assert done.stderr.startswith("attention=mine: its YAML declares no place; write `location:`")
    assert "(its file names no paper)" in copy("-m", "attn.modules", "mine").stdout
    declared.unlink()
    done = copy("-m", "attn.modules", "mine")
    assert done.returncode == 1
    assert done.stderr.startswith("configs/attention/mine.yaml: there is no such file")
    declared.write_text("name: mine\nlocation: per_block\nstrength: 1.0\n")
    module.write_text(whole.replace("self.scores = Scores()", "self.scores = nn.Identity()"))
    done = copy("train.py", "attention=mine", *TINY)
    assert "this mechanism records no scores" in done.stdout
    listed = tmp_path / "attn" / "modules" / "__init__.py"
    listed.write_text(listed.read_text().replace('    "mine": Mine,\n', ""))
    done = copy("train.py", "attention=mine", *TINY)
    assert done.stderr.startswith("attention=mine: it is not among the MECHANISMS of attn/modules")


@pytest.mark.slow
def test_an_experiment_that_varies_nothing_is_named(copy, tmp_path):
    experiment = tmp_path / "configs" / "experiment" / "plain.yaml"
    experiment.write_text("# @package _global_\nlocation: first\n")
    done = copy("train.py", "experiment=plain", *TINY)
    assert done.returncode == 1
    assert done.stderr.startswith("configs/experiment/plain.yaml: it takes `mode: MULTIRUN`")


def test_a_trained_network_in_python(trained):
    folder = folders(trained[0])[0]  # attention at first, with noise channels
    (code,) = [block for block in blocks("python") if "load_run" in block]
    (named,) = re.findall(r'load_run\("(.*?)"\)', code)
    assert (ROOT / named / "summary.json").exists()  # its images may not be here
    command = [sys.executable, "-c", code.replace(named, str(folder))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "torch.Size([8, 6, 1, 1])", done.stderr


def test_a_network_that_is_not_trained_in_python():
    (code,) = [block for block in blocks("python") if "attn.build" in block]
    code += "assert gate(torch.ones(2, 64, 8, 8)).shape == (2, 64, 8, 8)\n"
    code += "print(sum(p.numel() for p in network.parameters()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"torch.Size([8, 16, 1, 1])\n{272474 + 2373}\n", done.stderr


def test_an_experiment_and_a_claim_of_ones_own(tmp_path, monkeypatch):
    configs = shutil.copytree(ROOT / "configs", tmp_path / "configs")
    experiment, entries = (block for block in blocks("yaml") if "se_places" in block)
    (configs / "experiment" / "se_places.yaml").write_text(experiment)
    for module in (catalogue, words):
        monkeypatch.setattr(module, "CONFIGS", configs)
    cells = sweep.split(["experiment=se_places"])
    assert [cell[3] for cell in cells] == ["location=none", "location=last"]
    (configs / "mine.yaml").write_text(entries)
    (table,), (claim,) = load(configs / "mine.yaml")
    assert claim.table is table and table.command() == "python train.py experiment=se_places"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(readme):
    text = re.sub(r"```.*?```", "", readme.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (readme.parent / link).exists(), link


def test_the_readme_is_short_and_its_grid_whole():
    readme = READMES[0].read_text()
    assert len(readme.splitlines()) <= 150 and len(readme.encode()) <= 10_000
    for group in ("backbone", "attention", "data", "recipe"):
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| `{group}=` |")]
        assert set(re.findall(r"`(\w+)`", row)) >= set(choices(group))
