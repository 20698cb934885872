"""`glta runs show, compare, remove, gc`: what a run is, in what two differ, and what goes without harm to another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.core.temporary import temporary_beside
from glta_cli.main import app
from glta_cli.recipe.files import load_recipe
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

HISTORY = [{"epoch": 1.0, "loss": 2.0, "ndcg@10": 0.25}]


class Finished:
    def __init__(self, out: str, err: str) -> None:
        self.out, self.err = out, err

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.out)


def glta(*arguments: str) -> Finished:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return Finished(result.stdout, result.stderr)


def publish(workspace: Workspace, stage: str, name: str, **inputs: str) -> None:
    def write(folder: Path) -> dict[str, Any]:
        (folder / "data").write_bytes(bytes(2_000))
        return {"best_epoch": 1, "history": HISTORY} if stage == "finetune" else {}

    workspace.publish(stage, name, write, settings={}, inputs=inputs, seed=0)


@pytest.fixture
def workspace(workspace_root: Path) -> Workspace:
    """Two finished runs that share a dataset, a half-done one, and a stage that belongs to none of them."""
    workspace = Workspace(workspace_root)
    publish(workspace, "prepare", "data")
    for name in ("one", "two", "nobody"):
        publish(workspace, "finetune", name, prepare="data")
    for name in ("one", "two"):
        publish(workspace, "index", name, prepare="data", finetune=name)
    for name, change in (("paper/two", "seed=2"), ("paper", "seed=1")):
        stages = {"prepare": "data", **dict.fromkeys(("finetune", "index"), "two" if "two" in name else "one")}
        workspace.save_run(Run(name, load_recipe("movielens-1m", [change]).recipe.model_dump(mode="json"), stages))
        (workspace.run_folder("logs", name) / "log.csv").write_text("1")
    half = load_recipe("movielens-1m", []).recipe.model_dump(mode="json")
    workspace.save_run(Run("half", half, {"prepare": "data"}, failed="no room"))
    for state in ("finetune-three", "prepare-old"):
        (workspace.folder(f"states/{state}") / "state").write_text("1")
    return workspace


def published(workspace: Workspace) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in (workspace.root / "stages").glob("*/*")}


def test_a_run_is_shown_with_what_is_not_the_default(workspace: Workspace) -> None:
    report = glta("runs", "show", "paper", "--json").json
    assert (report["run"], report["state"], report["settings"]["seed"]) == ("paper", "finished", 1)
    assert "finetune.readout" not in report["settings"]
    finetune = report["stages"][1]
    assert (finetune["fingerprint"], finetune["metrics"]) == ("one", {"ndcg@10": 0.25})
    assert finetune["bytes"] > 2_000
    shown = glta("runs", "show", "paper").out
    for text in ("finished", "one", "0.2500", "seed", finetune["date"][:4]):
        assert text in shown
    assert "failed after prepare: no room" in " ".join(glta("runs", "show", "half").out.split())
    with pytest.raises(InputError, match="no run is called 'papr'"):
        glta("runs", "show", "papr")


def test_the_list_says_how_far_each_run_came(workspace: Workspace) -> None:
    states = {run["run"]: run["state"] for run in glta("runs", "--json").json}
    assert states == {"paper": "finished", "paper/two": "finished", "half": "failed after prepare"}


def test_two_runs_are_set_side_by_side(workspace: Workspace) -> None:
    report = glta("runs", "compare", "paper", "paper/two", "--json").json
    assert report["settings"] == {"seed": [1, 2]}
    assert report["metrics"] == {"finetune": {"ndcg@10": [0.25, 0.25]}}
    assert report["same_stages"] == ["prepare"]
    shown = glta("runs", "compare", "paper", "half").out
    assert "seed" in shown
    assert "0.2500" in shown


def test_a_run_is_removed_with_what_no_other_needs(workspace: Workspace) -> None:
    before = published(workspace)
    planned = glta("runs", "remove", "paper", "--dry-run", "--json").json
    assert published(workspace) == before
    assert workspace.run("paper") is not None
    removed = glta("runs", "remove", "paper", "--json").json
    assert (planned["removed"], planned["bytes"]) == (removed["removed"], removed["bytes"])
    assert removed["bytes"] > 4_000
    assert published(workspace) == before - {"finetune/one", "index/one"}
    assert set(workspace.run_names()) == {"half", "paper/two"}
    # A run below the same name keeps its logs.
    logs = workspace.root / "logs" / "paper"
    assert [path.relative_to(logs).as_posix() for path in logs.rglob("*.csv")] == ["two/log.csv"]
    latest = workspace.latest_run()
    assert latest is not None
    assert latest.name == "paper/two"


def test_removing_an_unfinished_run_removes_its_states(workspace: Workspace) -> None:
    glta("runs", "remove", "half")
    assert [path.name for path in (workspace.root / "states").iterdir()] == ["prepare-old"]
    assert "prepare/data" in published(workspace)


def test_a_run_made_anew_keeps_what_it_answers_from(workspace: Workspace) -> None:
    run = workspace.required_run("paper")
    kept = {"recipe": run.recipe, "stages": run.stages, "sources": {}}
    workspace.save_run(Run("paper", run.recipe, {"prepare": "data"}, before=kept))
    glta("runs", "gc")
    assert {"finetune/one", "index/one"} <= published(workspace)


def test_what_no_run_needs_goes_and_nothing_else(workspace: Workspace) -> None:
    before = published(workspace)
    (workspace.folder("encodings") / "a.safetensors").write_text("1")
    mine = temporary_beside(workspace.root / "stages" / "index" / "mine")
    dead = mine.with_name(f".dead-{'0' * 8}.1.1.{'0' * 8}")
    for folder in (mine, dead):
        folder.mkdir()
    os.utime(dead, (0, 0))
    planned = glta("runs", "gc", "--dry-run", "--json").json
    kinds = [(each["kind"], Path(each["path"]).name) for each in planned["removed"]]
    assert kinds == [("temporary file", dead.name), ("stage", "nobody"), ("state", "prepare-old")]
    assert dead.exists()
    assert "nobody" in glta("runs", "gc").out
    assert published(workspace) - {f"index/{mine.name}"} == before - {"finetune/nobody"}
    assert (mine.exists(), dead.exists()) == (True, False)
    assert [path.name for path in (workspace.root / "states").iterdir()] == ["finetune-three"]
    assert (workspace.root / "encodings" / "a.safetensors").exists()
    glta("runs", "gc", "--all")
    assert not (workspace.root / "encodings").exists()
    assert "nothing to remove" in glta("runs", "gc", "--all").err


def test_what_a_running_process_may_read_stays(workspace: Workspace) -> None:
    before = published(workspace)
    with workspace.locked("finetune-three"):
        report = glta("runs", "gc", "--json").json
        assert (report["busy"], report["removed"]) == (["finetune-three"], [])
        with pytest.raises(BusyError, match="finetune-three"):
            glta("runs", "remove", "paper")
    assert published(workspace) == before
    assert workspace.run("paper") is not None


def test_beside_a_damaged_run_nothing_is_removed_but_itself(workspace: Workspace) -> None:
    before = published(workspace)
    workspace.run_path("half").write_text("{")
    for command in (("gc",), ("remove", "paper")):
        with pytest.raises(GltaError, match="nobody knows what run half needs") as caught:
            glta("runs", *command)
        assert caught.value.hint is not None
        assert "glta runs remove half" in caught.value.hint
    glta("runs", "remove", "half")
    assert published(workspace) == before
    glta("runs", "gc")
