"""Item tokens with text, targets in folds and adjusted logits together: refit, brought up to date, trained again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.main import app
from glta_cli.stages.fold_encoders import FOLDS
from glta_cli.workspace.workspace import Workspace

SETTINGS = {"item_tokens": "graph+text", "targets": "folds", "popularity_adjustment": 0.5, "refit": True}
DAY_TWO = [
    *(f"n1,i{item},1700000000\n" for item in (1, 2, 3, 4)),
    *(f"u7,i{item},1700000002\n" for item in (30, 31, 32)),
    "u3,new-film,1700000003\n",
]


def glta(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def fold_of_each(root: Path, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """The folds of a stage's interactions, and the vectors of the items by fold."""
    run = Workspace().run("shop")
    assert run is not None
    stored = load_file(root / "stages" / stage / run.stages[stage] / FOLDS)
    return stored["folds"], stored["items"]


@pytest.fixture
def source(tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path) -> Path:
    """The log of a finished run `shop` that has all three."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("interactions.csv", "items.csv"):
        (source / name).write_bytes((toy_table / name).read_bytes())
    recipe = tmp_path / "shop.yaml"
    changes = {
        "dataset": {"name": "table", "source": str(source), "split": {"strategy": "leave-last-out"}},
        "graph": {**tiny_settings["graph"], "alignment_holdout": 0.34},
        "finetune": {**tiny_settings["finetune"], **SETTINGS},
    }
    recipe.write_text(yaml.safe_dump({**tiny_settings, **changes}))
    glta("recommend", "--user", "u7", "--recipe", str(recipe))
    return source


def test_they_serve_everything_known_take_in_day_two_and_are_trained_again(source: Path, workspace_root: Path) -> None:
    selected, refitted = (fold_of_each(workspace_root, stage) for stage in ("pretrain-graph", "refit-pretrain-graph"))
    for folds, items in (selected, refitted):
        assert set(folds.tolist()) == {0, 1, 2}
        assert len(items) == 3
    assert len(refitted[0]) > len(selected[0])

    log = source / "interactions.csv"
    log.write_text(log.read_text() + "".join(DAY_TWO))
    (source / "items.csv").write_text((source / "items.csv").read_text() + "new-film,Space film 99\n")
    found = json.loads(glta("update", "--json").stdout)
    assert found["new"]["interactions"] == len(DAY_TWO)
    answers = [json.loads(glta("recommend", "--user", user, "--json").stdout) for user in ("n1", "u3")]
    assert all(len(each["recommendations"]) == 10 for each in answers)

    again = json.loads(glta("update", "--train", "--json").stdout)
    assert again["warm_start"]
    names = {each["name"] for each in again["trainings"]}
    assert {"pretrain-graph full", "pretrain-graph alignment", "pretrain-graph folds.1", "finetune"} <= names
    folds, items = fold_of_each(workspace_root, "pretrain-graph")
    assert set(folds.tolist()) == {0, 1, 2}
    # All in one space: an item lies near itself.
    for other in items[1:]:
        cosines = (items[0] * other).sum(1) / np.linalg.norm(items[0], axis=1) / np.linalg.norm(other, axis=1)
        assert np.median(cosines) > 0.5
