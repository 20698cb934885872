"""What answers are given from: everything known, by the parameters that were selected."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from typer.testing import CliRunner

from glta_cli.core.files import read_sealed_json, write_sealed_json
from glta_cli.main import app
from glta_cli.serving.index import Index, mapped_tensors
from glta_cli.stages.context import ALIGNMENT_PARAMETERS, FULL_PARAMETERS
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.propagation import embeddings_on
from glta_cli.stages.serving_index import BuildServingIndex, biases
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

RAN = re.compile(r"^▸ ([a-z-]+)", re.MULTILINE)


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture
def own(run_toy: Callable[..., Pipeline], workspace_root: Path, tiny_recipe_file: Path) -> Path:
    """A workspace of its own with the stages of the toy recipe, which `evaluate` measured and nobody asked yet."""
    run_toy(stage="serving-index")
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    shutil.rmtree(workspace_root / "stages" / "serving-index")
    glta("evaluate", "--recipe", str(tiny_recipe_file), "--json")
    return workspace_root


def without_parameters(root: Path) -> None:
    """Make every encoder one that 0.1 published."""
    for manifest in (root / "stages" / "pretrain-graph").glob("*/manifest.json"):
        content = read_sealed_json(manifest, [])
        content.pop("checksum", None)
        for name in (FULL_PARAMETERS, ALIGNMENT_PARAMETERS):
            content["outputs"].pop(name, None)
            (manifest.parent / name).unlink(missing_ok=True)
        write_sealed_json(manifest, content)


def test_its_vectors_are_those_of_the_graph_of_all_interactions(
    run_toy: Callable[..., Pipeline], toy_context: Callable[..., Any]
) -> None:
    artefacts = dict(run_toy(stage="serving-index").reached())
    served, evaluated = (
        mapped_tensors(artefacts[name].file("vectors.safetensors")) for name in ("serving-index", "index")
    )
    context = toy_context()
    history = context.prepared.history()
    graph = embeddings_on(context, history)
    assert_allclose(served["graph_users"], graph.users, atol=1e-6)
    assert_allclose(served["graph_items"].T, graph.items, atol=1e-6)
    assert_array_equal(served["lengths"], history.counts)
    for name in ("graph_users", "rows", "lengths"):
        assert not np.array_equal(served[name], evaluated[name]), name


def test_its_fusion_is_the_one_chosen_on_validation(run_toy: Callable[..., Pipeline]) -> None:
    artefacts = dict(run_toy(stage="serving-index").reached())
    assert artefacts["serving-index"].details["fusion"] == artefacts["index"].details["fusion"]
    assert artefacts["serving-index"].details["propagated"] is True


def test_an_answer_says_from_how_many_interactions_and_until_when(
    own: Path, toy_table: Path, tiny_recipe_file: Path
) -> None:
    rows = len((toy_table / "interactions.csv").read_text().splitlines()) - 1
    answer = json.loads(glta("recommend", "--user", "u7", "--json").stdout)
    assert (answer["interactions"], answer["newest"]) == (rows, "2020-09-13")
    assert answer["trained"] == 537
    assert (
        f"from {rows:,} interactions until 2020-09-13, trained on 537 of them\n"
        in glta("recommend", "--user", "u7").stdout
    )


def test_a_run_that_was_only_measured_gets_it_when_it_is_asked(own: Path) -> None:
    before = Workspace().run("toy")
    first = glta("recommend", "--user", "u7", "--json")
    assert RAN.findall(first.stderr) == ["serving-index"]
    after = Workspace().run("toy")
    assert before is not None
    assert after is not None
    assert {name: each for name, each in after.stages.items() if name != "serving-index"} == before.stages
    again = glta("recommend", "--user", "u7", "--json")
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_figures_do_not_come_from_it(own: Path) -> None:
    before = json.loads(glta("evaluate", "--json").stdout)
    glta("recommend", "--user", "u7")
    after = json.loads(glta("evaluate", "--json").stdout)
    assert after["models"] == before["models"]


def test_a_run_of_0_1_answers_as_it_did_and_says_what_it_lacks(own: Path) -> None:
    without_parameters(own)
    asked = glta("recommend", "--user", "u7", "--json")
    assert "is of 0.1 and answers from training items alone; glta update" in " ".join(asked.stderr.split())
    run = Workspace().run("toy")
    assert run is not None
    assert "serving-index" not in run.stages
    answer = json.loads(asked.stdout)
    index = Index(Artefact(own / "stages" / "index" / run.stages["index"]))
    user = index.user("u7")
    assert user is not None
    best = index.scorer(index.history)(np.array([user]))[0]
    best[index.history.of(user)] = -np.inf
    assert [each["item"] for each in answer["recommendations"]] == [index.item_ids[i] for i in np.argsort(-best)[:10]]
    prepared = json.loads((own / "stages/prepare" / run.stages["prepare"] / "manifest.json").read_text())
    assert (answer["interactions"], answer["newest"]) == (prepared["details"]["split"]["train"], None)


def test_an_encoder_of_0_1_keeps_its_vectors_and_says_so(
    own: Path, tiny_recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_parameters(own)
    asked = glta("recommend", "--user", "u7", "--recipe", str(tiny_recipe_file), "--json")
    assert "the vectors stay those of the training graph" in " ".join(asked.stderr.split())
    run = Workspace().run("toy")
    assert run is not None
    served, evaluated = (
        mapped_tensors(own / "stages" / name / run.stages[name] / "vectors.safetensors")
        for name in ("serving-index", "index")
    )
    assert_array_equal(served["graph_users"], evaluated["graph_users"])
    assert not np.array_equal(served["rows"], evaluated["rows"])


def test_an_item_nobody_met_has_no_vector_drawn_at_random(
    run_toy: Callable[..., Pipeline], toy_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = toy_context(stage="index")
    prepared = context.prepared
    history = prepared.history()
    unmet = 3
    monkeypatch.setattr(type(prepared), "history", lambda self: history.where(history.items != unmet))
    BuildServingIndex().run(context, tmp_path / "state", tmp_path)
    items = mapped_tensors(tmp_path / "vectors.safetensors")["graph_items"].T
    drawn = embeddings_on(context, prepared.history()).items
    tastes = np.array([prepared.titles[item].startswith("Space") for item in range(prepared.item_count)])
    others = np.arange(len(items)) != unmet
    assert_allclose(items[others], drawn[others], atol=1e-6)
    alike, unlike = (items[others & (tastes == taste)].mean(axis=0) for taste in (tastes[unmet], ~tastes[unmet]))
    assert items[unmet] @ alike > items[unmet] @ unlike
    assert not np.allclose(items[unmet], drawn[unmet], atol=1e-3)


def test_an_item_no_training_met_is_not_kept_out_for_that(toy_context: Callable[..., Any]) -> None:
    context = toy_context(stage="index")
    counts = np.bincount(context.train.items, minlength=40)
    learnt = np.where(counts > 0, np.log1p(counts), -5).astype(np.float32)
    found = biases(context, learnt, 42)
    assert_allclose(found[:40][counts > 0], learnt[counts > 0])
    assert_allclose(found[40:], learnt[counts > 0].mean(), rtol=1e-6)
    assert_allclose(found[:40][counts == 0], learnt[counts > 0].mean(), rtol=1e-6)
