"""Loggers are told of every stage that ran, and one that fails costs nothing but a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glta_cli.errors import GltaError
from glta_cli.loggers import Loggers
from glta_cli.main import app
from glta_cli.pipeline import STAGES
from glta_cli.plugin import StageEnd
from glta_cli.recipe import Recipe
from glta_cli.registry import Registry, installed

RAN = [stage for stage in STAGES if stage != "describe-users"]


@pytest.fixture
def glta(workspace_root: Path, tiny_recipe_file: Path) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        recipe = ("--recipe", str(tiny_recipe_file), "--set", "loggers.jsonl={}")
        return CliRunner().invoke(app, [*arguments, *recipe], catch_exceptions=False)

    return run


def test_every_stage_that_ran_is_told_with_metrics_and_epochs(glta: Callable[..., Any], workspace_root: Path) -> None:
    assert glta("evaluate").exit_code == 0
    path = workspace_root / "logs" / "toy" / "stages.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["stage"] for line in told] == [*RAN, "evaluate"]
    assert {line["run"] for line in told} == {"toy"}
    by_stage = {line["stage"]: line for line in told}
    assert by_stage["prepare"]["metrics"]["users"] == 60
    graph = by_stage["pretrain-graph"]
    assert set(graph["history"]) == {"full", "alignment"}
    assert graph["metrics"]["full.best_metric"] == max(epoch.get("ndcg@10", 0) for epoch in graph["history"]["full"])
    assert Path(graph["artefact"]).is_dir()
    assert set(by_stage["align"]["history"]) == {""}
    assert 0 <= by_stage["evaluate"]["metrics"]["models.glta.ndcg@10"] <= 1
    assert by_stage["evaluate"]["artefact"] is None

    # What is up to date is not told again; an evaluation happens anew.
    assert glta("evaluate").exit_code == 0
    assert [json.loads(line)["stage"] for line in path.read_text().splitlines()] == [*RAN, "evaluate", "evaluate"]


def test_a_logger_changes_neither_the_run_nor_its_state(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    runner = CliRunner()
    runner.invoke(app, ["pretrain-graph", "--recipe", str(tiny_recipe_file)], catch_exceptions=False)
    again = glta("pretrain-graph")
    assert "pretrain-graph: up to date" in again.stderr
    assert "other settings" not in again.stderr


class Failing:
    """A logger that counts and fails."""

    told: list[StageEnd]

    def __init__(self, settings: Any, folder: Path) -> None:
        Failing.told = []

    def stage_ended(self, end: StageEnd) -> None:
        Failing.told.append(end)
        raise OSError("the disk is full")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loggers:
    component = installed().find("logger", "jsonl")
    monkeypatch.setattr(Registry, "find", lambda self, kind, name: component)
    monkeypatch.setattr(type(component), "target", lambda self: Failing)
    return Loggers("mine", Recipe(loggers={"failing": {}}), tmp_path / "logs" / "mine")


def test_a_logger_that_fails_is_a_warning(failing: Loggers, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert (tmp_path / "logs" / "mine").is_dir()
    details = {"best": 0.5, "done": True, "labels": "x", "full": {"steps": 3, "history": [{"epoch": 1.0, "loss": 2.0}]}}
    failing.stage_ended("align", 1.5, details, tmp_path)
    warning = "warning: logger 'failing' failed after align: OSError: the disk is full"
    assert warning in capsys.readouterr().err
    [end] = Failing.told
    assert (end.run, end.stage, end.seconds, end.artefact) == ("mine", "align", 1.5, tmp_path)
    assert end.metrics == {"best": 0.5, "full.steps": 3}
    assert end.history == {"full": [{"epoch": 1.0, "loss": 2.0}]}
    assert end.recipe["loggers"] == {"failing": {}}


def test_strict_mode_raises_what_a_logger_raised(failing: Loggers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", "1")
    with pytest.raises(GltaError, match="logger 'failing' failed: OSError: the disk is full"):
        failing.stage_ended("align", 1.5, {}, None)


def test_a_logger_that_cannot_be_had_is_said_before_anything_runs(
    glta: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, workspace_root: Path
) -> None:
    monkeypatch.setattr(Loggers, "__init__", _unavailable)
    with pytest.raises(GltaError, match="no such package"):
        glta("pretrain-graph")
    assert not (workspace_root / "stages").exists()


def _unavailable(self: Loggers, *arguments: Any) -> None:
    raise GltaError("no such package")
