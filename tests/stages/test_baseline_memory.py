"""A baseline too large for the machine is refused before anything is trained, with the name of one that fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from glta_baselines.item_knn import ItemKnn

from glta_cli.core.errors import GltaError
from glta_cli.evaluation.listed_rows import compared_rows, require_rows
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.linear_rows import tried_rows
from glta_cli.stages.pipeline import Pipeline

GIGABYTE = 1_000_000_000


def test_a_row_that_does_not_fit_is_refused_beforehand_and_another_named(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy("finetune.enabled=false", stage="pretrain-graph", name="memory")
    monkeypatch.setattr("glta_cli.data.prepared.PreparedDataset.item_count", 40_000)
    monkeypatch.setattr("glta_cli.stages.baseline_memory.available_memory", lambda: 8 * GIGABYTE)
    # Settings with which no other test has fitted it: what was fitted is found.
    rows = compared_rows({"popularity": {}, "elsa": {}, "ease": {"regularization": 123.5}}, pipeline.recipe)
    with pytest.raises(GltaError) as told:
        require_rows(rows, pipeline, tune=False)
    assert told.value.problem == "ease takes 19.2 GB while it is fitted to 40,000 items, and 8.0 GB are free"
    assert told.value.hint == "elsa in its place takes 0.6 GB"


def test_a_row_that_reads_texts_names_one_that_does(
    run_toy: Callable[..., Pipeline], tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy("finetune.enabled=false", stage="pretrain-graph", name="memory")
    monkeypatch.setattr("glta_cli.data.prepared.PreparedDataset.item_count", 40_000)
    for module in ("baseline_memory", "linear_rows"):
        monkeypatch.setattr(f"glta_cli.stages.{module}.available_memory", lambda: 8 * GIGABYTE)
    for row in ("ease-text", "l3ae", "add-ease"):
        with pytest.raises(GltaError, match=rf"{row} takes 19\.2 GB") as told:
            require_rows(compared_rows({row: {"regularization": 125.5}}, pipeline.recipe), pipeline, tune=False)
        assert told.value.hint == "elsa-text in its place takes 0.6 GB"
        with pytest.raises(GltaError, match=rf"{row} takes 19\.2 GB") as told:
            tried_rows(tiny_recipe(f"fusion.terms=[{row},encoder]"), 60, 40_000, has_text=True)
        assert str(told.value.hint).startswith("name elsa-text in its place")
    # Without texts there is nothing that would read them.
    with pytest.raises(GltaError) as told:
        tried_rows(tiny_recipe("fusion.terms=[ease,encoder]"), 60, 40_000, has_text=False)
    assert str(told.value.hint).startswith("name elsa in its place")


def test_no_row_is_named_that_does_not_fit_either(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy("finetune.enabled=false", stage="pretrain-graph", name="memory")
    monkeypatch.setattr("glta_cli.data.prepared.PreparedDataset.item_count", 40_000)
    monkeypatch.setattr("glta_cli.stages.baseline_memory.available_memory", lambda: GIGABYTE // 10)
    with pytest.raises(GltaError, match=r"ease takes 19\.2 GB") as told:
        require_rows(compared_rows({"ease": {"regularization": 124.5}}, pipeline.recipe), pipeline, tune=False)
    assert told.value.hint == "leave it out"


def test_one_that_was_fitted_is_found_however_little_is_free(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy("finetune.enabled=false", stage="pretrain-graph", name="memory")
    monkeypatch.setattr("glta_cli.stages.baseline_memory.available_memory", lambda: 1)
    rows = compared_rows({"ease": {"regularization": 77}}, pipeline.recipe)
    with pytest.raises(GltaError, match=r"ease takes 0\.0 GB"):
        require_rows(rows, pipeline, tune=False)
    rows[0].fitted(pipeline)
    require_rows(rows, pipeline, tune=False)


def test_a_named_linear_row_that_says_what_it_takes_is_refused(
    tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_cli.stages.linear_rows.available_memory", lambda: 10_000)
    with pytest.raises(GltaError, match=r"elsa takes 0\.0 GB while it is fitted to 40 items") as told:
        tried_rows(tiny_recipe("fusion.terms=[elsa,encoder]"), 60, 40, has_text=True)
    assert told.value.location == "fusion.terms"
    assert "name item-knn in its place" in str(told.value.hint)
    monkeypatch.setattr(ItemKnn, "bytes_to_fit", lambda _, users, items: users * items * GIGABYTE, raising=False)
    with pytest.raises(GltaError, match=r"item-knn takes 2400\.0 GB") as told:
        tried_rows(tiny_recipe("fusion.terms=[item-knn,encoder]"), 60, 40, has_text=True)
    assert told.value.hint == "leave it to --set fusion.terms=auto"
