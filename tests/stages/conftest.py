"""A finished run whose log may be changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.main import app

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline


@pytest.fixture
def shop(
    run_toy: Callable[..., Pipeline],
    tiny_settings: dict[str, Any],
    toy_table: Path,
    tmp_path: Path,
    workspace_root: Path,
) -> Path:
    """The folder of the log of a finished run `shop`, in a workspace of its own."""
    run_toy(stage="serving-index")
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    source = tmp_path / "source"
    shutil.copytree(toy_table, source)
    recipe = tmp_path / "shop.yaml"
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": {"name": "table", "source": str(source)}}))
    words = ["recommend", "--user", "u7", "--recipe", str(recipe)]
    CliRunner().invoke(app, words, catch_exceptions=False)
    return source
