"""Which run answers: the latest that is finished, and of one that is made anew what it was before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glta_cli.core.files import write_json
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def recipe(seed: int) -> dict[str, object]:
    """A stored recipe, which says its terms."""
    return {"fusion": {"terms": ["encoder", "llm"]}, "seed": seed}


DONE = {"prepare": "a", "index": "b"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_a_run_that_is_not_finished_never_becomes_the_latest(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.save_run(Run("shop", {}, DONE))
    workspace.save_run(Run("typo", {}, {"prepare": "a"}, failed="no such model"))
    later = workspace.root / "runs" / "typo.json"
    os.utime(later, ns=(1 << 62, 1 << 62))
    found = workspace.latest_run()
    assert found is not None
    assert found.name == "shop"
    told = "run typo failed after prepare; taking the latest finished run, shop, and --run typo goes on"
    assert told in " ".join(capsys.readouterr().err.split())
    workspace.save_run(Run("typo", {}, DONE))
    assert workspace.latest_run() == Run("typo", {}, DONE)


def test_where_0_1_left_the_pointer_at_a_half_done_run_a_finished_one_is_taken(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.save_run(Run("shop", {}, DONE))
    write_json(workspace.root / "runs" / "half.json", {"name": "half", "recipe": {}, "stages": {"prepare": "a"}})
    write_json(workspace.root / "runs" / "latest", {"name": "half"})
    found = workspace.latest_run()
    assert found is not None
    assert found.name == "shop"
    assert "run half stopped after prepare; taking the latest finished run, shop" in capsys.readouterr().err


def test_a_run_made_anew_answers_as_it_was_until_it_is_finished(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"recipe": recipe(0), "stages": DONE, "sources": {"/log.csv": [1, 2, "c"]}}
    anew = Run("shop", recipe(1), {"prepare": "a"}, failed="no room", before=before)
    workspace.save_run(anew)
    assert workspace.run("shop") == anew
    for name in ("shop", None):
        assert workspace.answering_run(name) == Run("shop", **before)
        told = " ".join(capsys.readouterr().err.split())
        assert "run shop was begun anew and failed after prepare: no room; it answers as it was before" in told


def test_the_latest_finished_run_is_taken_without_a_word(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.save_run(Run("other", {}, DONE))
    workspace.save_run(Run("shop", {}, DONE))
    found = workspace.answering_run()
    assert found is not None
    assert found.name == "shop"
    assert capsys.readouterr().err == ""
