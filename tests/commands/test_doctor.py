"""`glta doctor`: what is broken is found and named, and what is no fault of glta's is no failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# No network in these tests: nobody listens on the discard port.
ALONE = {
    "HF_HUB_OFFLINE": "1",
    "PIP_INDEX_URL": "http://somebody:secret@127.0.0.1:9/simple",
    "PIP_CONFIG_FILE": "/dev/null",
}


def found(finished: Any) -> dict[str, list[dict[str, Any]]]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in finished.json["findings"]:
        by_name.setdefault(each["name"], []).append(each)
    return by_name


def test_a_machine_that_works_is_told_and_changed_in_nothing(glta: Any, workspace_root: Path) -> None:
    finished = glta("doctor", "--json", **ALONE, OMP_NUM_THREADS="1")
    assert finished.code == 0, finished.err
    assert finished.json["works"] is True
    told = found(finished)
    assert told["python"][0]["value"]
    assert "torch " in told["packages"][0]["value"]
    assert told["device"][0]["value"].startswith(("cpu: ", "cuda: ", "mps: "))
    assert "OMP_NUM_THREADS is set" in told["threads"][0]["value"]
    assert str(workspace_root) in told["data"][0]["value"]
    assert "components of glta" in told["plugins"][0]["value"]
    assert not workspace_root.exists()


def test_an_address_with_a_password_is_not_shown(glta: Any) -> None:
    finished = glta("doctor", **ALONE)
    assert finished.code == 0, finished.err
    shown = finished.out + finished.err
    assert "not reachable: HF_HUB_OFFLINE is set" in shown
    assert "not reachable: pip finds nothing there" in shown
    assert "secret" not in shown
    assert "127.0.0.1" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_folder_nothing_can_be_written_to_keeps_glta_from_working(glta: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = glta("doctor", "--json", **ALONE, GLTA_DATA_DIR=str(tmp_path / "file" / "data"))
    assert finished.code == 1
    assert finished.json["works"] is False
    [data] = found(finished)["data"]
    assert data["state"] == "broken"
    assert "cannot be written" in data["value"]
    assert "--data-dir" in data["hint"]


@pytest.fixture
def worn(workspace_root: Path) -> Path:
    """A workspace with a damaged run and a run whose stage is gone."""
    runs = workspace_root / "runs"
    runs.mkdir(parents=True)
    (runs / "damaged.json").write_text("{")
    recipe = {"dataset": {"name": "table"}, "graph": {"encoder": "lightgcn"}, "backbone": {"name": "tiny"}}
    content = {"name": "bare", "recipe": recipe, "stages": {"prepare": "0" * 64}}
    (runs / "bare.json").write_text(json.dumps(content))
    return workspace_root


def test_what_is_damaged_in_a_workspace_is_named_and_glta_still_works(glta: Any, worn: Path) -> None:
    finished = glta("doctor", "--json", **ALONE)
    assert finished.code == 0, finished.err
    runs = found(finished)["runs"]
    assert runs[0]["value"] == "2, 0 of them finished"
    [damaged] = [each for each in runs if "damaged" in each["value"]]
    assert damaged["state"] == "warning"
    assert damaged["hint"]
    assert any("bare lacks prepare" in each["value"] for each in runs)
