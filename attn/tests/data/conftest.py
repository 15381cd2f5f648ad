"""The cache of the data that a test makes."""

import pytest

from attn.data import dataset, sources


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Data that a test makes is cached in its own folder, and the environment says nothing."""
    monkeypatch.setattr(dataset, "ROOT", tmp_path / "repository")
    monkeypatch.setattr(sources, "ROOT", tmp_path / "repository")
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
