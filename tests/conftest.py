"""Fixtures every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real datasets; its tests skip where it is absent."""
    folder = Path(os.environ.get("GLTA_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real datasets: set GLTA_SHARED_DATA to their folder ({folder} is absent)")
    return folder


@pytest.fixture
def workspace_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that commands use by default."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("GLTA_DATA_DIR", str(root))
    return root
