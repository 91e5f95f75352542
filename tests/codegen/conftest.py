"""Every test here has a compile cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory the cache uses in this test; it does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRAPHRT_CACHE_DIR", str(folder))
    monkeypatch.delenv("GRAPHRT_CACHE", raising=False)
    return folder
