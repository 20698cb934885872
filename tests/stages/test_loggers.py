"""Loggers are told of every stage that ran, and one that fails costs nothing but a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError, Terminated
from glta_cli.main import app
from glta_cli.plugin import StageEnd
from glta_cli.plugin.registry import Registry, installed
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.lineage import STAGES
from glta_cli.stages.loggers import Loggers
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

# An evaluation reads no serving index, and the recipe's terms are the encoder and the language model.
RAN = [
    stage
    for stage in STAGES
    if stage not in ("describe-users", "fit-linear", "serving-index") and not stage.startswith("refit-")
]


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

    told: ClassVar[list[StageEnd]] = []
    error: ClassVar[BaseException] = OSError("the disk is full")

    def __init__(self, settings: Any, folder: Path) -> None:
        Failing.told.clear()

    def stage_ended(self, end: StageEnd) -> None:
        Failing.told.append(end)
        raise Failing.error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loggers:
    component = installed().find("logger", "jsonl")
    monkeypatch.setattr(Registry, "find", lambda self, kind, name: component)
    monkeypatch.setattr(type(component), "target", lambda self: Failing)
    return Loggers("mine", Recipe(loggers={"failing": {}}), Workspace(tmp_path))


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
    retarget(monkeypatch, "jsonl", "glta_loggers.nowhere:Nobody")
    for command in ("pretrain-graph", "evaluate", "prepare"):
        with pytest.raises(GltaError, match=r"logger 'jsonl' of glta \S+ cannot be imported: ModuleNotFoundError"):
            glta(command)
        assert not (workspace_root / "stages").exists()


def retarget(monkeypatch: pytest.MonkeyPatch, logger: str, target: str) -> None:
    """Have that logger declared with another target."""
    found = installed().find("logger", logger)
    changed = replace(found, declaration=replace(found.declaration, target=target))
    components = [changed if each is found else each for each in installed().components]
    monkeypatch.setattr(installed(), "components", components)


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("no licence"), RecursionError("too deep")])
def test_whatever_a_logger_raises_is_a_warning(
    failing: Loggers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, error: BaseException
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    failing.stage_ended("align", 1.5, {}, None)
    assert f"warning: logger 'failing' failed after align: {type(error).__name__}" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(143)])
def test_who_stops_the_command_is_obeyed_while_a_logger_is_told(
    failing: Loggers, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    with pytest.raises(type(error)):
        failing.stage_ended("align", 1.5, {}, None)


class Meddling:
    """A logger that changes all it is told."""

    def __init__(self, settings: Any, folder: Path) -> None:
        pass

    def stage_ended(self, end: Any) -> None:
        end.metrics.clear()
        end.recipe["loggers"].clear()
        for epochs in end.history.values():
            epochs[0]["loss"] = -1.0
            del epochs[1:]


def test_a_logger_that_changes_what_it_is_told_changes_it_for_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    retarget(monkeypatch, "tensorboard", f"{__name__}:Meddling")
    listed = {"tensorboard": {}, "jsonl": {}}
    loggers = Loggers("mine", Recipe(loggers=listed), Workspace(tmp_path))
    epochs = [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0}]
    details = {"steps": 3, "history": deepcopy(epochs)}
    for _ in range(2):
        loggers.stage_ended("align", 1.5, details, None)
    assert details == {"steps": 3, "history": epochs}
    assert loggers.recipe["loggers"] == listed
    for line in (tmp_path / "logs" / "mine" / "stages.jsonl").read_text().splitlines():
        told = json.loads(line)
        assert (told["metrics"], told["history"]) == ({"steps": 3}, {"": epochs})


# ------------------------------------------------------------------------------------------------- the folder


@pytest.mark.parametrize("name", ["/absolute", "../outside", "a/../../b"])
def test_the_logs_of_a_run_cannot_leave_the_workspace(tmp_path: Path, name: str) -> None:
    name = str(tmp_path / "absolute") if name == "/absolute" else name
    with pytest.raises(InputError, match="is no name for a run"):
        Loggers(name, Recipe(loggers={"jsonl": {}}), Workspace(tmp_path / "inner" / "workspace"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_logs_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(InputError, match="--data-dir"):
        Loggers("mine", Recipe(loggers={"jsonl": {}}), Workspace(tmp_path))


def test_a_run_takes_the_settings_of_its_loggers(tiny_recipe_file: Path, workspace_root: Path) -> None:
    own = ["--set", "loggers={jsonl: {file: deep/x.jsonl}}"]
    CliRunner().invoke(app, ["pretrain-graph", "--recipe", str(tiny_recipe_file), *own], catch_exceptions=False)
    folder = workspace_root / "logs" / "toy"
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.jsonl")] == ["deep/x.jsonl"]
    told = [json.loads(line)["stage"] for line in (folder / "deep" / "x.jsonl").read_text().splitlines()]
    assert told == ["prepare", "pretrain-graph"]


# ------------------------------------------------------------------------------------------------ who is told when


def test_prepare_tells_the_loggers_of_its_recipe_once(glta: Callable[..., Any], workspace_root: Path) -> None:
    for command in ("prepare", "prepare", "pretrain-graph"):
        assert glta(command).exit_code == 0
    lines = (workspace_root / "logs" / "toy" / "stages.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [(line["run"], line["stage"]) for line in told] == [("toy", "prepare"), ("toy", "pretrain-graph")]
    assert told[0]["metrics"]["users"] == 60
    assert Path(told[0]["artefact"]).is_dir()


def test_prepare_tells_them_every_setting_of_the_recipe(
    glta: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[StageEnd] = []
    monkeypatch.setattr("glta_loggers.jsonl.JsonLines.stage_ended", lambda self, end: told.append(end))
    assert glta("prepare").exit_code == 0
    [end] = told
    assert end.recipe["graph"]["training"]["epochs"] == 10
    assert end.recipe["loggers"] == {"jsonl": {}}


def test_strict_mode_does_not_lose_the_report(
    run_toy: Callable[..., Pipeline], toy_root: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe_file: Path
) -> None:
    run_toy()
    monkeypatch.setenv("GLTA_STRICT_PLUGINS", "1")
    monkeypatch.setattr("glta_loggers.jsonl.JsonLines.stage_ended", _refuse)
    arguments = ["evaluate", "--recipe", str(tiny_recipe_file), "--set", "loggers.jsonl={}"]
    finished = CliRunner().invoke(app, [*arguments, "--data-dir", str(toy_root), "--device", "cpu", "--json"])
    assert isinstance(finished.exception, GltaError)
    assert "logger 'jsonl' failed: OSError: the disk is full" in str(finished.exception)
    assert "glta" in json.loads(finished.stdout)["models"]


def _refuse(self: Any, end: StageEnd) -> None:
    raise OSError("the disk is full")
