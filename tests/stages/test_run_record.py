"""What a run's file says, when several processes write it and when settings change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.main import app
from glta_cli.stages.run_record import failure_noted, record_source, record_stages
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_what_two_write_at_once_is_both_there(
    workspace_root: Path, tiny_recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe()
    workspace = Workspace()
    workspace.save_run(Run("shop", recipe.model_dump(mode="json"), {"prepare": "p", "pretrain-graph": "g"}))
    read = Workspace.run

    def slowly(self: Workspace, name: str) -> Run | None:
        found = read(self, name)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(Workspace, "run", slowly)

    def fails() -> None:
        with pytest.raises(ValueError, match="why"), failure_noted("shop", recipe, Workspace()):
            raise ValueError("why")

    writers = [
        threading.Thread(target=record_source, args=("shop", "/elsewhere", Workspace())),
        threading.Thread(target=record_stages, args=("shop", recipe, {}, {"/log": [1, 2, "x"]}, Workspace(), {})),
        threading.Thread(target=fails),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    run = read(workspace, "shop")
    assert run is not None
    assert run.read_from == "/elsewhere"
    assert run.sources == {"/log": [1, 2, "x"]}
    assert run.stages == {"prepare": "p", "pretrain-graph": "g"}


def test_a_run_that_only_read_its_data_had_nothing_to_lose(tiny_recipe_file: Path, workspace_root: Path) -> None:
    with pytest.raises(InputError, match="no user is called 'nobody'"):
        glta("recommend", "--user", "nobody", "--recipe", str(tiny_recipe_file))
    said = glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--seed", "5").stderr
    assert "other settings" not in said


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("grph.loss=bpr", "--set grph.loss: grph: unknown key"),
        ("graph.encoder=alpharec", "--set graph.encoder: graph.options.regularization: unknown key"),
    ],
)
def test_what_was_set_is_blamed_and_not_the_run(
    tiny_recipe_file: Path, workspace_root: Path, override: str, told: str
) -> None:
    glta("pretrain-graph", "--recipe", str(tiny_recipe_file), "--set", "graph.options.regularization=0.001")
    with pytest.raises(InputErrors) as caught:
        glta("pretrain-graph", "--run", "toy", "--set", override)
    assert told in str(caught.value)
    assert "toy.json" not in str(caught.value)
