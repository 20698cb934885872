"""The same graph encoder is trained once, whoever asks for it; one without targets only where stage 3 has any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import glta_cli.stages.pretrain_graph as stage
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import EncoderRow
from glta_cli.evaluation.tuning import tuned
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.context import ALIGNMENT_GRAPH, FULL_AT_TEST, FULL_GRAPH
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

WHOLE, HIDDEN = "lightgcn on the whole graph", "lightgcn without stage 3's targets"
ALONE = "finetune.enabled=false"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained, in order, as its bar says it."""
    names: list[str] = []
    pretrain = stage.pretrain

    def counted(*arguments: Any, **named: Any) -> Any:
        names.append(named["description"])
        return pretrain(*arguments, **named)

    monkeypatch.setattr(stage, "pretrain", counted)
    return names


@pytest.fixture
def pipeline_of(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Pipeline]:
    def make(*overrides: str) -> Pipeline:
        return Pipeline("toy", tiny_recipe("fusion.terms=auto", *overrides), Workspace(tmp_path / "w"), device="cpu")

    return make


def test_without_stage_3_no_encoder_without_its_targets_is_trained(
    pipeline_of: Callable[..., Pipeline], trained: list[str]
) -> None:
    artefact = pipeline_of(ALONE).ensure("pretrain-graph")
    assert trained == [WHOLE]
    assert not artefact.has(ALIGNMENT_GRAPH)
    assert "alignment" not in artefact.details


def test_an_encoder_published_with_the_one_of_stage_3_serves_a_recipe_without(
    pipeline_of: Callable[..., Pipeline], trained: list[str]
) -> None:
    both = pipeline_of().ensure("pretrain-graph")
    assert trained == [WHOLE, HIDDEN]
    assert pipeline_of(ALONE).ensure("pretrain-graph").fingerprint == both.fingerprint
    assert trained == [WHOLE, HIDDEN]


@pytest.mark.parametrize("split", ["ratio", "leave-last-out"])
def test_an_encoder_published_alone_is_not_trained_again_for_stage_3(
    pipeline_of: Callable[..., Pipeline], trained: list[str], split: str, tmp_path: Path
) -> None:
    in_time = f"dataset.split.strategy={split}"
    alone = pipeline_of(ALONE, in_time).ensure("pretrain-graph")
    both = pipeline_of(in_time).ensure("pretrain-graph")
    assert trained == [WHOLE, HIDDEN]
    # Bit for bit what it is where nothing was trained before.
    fresh = Pipeline("fresh", pipeline_of(in_time).recipe, Workspace(tmp_path / "fresh"), device="cpu")
    again = fresh.ensure("pretrain-graph")
    names = [name for name in again.manifest["outputs"] if name.endswith(".safetensors")]
    assert (FULL_AT_TEST in names) == (split != "ratio")
    for name in names:
        for tensor, values in load_file(again.file(name)).items():
            np.testing.assert_array_equal(load_file(both.file(name))[tensor], values, err_msg=f"{name} {tensor}")
    assert both.details["full"]["best_epoch"] == alone.details["full"]["best_epoch"]
    assert both.file(FULL_GRAPH).read_bytes() == alone.file(FULL_GRAPH).read_bytes()


def test_a_row_equal_to_the_runs_own_encoder_is_not_trained_again(
    pipeline_of: Callable[..., Pipeline], trained: list[str]
) -> None:
    pipeline = pipeline_of()
    # The recipe's own encoder under another name, and another one.
    rows = compared_rows({"lightgcn-softmax": {}, "mf-softmax": {}}, pipeline.recipe)
    fitted = [row.fitted(pipeline)[0] for row in rows]
    own = pipeline.ensure("pretrain-graph")
    assert trained == [WHOLE, HIDDEN, "mf on the whole graph"]
    assert fitted[0].artefact.fingerprint == own.fingerprint
    assert fitted[1].artefact.fingerprint != own.fingerprint


def test_settings_that_are_the_runs_own_are_not_trained_again_while_tuned(
    pipeline_of: Callable[..., Pipeline], trained: list[str]
) -> None:
    pipeline = pipeline_of("graph.temperature=0.2")
    pipeline.ensure("pretrain-graph")
    changes = {"encoder": "lightgcn", "loss": "softmax"}
    tuned(EncoderRow("lightgcn-softmax", changes, {"temperature": [0.2, 0.3]}), pipeline)
    assert trained == [WHOLE, HIDDEN, WHOLE]
