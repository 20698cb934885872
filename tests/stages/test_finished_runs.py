"""A finished run stays what it is, whatever fails or changes beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError
from glta_cli.main import app
from glta_cli.stages.finetune import Finetune
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def glta() -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


@pytest.fixture
def shop(
    run_toy: Callable[..., Pipeline],
    tiny_settings: dict[str, Any],
    toy_table: Path,
    tmp_path: Path,
    workspace_root: Path,
) -> Path:
    """A finished run `shop` of a log of its own, in a workspace of its own; gives the recipe, the log beside it."""
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    source = tmp_path / "source"
    shutil.copytree(toy_table, source)
    recipe = tmp_path / "shop.yaml"
    settings = {**tiny_settings, "dataset": {"name": "table", "source": str(source)}}
    recipe.write_text(yaml.safe_dump(settings))
    CliRunner().invoke(app, ["recommend", "--user", "u7", "--recipe", str(recipe)], catch_exceptions=False)
    return recipe


def stored(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Workspace().run_path(name).read_text())
    return content


def test_a_typo_leaves_the_finished_run_to_answer_and_makes_none(glta: Callable[..., Any], shop: Path) -> None:
    before = glta("recommend", "--user", "u7", "--json").stdout
    mistyped = ("--set", "backbone.options.model=./nope", "--set", "backbone.name=huggingface")
    for name in ("typo", "shop"):
        with pytest.raises(GltaError):
            glta("recommend", "--user", "u7", "--recipe", str(shop), *mistyped, "--run", name)
    assert Workspace().run_names() == ["shop"]
    assert glta("recommend", "--user", "u7", "--json").stdout == before


def test_a_run_that_fails_half_way_is_marked_until_it_goes_on(
    glta: Callable[..., Any], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = ("recommend", "--user", "u7", "--recipe", str(shop), "--set", "seed=1")
    before = glta("recommend", "--user", "u7", "--json").stdout

    def fails(*_: object) -> None:
        raise GltaError("the model has no room", location="cuda:0")

    with monkeypatch.context() as patch:
        patch.setattr(Finetune, "run", fails)
        for name in ("shop", "new"):
            with pytest.raises(GltaError, match="no room"):
                glta(*changed, "--run", name)
            assert "index" not in stored(name)["stages"]
            if name == "shop":  # what it shares with it is not its own
                assert stored(name)["failed"] == "cuda:0: the model has no room"
    again = glta("recommend", "--user", "u7", "--json")
    assert again.stdout == before
    assert "it answers as it was before" in " ".join(again.stderr.split())
    glta(*changed)
    assert "failed" not in stored("shop")
    assert "before" not in stored("shop")
    after = glta("recommend", "--user", "u7", "--json")
    assert after.stdout != before
    assert "warning" not in after.stderr
