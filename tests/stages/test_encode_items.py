"""Vectors of few item texts, which are whitened by half: weak directions of them are mostly chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import load_file

from glta_cli.core.files import fingerprint
from glta_cli.recipe.schema import Recipe
from glta_cli.stages import encode_items
from glta_cli.stages.context import VECTORS, WHITENING
from glta_cli.stages.encode_items import EncodeItems, later_text_vectors, plain_text_vectors
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

ITEMS, USUAL = 40, "text.dimensions=256"


@pytest.fixture
def pipeline(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Pipeline]:
    return lambda *overrides: Pipeline("small", tiny_recipe(*overrides), Workspace(tmp_path), device="cpu")


def test_few_texts_are_whitened_by_half_which_is_said(
    pipeline: Callable[..., Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    run = pipeline(USUAL)
    vectors = load_file(run.ensure("encode-items").file(VECTORS))["vectors"]
    assert "40 item texts, few for 256 directions (text.dimensions): half whitened" in capsys.readouterr().err
    context: Any = run.context()
    plain = plain_text_vectors(context, context.texts).astype(np.float64)
    centred = plain - plain.mean(axis=0)
    left, deviations, _ = np.linalg.svd(centred, full_matrices=False)
    kept = deviations > deviations[0] * 1e-4
    white = left[:, kept] * deviations[kept] ** 0.5
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    assert_allclose(vectors @ vectors.T, white @ white.T, atol=1e-3)


def test_hidden_texts_are_none_of_them(pipeline: Callable[..., Pipeline]) -> None:
    run = pipeline(USUAL, "dataset.split.strategy=cold-items", "dataset.split.test=0.3")
    learnt = run.prepared().items_to_learn
    assert learnt is not None
    assert run.ensure("encode-items").details["dimensions"] < len(learnt) < ITEMS


def test_only_a_small_catalogue_is_encoded_anew(pipeline: Callable[..., Pipeline]) -> None:
    """What was published of a larger one has the settings it had, and is found."""
    few, enough = pipeline(USUAL), pipeline("text.dimensions=10")
    stage = EncodeItems()
    assert stage.settings_on(few.recipe, few.prepared()) == {**stage.settings(few.recipe), "whitening": 0.5}
    assert stage.settings_on(enough.recipe, enough.prepared()) == stage.settings(enough.recipe)
    assert few.ensure("encode-items").manifest["settings"]["whitening"] == 0.5
    assert "whitening" not in enough.ensure("encode-items").manifest["settings"]
    # By which what a linear row learnt of them is found: alike before and after they are there.
    for run in (few, enough):
        fresh = Pipeline("other", run.recipe, run.workspace, device="cpu")
        assert fingerprint(fresh.text_identity()) == fingerprint(run.text_identity())


def test_what_was_published_fully_whitened_takes_later_texts_as_it_took_its_own(
    pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of 0.1, which kept no whitening beside its vectors: it answers as it did."""
    run = pipeline(USUAL)
    with monkeypatch.context() as before:
        before.setattr(encode_items, "are_few", lambda texts, dimensions: False)
        artefact = run.ensure("encode-items")
    published = load_file(artefact.file(VECTORS))["vectors"]
    context: Any = run.context()
    monkeypatch.setattr(Artefact, "has", lambda self, name: name != WHITENING)
    assert_allclose(later_text_vectors(context, context.texts[:5]), published[:5], atol=1e-3)
