"""Small copies of trained networks: what they keep, and what a damaged copy says."""

import shutil

import numpy as np
import pytest
import torch

from attn.errors import RunError
from attn.evidence.collect import collect
from attn.runs import zoo
from attn.runs.load import load_run, read_run
from attn.tests.conftest import ROOT, folders, needs_cifar10, program

ZOO = ROOT / "results" / "zoo"


@pytest.fixture
def copied(trained, tmp_path):
    """(the run folder of attention at first, its copy in a zoo)."""
    folder = folders(trained[0])[0]
    return folder, zoo.add(folder, read_run(folder)[2], tmp_path / "zoo")


def test_a_copy_holds_the_weights_in_half_precision_and_the_records_of_the_run(copied):
    folder, copy = copied
    (config, seed, state), (same, also, halved) = read_run(folder), read_run(copy)
    assert (config, seed, state["run"]) == (same, also, halved["run"])
    assert state["network"].keys() == halved["network"].keys()
    for name, value in state["network"].items():
        other = halved["network"][name]
        assert other.dtype == value.dtype
        assert torch.equal(other, value.half().float() if value.ndim > 1 else value), name
    assert (copy / zoo.NAME).stat().st_size < 0.3 * (folder / "checkpoint.pt").stat().st_size
    (group,) = collect(copy.parent).groups
    assert group.runs["run"].tolist() == [folder.name]


def test_a_copys_logits_are_nearly_those_of_the_run(copied):
    samples, runs = torch.arange(50), [load_run(folder) for folder in copied]
    assert not any(run.network.training for run in runs)
    before = {name: value.clone() for name, value in runs[0].network.state_dict().items()}
    with torch.no_grad():
        ours, halved = (run(samples) for run in runs)
        alone = torch.cat([runs[0](sample[None]) for sample in samples[:3]])
    # Each image by itself, and not by a batch's statistics; a CPU may compute in bf16.
    assert (alone - ours[:3]).abs().max() < 0.05 * ours.std()
    assert all(before[name].equal(value) for name, value in runs[0].network.state_dict().items())
    assert not torch.equal(ours, halved)
    assert (ours - halved).abs().mean() < 0.02 * ours.std()


@pytest.mark.slow
def test_eval_shows_a_copy_and_leaves_it_as_it_is(copied, tmp_path):
    copy = copied[1]
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    done = program("eval.py", f"checkpoint={copy}", f"runs={tmp_path}", "device=cpu")
    assert done.returncode == 0, done.stderr
    for title in ("Scores by place", "Points lost with frozen gates", "input channels are exchang"):
        assert title in done.stdout
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def of_another_network(path, trained):
    baseline = folders(trained[0])[2]
    other = zoo.add(baseline, read_run(baseline)[2], path.parents[2] / "other")
    with np.load(other / zoo.NAME) as theirs, np.load(path) as ours:
        arrays = {**theirs, zoo.MARK: ours[zoo.MARK]}
    np.savez(path, **arrays)


def cut(path, _):
    path.write_bytes(path.read_bytes()[:-2000])


def a_word(path, _):
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


def without_its_run(path, _):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != zoo.MARK}
    np.savez(path, **arrays)


def pickled(path, _):
    np.savez(path, **{zoo.MARK: np.array(["{}", print], dtype=object)})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "File is not a zip file"),
        (a_word, "File is not a zip file"),
        (without_its_run, "is damaged ('run')"),
        (pickled, "allow_pickle=False"),
        (of_another_network, "its weights are of another network (Missing key(s)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_copy_is_refused_in_a_line(copied, trained, damage, reason):
    copy = copied[1]
    damage(copy / zoo.NAME, trained)
    with pytest.raises(RunError) as error:
        load_run(copy)
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_no_flipped_byte_ends_in_anything_but_the_reason(copied):
    path = copied[1] / zoo.NAME
    whole = path.read_bytes()
    reasons, size = [], len(whole)
    for position in [*range(0, size, size // 20), *range(size - 400, size, 5)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            zoo.load(path.parent)
        except RunError as error:
            reasons.append(str(error))
    assert len(reasons) > 50  # of 100: some bytes of the directory say nothing, such as times
    assert all(reason.startswith(f"{path} is damaged (") for reason in reasons)


def test_a_near_name_in_the_zoo_is_named(copied, tmp_path):
    done = program("eval.py", f"checkpoint={copied[1]}x", f"runs={tmp_path}", "device=cpu")
    assert done.returncode == 1 and f"did you mean {copied[1]}?" in done.stderr


@pytest.mark.slow
def test_the_script_adds_measures_and_lists(trained, tmp_path):
    folder = folders(trained[0])[0]
    done = program("scripts/zoo.py", folder, "--zoo", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {folder.name} | " in (tmp_path / "README.md").read_text()
    (folder_copy,) = tmp_path.glob("*/")
    again = program("scripts/zoo.py", folder_copy, "--zoo", tmp_path)
    assert again.returncode == 1 and again.stderr.endswith("it is in the zoo already\n")
    shutil.rmtree(folder_copy)
    shutil.copytree(folder, folder_copy)
    (folder_copy / "summary.json").unlink()
    refused = program("scripts/zoo.py", folder_copy, "--zoo", tmp_path)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "the run is not finished" in refused.stderr
    nothing = program("scripts/zoo.py", "--zoo", tmp_path / "none")
    assert nothing.returncode == 1 and nothing.stderr.endswith("name folders of finished runs\n")


def test_the_published_zoo_is_small_and_listed():
    names = {path.parent.name for path in ZOO.glob(f"*/{zoo.NAME}")}
    assert names
    size = sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file())
    assert size <= 12e6
    assert listed((ZOO / "README.md").read_text()).keys() == names


@pytest.mark.slow
@needs_cifar10
def test_the_published_zoo_has_the_accuracies_that_its_list_says(tmp_path):
    copy = shutil.copytree(ZOO, tmp_path / "zoo")
    done = program("scripts/zoo.py", "--zoo", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = (listed((folder / "README.md").read_text()) for folder in (copy, ZOO))
    assert here.keys() == there.keys()
    for name, (trained, halved) in here.items():
        assert trained == there[name][0] and halved == pytest.approx(there[name][1], abs=0.05)


def listed(text):
    """{name: (accuracy as trained, in half precision)}; another processor may round a tie apart."""
    rows = [line.split(" | ") for line in text.splitlines() if "-s" in line and "|" in line]
    return {row[0].removeprefix("| "): (float(row[2]), float(row[3])) for row in rows}
