"""A sum of terms that looked better and did not hold elsewhere is not served; whoever shows its figure says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.run import Run
from glta_cli.main import app
from glta_cli.recipe.schema import Recipe
from glta_cli.serving import term_weights
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.web.app import create_app
from glta_cli.web.limits import Limits
from glta_cli.web.measures import Measures
from glta_cli.web.service import Service
from glta_cli.web.starting import LOCAL_NAMES, live_run
from glta_cli.workspace.workspace import Workspace

WHY = "no sum of terms: 0.1000 on users that its weights were not chosen by"


@pytest.fixture(scope="module")
def run(tiny_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a sum that is better on the users its weights were chosen by, and comes to 0.1 on others."""
    root = tmp_path_factory.mktemp("held")
    decided = term_weights._decided

    def held_back(names: Any, starts: Any, rows: Any, single: Any, fused: float, checked: float, users: int) -> Any:
        return decided(names, starts, rows, single, max(fused, *single.values()) + 0.01, 0.1, users)

    recipe = tiny_recipe("finetune.enabled=false", "fusion.terms=[ease,encoder]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(term_weights, "_decided", held_back)
        Pipeline("held", recipe, Workspace(root), device="cpu").ensure(SERVING)
    return glta_cli.load("held", root)


def test_whoever_asks_what_is_served_is_told(run: Run) -> None:
    figures = {each["row"]: each["ndcg@10"] for each in run.measured()}
    assert max(figures, key=figures.__getitem__) == "glta"
    assert run.rows[0] != "glta"
    assert run.not_served == WHY
    assert WHY in run._repr_html_()


def test_the_service_says_it_with_the_figures(run: Run) -> None:
    root, measures = run.artefact.path.parents[2], Measures()
    service = Service(live_run("held", root, measures), Limits(), measures)
    with TestClient(create_app(service, root, Limits(), None, LOCAL_NAMES), base_url="http://127.0.0.1") as client:
        assert client.get("/v1/run").json()["not_served"] == WHY


def test_a_model_card_says_it_below_the_figures(run: Run, tmp_path: Path) -> None:
    root, folder = str(run.artefact.path.parents[2]), tmp_path / "model"
    words = ["export", "--format", "huggingface", "--data-dir", root, "--run", "held", str(folder)]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert f"It answers by `{run.rows[0]}`; {WHY}." in (folder / "README.md").read_text()
    imported = str(tmp_path / "there")
    assert (
        CliRunner().invoke(app, ["import", str(folder), "--data-dir", imported], catch_exceptions=False).exit_code == 0
    )
    assert glta_cli.load("held", imported).not_served == WHY


def test_a_run_whose_best_figure_answers_has_nothing_to_say(run_toy: Callable[..., Any], toy_root: Path) -> None:
    run_toy("finetune.enabled=false", "fusion.terms=[encoder]", stage=SERVING, name="alone")
    assert glta_cli.load("alone", toy_root).not_served is None
