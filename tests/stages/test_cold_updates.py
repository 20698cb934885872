"""A run whose split hides items or users answers and takes in a new day as any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from typer.testing import CliRunner

from glta_cli.data.prepared import PreparedDataset
from glta_cli.main import app
from glta_cli.serving.index import mapped_tensors
from glta_cli.stages.cold_nodes import PRIOR
from glta_cli.stages.context import read_embeddings
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

DAY_TWO = [*(f"n1,i{item},1700000000\n" for item in (1, 2, 3, 4)), "u7,i30,1700000002\n", "u3,new-film,1700000003\n"]


def glta(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


def run_file() -> Run:
    run = Workspace().run("cold")
    assert run is not None
    return run


def published(root: Path, stage: str) -> Artefact:
    return Artefact(root / "stages" / stage / run_file().stages[stage])


@pytest.fixture(params=["items", "users"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(kind: str, tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path) -> Path:
    """The folder of the log of a finished run `cold`."""
    folder = tmp_path / "source"
    shutil.copytree(toy_table, folder)
    split = {"strategy": f"cold-{kind}", "test": 0.3}
    recipe = tmp_path / "cold.yaml"
    dataset = {"name": "table", "source": str(folder), "split": split}
    # Both of them are kept, whichever ranks better.
    terms = {"terms": ["encoder", "llm"]}
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": dataset, "fusion": terms}))
    answer = json.loads(glta("recommend", "--user", "u7", "--recipe", str(recipe), "--json").stdout)
    assert answer["recommendations"]
    return folder


def test_a_new_day_is_taken_in_and_what_was_hidden_stays_so(source: Path, kind: str, workspace_root: Path) -> None:
    trained = PreparedDataset(published(workspace_root, "prepare"))
    log = source / "interactions.csv"
    log.write_text(log.read_text() + "".join(DAY_TWO))
    (source / "items.csv").write_text((source / "items.csv").read_text() + "new-film,Space film 99\n")
    found = json.loads(glta("update", "--json").stdout)
    assert (found["new"]["users"], found["new"]["items"], found["updated"]) == (1, 1, True)

    served = published(workspace_root, "serving-index")
    grown = PreparedDataset(Artefact(served.parent("prepare")))
    assert grown.hides == kind
    count = trained.item_count if kind == "items" else trained.user_count
    assert_array_equal(grown.hidden()[:count], trained.hidden())
    assert not grown.hidden()[count:].any()
    parts = grown.summary()["split"]
    assert sum(parts.values()) == grown.summary()["interactions"]
    assert ("history" in parts) == (kind == "users")
    new = json.loads(glta("recommend", "--user", "n1", "--json").stdout)
    assert not {"i1", "i2", "i3", "i4"} & {each["item"] for each in new["recommendations"]}

    if kind == "items":
        # A film of the new day has the prior that was chosen on films hidden to choose by.
        prior = published(workspace_root, "index").details[PRIOR]
        bias = mapped_tensors(served.mapped_file("vectors.safetensors"))["bias"]
        train = trained.split("train")
        met = np.flatnonzero(np.bincount(train.items, minlength=train.item_count))
        assert_allclose(bias[grown.item_ids.index("new-film")], np.quantile(bias[met], prior), rtol=1e-5)


def test_a_hidden_node_is_served_by_what_is_known_of_it_and_not_by_noise(
    kind: str, source: Path, workspace_root: Path
) -> None:
    prepared = PreparedDataset(published(workspace_root, "prepare"))
    raw = read_embeddings(published(workspace_root, "pretrain-graph"))
    tensors = mapped_tensors(published(workspace_root, "serving-index").mapped_file("vectors.safetensors"))
    served = tensors["graph_items"].T if kind == "items" else tensors["graph_users"]
    trained = raw.items if kind == "items" else raw.users
    hidden = prepared.hidden()
    alike = (served * trained).sum(axis=1) / (np.linalg.norm(served, axis=1) * np.linalg.norm(trained, axis=1))
    assert alike[~hidden].mean() > 0.7
    assert abs(alike[hidden].mean()) < 0.4
