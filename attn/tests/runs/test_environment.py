"""What a run was computed on: its parts, its words, and the file that keeps them in turn."""

import json
import subprocess
import sys

import pytest
import torch

from attn.runs import environment
from attn.tests.conftest import ROOT

CPU = torch.device("cpu")
PARTS = {
    "torch": "2.14.1",
    "processor": "AMD EPYC",
    "instruction_set": "AVX2",
    "threads": 1,
    "precision": "fp32",
    "mode": "fused",
}


def test_an_environment_has_the_parts_that_published_runs_have():
    (path, *_) = sorted((ROOT / "results" / "zoo").glob("*/environment.json"))
    (published, *_) = json.loads(path.read_text())
    found = environment.here(CPU, "fp32", "fused")
    assert found.keys() == published.keys() - {"epoch"} and all(found.values())


@pytest.mark.parametrize(
    ("flags", "most", "name"),
    [
        (["avx2", "avx", "sse4_1"], "", "AVX2"),
        (["amx_bf16", "avx512_bf16", "avx512_vnni", "avx512_vl", "avx2"], "", "AVX512_CORE_AMX"),
        (["amx_bf16", "avx512_vnni", "avx512_vl", "avx2"], "AVX512_CORE", "AVX512_CORE"),
        (["avx512_vl", "avx2", "avx"], "avx2", "AVX2"),
        (["avx2", "avx"], "AVX512_CORE", "AVX2"),  # more than there is lowers nothing
        (["avx2"], "DEFAULT", "AVX2"),
    ],
)
def test_the_instruction_set_is_the_highest_that_may_be_used(monkeypatch, flags, most, name):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(flags, True))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert environment.instruction_set() == name


@pytest.mark.slow
@pytest.mark.parametrize("most", ["", "AVX"])
def test_onednn_names_the_same_instruction_set(monkeypatch, most):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    code = "import torch; torch.nn.Conv2d(16, 64, 3)(torch.randn(32, 16, 64, 64))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if ",cpu,isa:" in line]
    told = line.partition("isa:")[2].partition(",")[0]  # such as Intel AVX2
    here = environment.instruction_set()
    assert ("AMX" in told) == (here == environment.AMX)
    vectors = here.partition("_")[0]
    # oneDNN calls those of processors with AMX AVX10.
    names = ("AVX-512", "AVX10") if vectors == "AVX512" else (vectors,)
    assert any(name in told for name in names)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"instruction_set": "AVX2_VNNI"}, True),  # which fp32 does not use
        ({"instruction_set": "AVX512_CORE"}, False),
        ({"instruction_set": "AVX2_VNNI", "precision": "bf16"}, False),
        ({"torch": "2.11.0"}, False),
        ({"processor": "Intel Xeon"}, False),
        ({"mode": "eager"}, False),
        ({"threads": 2}, False),
    ],
)
def test_runs_with_the_same_words_may_be_compared(changes, same):
    assert (environment.describe(PARTS) == environment.describe(PARTS | changes)) == same


def test_a_gpu_has_its_compute_capability_in_every_precision():
    gpu = PARTS | {"processor": "NVIDIA H200", "instruction_set": "sm_90", "mode": "graph"}
    assert environment.describe(gpu) == "torch 2.14.1, NVIDIA H200, sm_90, fp32 graph"


def test_with_amx_a_fused_step_is_another_environment():
    """Its 1x1 convolutions are matrix products; torch's own kernels compute fp32 as without AMX."""
    fp32 = PARTS | {"precision": "fp32", "mode": "fused"}
    with_it, without = ({"instruction_set": name} for name in (environment.AMX, "AVX512_CORE"))
    assert environment.describe(fp32 | with_it) != environment.describe(fp32 | without)
    eager = fp32 | {"mode": "eager"}
    assert environment.describe(eager | with_it) == environment.describe(eager | without)


def test_a_run_that_moves_keeps_every_environment_in_turn(tmp_path):
    other = PARTS | {"processor": "Intel Xeon"}
    assert environment.record(tmp_path, PARTS, 0, 9) == ""
    assert environment.record(tmp_path, PARTS, 2, 9) == ""
    assert "goes on in another environment" in environment.record(tmp_path, other, 4, 9)
    assert environment.record(tmp_path, other, 6, 9) == ""
    assert [entry["epoch"] for entry in environment.read(tmp_path)] == [0, 4]
    text = environment.summary(tmp_path)["environment"]
    assert text == f"{environment.describe(PARTS)}; then {environment.describe(other)}"
    environment.record(tmp_path, PARTS, 4, 9)  # its checkpoint is of epoch 4: what came after went
    assert [entry["epoch"] for entry in environment.read(tmp_path)] == [0]
    environment.record(tmp_path, other, 9, 9)  # nothing is computed any more
    assert environment.summary(tmp_path)["processor"] == "AMD EPYC"
    environment.record(tmp_path, other, 0, 9)  # begun anew
    assert [entry["epoch"] for entry in environment.read(tmp_path)] == [0]
    assert json.loads((tmp_path / environment.NAME).read_text())[0]["processor"] == "Intel Xeon"


@pytest.mark.parametrize("content", ["", "[", "[]", "[1]", '[{"epoch": 0}]', '{"a": 1}'])
def test_a_damaged_file_is_named_and_its_epochs_are_not_recorded(tmp_path, content):
    path = tmp_path / environment.NAME
    path.write_text(content)
    text = environment.record(tmp_path, PARTS, 3, 9)
    assert text.startswith(f"{path} is ") and "what epochs 1 to 3 were computed in is not" in text
    begun = environment.summary(tmp_path)["environment"]
    assert begun == f"not recorded; then {environment.describe(PARTS)}"


def test_a_run_knows_its_commit_and_whether_the_tree_differs_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.revision() == {"commit": None, "dirty": None}
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    found = environment.revision()
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (tmp_path / "new.py").touch()
    assert environment.revision() == {"commit": found["commit"], "dirty": True}
