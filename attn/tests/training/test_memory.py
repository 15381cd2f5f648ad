"""Memory that runs out: one line that says what would fit."""

import re

import pytest
import torch

from attn.config.sweep import configuration
from attn.runs.folder import Run
from attn.tests.conftest import TINY
from attn.training import memory, session
from attn.training.events import Failed

CPU = torch.device("cpu")


def test_errors_of_memory_are_told_from_others():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert memory.ran_out(caught.value)
    assert memory.ran_out(MemoryError()) and memory.ran_out(torch.OutOfMemoryError())
    assert not memory.ran_out(RuntimeError("the loss is not finite"))


@pytest.mark.parametrize(
    ("gib", "advice"),
    [
        (7, "7.0 are there, so 3 may fit at once: ask for so many seeds at a time"),
        (1, "1.0 are there: a smaller recipe.batch_size takes less"),
    ],
)
def test_what_fits_is_what_there_is_by_what_a_run_took(monkeypatch, gib, advice):
    usage = type("Usage", (), {"ru_maxrss": 2 * 2**20})()  # in KiB
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(memory, "available", lambda: gib * memory.GIB)
    told = memory.advice(CPU, 1)
    assert told == f"memory ran out: a run took 2.0 GiB until then, {advice}"


@pytest.mark.parametrize(
    ("peak", "free", "together", "advice"),
    [
        (79, 1, 10, "so 9 may fit at once"),  # fewer than now
        (79, 1, 1, "a smaller recipe.batch_size"),
        (20, 20, 10, "so 9 may fit at once"),
        (0, 0.5, 10, "a run took 0.0 GiB until then, 0.5 are there: a smaller"),  # others have it
    ],
)
def test_on_a_gpu_runs_share_and_fewer_than_now_fit(monkeypatch, peak, free, together, advice):
    peak, free = peak * memory.GIB, int(free * memory.GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 80 * memory.GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: peak)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: peak)
    assert advice in memory.advice(torch.device("cuda"), together)


def test_a_run_without_memory_fails_in_one_line(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "run_epoch", lambda *args: torch.empty(2**60))
    config = configuration(*TINY)
    run, heard = Run(config, 0, tmp_path), []
    session.train([run], synthetic, CPU, lambda name, event: heard.append(event), compiled=False)
    assert isinstance(heard[-1], Failed)
    assert re.match(r"memory ran out: a run took \d+\.\d GiB until then, \d", heard[-1].reason)
    first, _, rest = (run.folder / "error.txt").read_text().partition("\n")
    assert first == run.failure == heard[-1].reason and "Traceback" in rest


def test_a_containers_limit_is_less_than_the_machine_has(tmp_path, monkeypatch):
    unlimited, limit = tmp_path / "unlimited", tmp_path / "limit"
    unlimited.write_text("max\n")
    limit.write_text(f"{2**20}\n")
    monkeypatch.setattr(memory, "CGROUPS", (unlimited, limit, tmp_path / "nowhere"))
    assert memory.available() == 2**20
