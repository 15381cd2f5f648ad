"""Layers compute in what the recipe allows, but where a CPU would only emulate it."""

import json

import pytest
import torch

from attn.compute.kernels.layers import has_amx
from attn.compute.kernels.library import without_kernels
from attn.compute.precision import computed_in, is_compiled, set_backends, untimed
from attn.config.sweep import configuration
from attn.evaluation.predict import Predictor
from attn.network.build import build, outline
from attn.runs.folder import Run
from attn.tests.conftest import ROOT
from attn.tests.trainers import trainer
from attn.training import session
from attn.training.events import Note
from attn.training.shared import split_inputs

INSIDE = ("backbone=resnet20", "attention=se", "location=per_block")
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def amx(monkeypatch):
    """amx(True) or amx(False): what torch is to say of this machine's processor."""
    return lambda there: monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"amx_bf16": there}
    )


@pytest.mark.parametrize(
    ("most", "there"), [("AVX512_CORE", False), ("avx512_core_amx", True), ("ALL", True)]
)
def test_amx_that_onednn_is_told_to_leave_is_not_there(amx, monkeypatch, most, there):
    amx(True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert has_amx() == there


@pytest.mark.parametrize(
    ("there", "backbone", "device", "allowed", "expected"),
    [
        (True, "resnet20", CPU, "bf16", "bf16"),
        (False, "resnet20", CPU, "bf16", "fp32: without AMX this CPU is slower in bf16"),
        (True, "mobilenet_v2", CPU, "bf16", "bf16"),
        (True, "resnet20", CPU, "tf32", "fp32: a CPU has no TF32"),
        (True, "resnet20", CPU, "fp32", "fp32"),
        (False, "mobilenet_v2", GPU, "bf16", "bf16"),
        (False, "mobilenet_v2", GPU, "tf32", "tf32"),
    ],
)
def test_a_cpu_emulates_nothing(amx, there, backbone, device, allowed, expected):
    amx(there)
    network = build(configuration(f"backbone={backbone}", "location=none"), 0)
    precision, why = computed_in(network, device, allowed)
    assert f"{precision}: {why}".startswith(expected) and bool(why) == (precision != allowed)


def test_depthwise_convolutions_compute_in_bf16_only_with_kernels(amx):
    amx(True)
    network = build(configuration("backbone=mobilenet_v2", "location=none"), 0)
    with without_kernels():
        precision, why = computed_in(network, CPU, "bf16")
        assert precision == "fp32" and "without kernels" in why
        assert computed_in(network.classifier, CPU, "bf16") == ("bf16", "")


@pytest.mark.parametrize("backbone", ["resnet20", "mobilenet_v2"])
@pytest.mark.parametrize("there", [True, False])
def test_training_and_evaluation_compute_in_the_same_numbers(amx, synthetic, there, backbone):
    """bf16 rounds logits to 8 bits; what was computed in fp32 needs more."""
    amx(there)
    config = configuration("recipe=quick", f"backbone={backbone}", "recipe.images=80")
    ours = trainer(synthetic, config)
    inputs = split_inputs(config, synthetic, "test", CPU)
    predictor = Predictor(ours.network.eval(), inputs, config.recipe)
    logits = predictor(torch.arange(8))
    assert logits.dtype == torch.float32
    assert logits.equal(logits.bfloat16().float()) == there
    assert ours.precision == predictor.precision == ("bf16" if there else "fp32")


def test_a_run_says_and_records_what_it_computed_in(synthetic, tmp_path):
    words = ("recipe.epochs=1", "recipe.images=80", "recipe.precision=tf32")
    run, heard = Run(configuration("recipe=quick", "backbone=resnet20", *words), 0, tmp_path), []
    session.train([run], synthetic, CPU, lambda name, event: heard.append(event))
    assert Note("computes in fp32: a CPU has no TF32", of_all=True) in heard
    assert json.loads((run.folder / "summary.json").read_text())["precision"] == "fp32"


@pytest.mark.parametrize(
    ("words", "device", "expected"),
    [
        ((), GPU, True),
        ((), CPU, False),  # slower by far, for its depthwise convolutions
        (INSIDE, CPU, True),  # hours, of which a minute is not much
        ((*INSIDE, "location=last"), CPU, False),
        ((*INSIDE, "recipe.precision=fp32"), GPU, True),
        ((*INSIDE, "recipe.precision=fp32"), CPU, False),
        (("strict=true",), GPU, False),
        (("recipe=quick",), GPU, False),
        ((*INSIDE, "recipe.epochs=5"), CPU, False),
        (("recipe.epochs=5",), GPU, True),
    ],
)
def test_long_runs_are_compiled_where_that_pays(amx, words, device, expected):
    amx(True)
    config = configuration("recipe=post", *words)
    images, network = config.recipe.images or 50_000, outline(config)
    assert is_compiled(None, device, config, images, network) == expected
    assert is_compiled(not expected, device, config, images, network) != expected


def test_the_benchmark_tells_machines_with_amx_from_those_without(amx, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import bench

    names = []
    for there in (True, False):
        amx(there)
        names.append(bench.machine_name(CPU))
    assert names[0].startswith("cpu-") and names[1] == names[0] + "-without-amx"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_torchs_backends_compute_as_a_run_is_asked_to(precision, strict):
    cudnn = torch.backends.cudnn
    try:
        set_backends(precision, strict)
        allowed = torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32
        assert allowed == ((precision == "tf32"),) * 2
        assert torch.are_deterministic_algorithms_enabled() == cudnn.deterministic == strict
        assert cudnn.benchmark == (not strict)
        with untimed():
            assert not cudnn.benchmark
        assert cudnn.benchmark == (not strict)
    finally:
        set_backends("fp32", strict=False)
