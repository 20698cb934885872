"""Item tokens that carry text beside graph: both are heard, and every stage knows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.language.memory_plan import plan
from glta_cli.language.projectors import TokenProjector
from glta_cli.serving.index import Index
from glta_cli.stages.context import MODEL
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

WITH_TEXT = "finetune.item_tokens=graph+text"
DIMENSION, TEXTS, USERS, ITEMS = 16, 10, 60, 40


def item_tokens(context: Any, embeddings: Any = None) -> torch.Tensor:
    model = context.model(embeddings or context.embeddings(serving=False), adapters=False)
    with torch.no_grad():
        return model.node_vectors(USERS + torch.arange(ITEMS))


def test_a_token_depends_on_the_items_text_only_where_it_carries_it(
    toy_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for override, depends in ((WITH_TEXT, True), ("finetune.item_tokens=graph", False)):
        context = toy_context(override, "align.enabled=false", stage="encode-items", name="tokens")
        before, texts = item_tokens(context), context.text_vectors()
        texts[7] = texts[33]
        monkeypatch.setattr(type(context), "text_vectors", lambda self, texts=texts: texts)
        after = item_tokens(context)
        monkeypatch.undo()
        # The text of one item moves the scale of all a little, and its own token far.
        moved = (after - before).norm(dim=1) / before.norm(dim=1)
        assert bool(moved[7] > 0.3) == depends
        assert float(np.delete(moved.numpy(), 7).max()) < (0.1 if depends else 1e-12)


def test_text_and_graph_are_equally_loud_whatever_their_scales_and_widths() -> None:
    generator = torch.Generator().manual_seed(0)
    graph, text = 30 * torch.randn(500, 8, generator=generator), 0.01 * torch.randn(500, 64, generator=generator)
    torch.manual_seed(0)
    projector = TokenProjector(torch.cat([graph, text], 1), 256, token_rms=0.05, parts=(8, 64))
    with torch.no_grad():
        of_graph, of_text = graph @ projector.linear.weight[:, :8].T, text @ projector.linear.weight[:, 8:].T
    assert float((of_graph + of_text).square().mean().sqrt()) == pytest.approx(0.05, rel=1e-3)
    assert float(of_graph.square().mean() / of_text.square().mean()) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("aligned", [True, False])
def test_it_is_trained_planned_and_read_out_with_stage_2_and_without(
    run_toy: Callable[..., Pipeline], aligned: bool
) -> None:
    pipeline = run_toy(WITH_TEXT, f"align.enabled={str(aligned).lower()}", name=f"tokens-{aligned}")
    weights = {
        stage: load_file(pipeline.ensure(stage).file(MODEL)) for stage in (["align"] if aligned else []) + ["finetune"]
    }
    for each in weights.values():
        assert each["item_projector.linear.weight"].shape[1] == DIMENSION + TEXTS
        assert each["user_projector.linear.weight"].shape[1] == DIMENSION
    planned = plan(pipeline.recipe, users=USERS, items=ITEMS, graph_dimension=DIMENSION)
    # As many directions as `text.dimensions`, in the vectors and in the plan.
    width = load_file(pipeline.ensure("encode-items").file("vectors.safetensors"))["vectors"].shape[1]
    assert width == TEXTS
    assert planned.stages[-1].trainable == pipeline.ensure("finetune").details["trainable_parameters"]
    assert np.isfinite(Index(pipeline.ensure("index")).language_scorer()(np.arange(USERS))).all()
    if aligned:
        assert_array_equal(
            weights["align"]["item_projector.linear.weight"], weights["finetune"]["item_projector.linear.weight"]
        )


def test_what_was_published_before_there_was_a_choice_stays_found(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(stage="finetune")
    align, finetune = (pipeline.ensure(stage).manifest["settings"] for stage in ("align", "finetune"))
    assert "item_tokens" not in align
    assert not {"item_tokens", "targets", "popularity_adjustment"} & finetune["finetune"].keys()
    assert "targets" not in pipeline.ensure("pretrain-graph").manifest["settings"]


def test_without_item_texts_it_is_refused_before_anything_runs(
    tiny_recipe: Callable[..., Any], toy_table: Any, tmp_path: Any
) -> None:
    log = tmp_path / "log.csv"
    log.write_text((toy_table / "interactions.csv").read_text())
    pipeline = Pipeline("bare", tiny_recipe(f"dataset.source={log}", WITH_TEXT), Workspace(tmp_path), device="cpu")
    with pytest.raises(InputError, match=r"without item texts, which finetune\.item_tokens=graph\+text needs") as error:
        pipeline.ensure("finetune")
    assert "--set finetune.item_tokens=graph" in str(error.value.hint)
    assert not (tmp_path / "stages" / "pretrain-graph").exists()


def test_a_backbone_that_reads_no_text_makes_no_vectors_for_it(tiny_recipe: Callable[..., Any]) -> None:
    wordless = ["backbone.name=none", "text.vectors=false", "align.enabled=false"]
    with pytest.raises(InputErrors, match=r"none reads no text, which finetune\.item_tokens would have it do") as error:
        tiny_recipe(WITH_TEXT, *wordless)
    assert "--set finetune.item_tokens=graph" in str(error.value.errors[0].hint)
    tiny_recipe(WITH_TEXT, *wordless, "text.backbone=minilm")
