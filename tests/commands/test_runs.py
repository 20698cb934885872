"""`glta runs`, and which run or recipe a command takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from glta_cli.commands.options import checked_device, open_pipeline
from glta_cli.core.errors import InputError
from glta_cli.core.terminal import cells
from glta_cli.recipe.files import load_recipe
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def workspace(workspace_root: Path) -> Workspace:
    return Workspace(workspace_root)


def save(workspace: Workspace, name: str, stages: dict[str, str], *overrides: str) -> None:
    recipe = load_recipe("movielens-1m", overrides).recipe
    workspace.save_run(Run(name, recipe.model_dump(mode="json"), stages))


def publish_finetune(workspace: Workspace) -> None:
    history = [{"epoch": 1.0, "loss": 2.0, "ndcg@10": 0.25}, {"epoch": 2.0, "loss": 1.0, "ndcg@10": 0.2}]
    details = {"best_epoch": 1, "best_metric": 0.25, "history": history}
    workspace.publish("finetune", "abc", lambda folder: details, settings={}, inputs={}, seed=0)


def test_a_run_is_listed_with_its_stages_and_the_metrics_of_its_best_epoch(glta, workspace):
    publish_finetune(workspace)
    save(workspace, "trial", {"finetune": "abc", "index": "never-published"})
    [run] = glta("runs", "--json").json
    assert (run["run"], run["dataset"], run["backbone"]) == ("trial", "movielens-1m", "smollm2")
    finetune, index = run["stages"]
    assert finetune["metrics"] == {"ndcg@10": 0.25}
    assert (finetune["published"], index["published"]) == (True, False)
    assert (run["state"], run["answers"]) == ("finished", True)
    assert run["bytes"] == finetune["bytes"] > 500
    assert run["date"] == finetune["date"]
    shown = glta("runs").out
    for text in ("trial", run["date"][:4], "movielens-1m", "smollm2", "lightgcn", "finished"):
        assert text in shown
    assert re.search(r"finished +(\d+ bytes|\d+\.\d kB)", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_a_run_that_is_being_trained_is_not_left_at_stopped(glta, workspace):
    publish_finetune(workspace)
    save(workspace, "trial", {"finetune": "abc"})
    assert "at work" not in glta("runs").err
    with workspace.locked("index-one"):
        finished = glta("runs")
    assert "stopped after" in finished.out
    told = "a glta command is at work here: a run shown as stopped may be the one it makes\n"
    assert told in finished.err


def test_an_empty_workspace_says_how_to_begin(glta):
    finished = glta("runs")
    assert finished.code == 0
    assert finished.out == ""
    assert "glta recommend --user 42" in finished.err
    assert glta("runs", "--json").json == []


def test_a_recipe_names_its_run(workspace):
    pipeline = open_pipeline("paper/movielens-1m", None, None, None, 7, "cpu")
    assert (pipeline.name, pipeline.recipe.seed) == ("paper/movielens-1m", 7)
    assert open_pipeline("movielens-1m", "trial", ["seed=3"], None, None, None).name == "trial"


def test_a_run_brings_its_own_recipe(workspace):
    save(workspace, "trial", {}, "seed=11")
    save(workspace, "later", {})
    pipeline = open_pipeline(None, "trial", ["graph.loss=bpr"], None, None, None)
    assert (pipeline.name, pipeline.recipe.seed, pipeline.recipe.graph.loss) == ("trial", 11, "bpr")


def test_without_both_it_is_the_latest_run_or_the_default_recipe(workspace, capsys):
    assert open_pipeline(None, None, None, None, None, None, prefer_latest=True).name == "quickstart"
    save(workspace, "trial", {})
    assert open_pipeline(None, None, None, None, None, None, prefer_latest=True).name == "trial"
    assert open_pipeline(None, None, None, None, None, None).name == "quickstart"
    assert "no recipe named: taking quickstart" in capsys.readouterr().err


def test_asking_a_run_that_is_not_there_names_those_there_are(workspace):
    save(workspace, "trial", {})
    with pytest.raises(InputError, match="did you mean 'trial'"):
        open_pipeline(None, "trail", None, None, None, None, prefer_latest=True)


@pytest.mark.parametrize(
    ("recipe", "overrides", "seed"), [(None, ["graph.loss=bpr"], None), (None, None, 3), ("movielens-1m", None, None)]
)
def test_a_new_name_with_settings_starts_a_run(workspace, recipe, overrides, seed):
    save(workspace, "trial", {})
    pipeline = open_pipeline(recipe, "new", overrides, None, seed, None, prefer_latest=True)
    base = load_recipe(recipe or "quickstart").recipe
    assert (pipeline.name, pipeline.recipe.dataset) == ("new", base.dataset)
    assert pipeline.recipe.graph.loss == ("bpr" if overrides else base.graph.loss)
    assert pipeline.recipe.seed == (seed or 0)


@pytest.mark.parametrize(
    ("given", "taken"),
    [(None, None), ("auto", None), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)
def test_devices(given, taken):
    assert checked_device(given) == taken


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "CUDA", ""])
def test_a_device_nobody_knows(device):
    with pytest.raises(typer.BadParameter, match="is not one of cpu"):
        checked_device(device)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "'' is no name for a run"),
        ("a\nb", "is no name for a run: it has characters that do not show"),
        ("a\x1b[31m", "is no name for a run: it has characters that do not show"),
        ("n" * 300, "is no name for a run: it has 300 characters"),
        ("名" * 100, "is no name for a run: it has 100 characters"),
        ("../x", "'../x' is no name for a run"),
    ],
)
@pytest.mark.parametrize(
    "command", [("recommend", "--user", "1"), ("evaluate",), ("finetune", "--recipe", "quickstart")]
)
def test_a_name_no_run_can_have(glta, name, why, command):
    finished = glta(*command, "--run", name)
    assert finished.code == 2
    assert why in finished.err
    assert finished.err.isascii() or "名" in finished.err
    assert not (glta.folder.parent / "workspace" / "stages").exists()


def test_an_ordinary_long_name_is_one(workspace):
    for name in ("n" * 200, "paper/movielens-1m", "a run with blanks", "名" * 60):
        save(workspace, name, {})
        assert workspace.run(name).name == name


def test_a_data_folder_that_leads_nowhere_is_told_as_such(glta, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    finished = glta("prepare", "movielens-100k", "--data-dir", str(link))
    assert (finished.code, "File exists" in finished.err) == (2, False)
    why = f"{link} is a link to {tmp_path / 'gone'}, which does not exist"
    assert f"cannot be created: {why}\n  hint: choose another with --data-dir" in finished.err


def test_runs_of_long_names_stand_side_by_side(glta, workspace):
    publish_finetune(workspace)
    names = ("a-run-with-a-name-of-forty-characters-ab", "\u63a8\u85a6" * 20)
    for name in names:
        save(workspace, name, {"finetune": "abc"})
    shown = glta("runs", "compare", *names).out
    [line] = [line for line in shown.splitlines() if "ndcg@10" in line]
    assert line.split() == ["finetune", "ndcg@10", "0.2500", "0.2500"]
    listed = glta("runs").out
    assert max(map(cells, [*shown.splitlines(), *listed.splitlines()])) <= 80
