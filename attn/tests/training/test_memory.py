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
    [(7, "3 may fit at once; ask for so many seeds at a time"), (3, "ask for one seed at a time")],
)
def test_what_fits_is_what_there_is_by_what_a_run_took(monkeypatch, gib, advice):
    usage = type("Usage", (), {"ru_maxrss": 2 * 2**20})()  # in KiB
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(memory, "available", lambda: gib * memory.GIB)
    told = memory.advice(CPU, 1)
    assert told.startswith(f"memory ran out: a run takes 2.0 GiB or more, {gib}.0 are there: ")
    assert advice in told


def test_on_a_gpu_runs_share_and_fewer_than_now_fit(monkeypatch):
    device = torch.device("cuda")
    properties = type("Properties", (), {"total_memory": 80 * memory.GIB})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    for peak, fitting in ((79, 9), (120, 6)):
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _, p=peak: p * memory.GIB)
        assert f": {fitting} may fit at once" in memory.advice(device, 10)


def test_a_run_without_memory_fails_in_one_line(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "run_epoch", lambda *args: torch.empty(2**60))
    config = configuration(*TINY)
    run, heard = Run(config, 0, tmp_path), []
    session.train([run], synthetic, CPU, lambda name, event: heard.append(event), compiled=False)
    assert isinstance(heard[-1], Failed)
    assert re.match(r"memory ran out: a run takes \d+\.\d GiB or more, \d", heard[-1].reason)
    assert (run.folder / "error.txt").read_text().strip() == heard[-1].reason
