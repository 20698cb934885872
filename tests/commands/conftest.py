"""A command as a user types it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def glta(workspace_root: Path, tmp_path: Path):
    """Run `glta ...` in an empty folder with an empty workspace."""
    folder = tmp_path / "here"
    folder.mkdir()

    def run(*arguments: str, **environment: str) -> Finished:
        finished = subprocess.run(
            [sys.executable, "-m", "glta_cli", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "COLUMNS": "80", "GLTA_DATA_DIR": str(workspace_root), **environment},
        )
        return Finished(finished.returncode, finished.stdout, finished.stderr)

    run.folder = folder
    return run
