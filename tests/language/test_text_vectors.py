"""Item texts as whitened vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.language.text_vectors import encode_texts, whiten
from glta_cli.plugin import LanguageModel
from glta_cli.recipe import BackboneSettings, Recipe, TextSettings, component_options
from glta_cli.registry import installed


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    recipe = Recipe(backbone=BackboneSettings(name="tiny"))
    tiny = installed().find("backbone", "tiny").target()
    return tiny("tiny", recipe.backbone, component_options(recipe, "backbone")).load(torch.device("cpu"))


def anisotropic(count: int, width: int = 8) -> np.ndarray:
    """Vectors far from the origin, most of whose variance lies in one direction."""
    generator = np.random.default_rng(0)
    scales = np.array([100, 10, 5, 3, 1, 0.5, 0.3, 0.1])[:width]
    turned = np.linalg.qr(generator.normal(size=(width, width)))[0]
    return (50 + generator.normal(size=(count, width)) * scales @ turned).astype(np.float32)


def test_whitened_vectors_have_unit_length_and_no_preferred_direction() -> None:
    white = whiten(anisotropic(20_000), 8)
    assert white.dtype == np.float32
    assert_allclose(np.linalg.norm(white, axis=1), 1, atol=1e-5)
    assert_allclose(white.mean(0), 0, atol=0.02)
    # Unit vectors spread evenly over D dimensions have the covariance I / D.
    assert_allclose(8 * white.T @ white / len(white), np.eye(8), atol=0.05)


def test_the_directions_of_largest_variance_are_kept() -> None:
    vectors = anisotropic(3000)
    white = whiten(vectors, 3)
    centred = vectors - vectors.mean(0)
    left, _, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = left[:, :3] / np.linalg.norm(left[:, :3], axis=1, keepdims=True)
    # The sign of a principal direction is arbitrary.
    signs = np.sign((expected * white).sum(0))
    assert_allclose(white, expected * signs, atol=1e-3)


def test_no_more_dimensions_than_the_rank_are_kept() -> None:
    assert whiten(anisotropic(4), 8).shape == (4, 3)
    assert whiten(anisotropic(50), 100).shape == (50, 8)


def test_vectors_that_are_all_the_same_become_zeros() -> None:
    assert_array_equal(whiten(np.ones((5, 4), dtype=np.float32), 3), np.zeros((5, 1)))


def test_neither_batch_size_nor_order_changes_a_texts_vector(model: Any) -> None:
    texts = [f"{'word ' * (number % 7)}number {number}" for number in range(23)]
    means = [encode_texts(model, texts, TextSettings(batch_size=size)) for size in (1, 4, 64)]
    assert_allclose(means[0], means[1], atol=1e-5)
    assert_allclose(means[0], means[2], atol=1e-5)
    assert_allclose(encode_texts(model, texts[::-1], TextSettings(batch_size=4))[::-1], means[0], atol=1e-5)


def test_a_texts_vector_is_the_mean_of_its_states(model: Any) -> None:
    ids = torch.tensor([model.tokenizer.encode("a title", add_special_tokens=False)])
    with torch.no_grad():
        states = model.hidden(model.embed(ids), torch.ones_like(ids))
    (vector,) = encode_texts(model, ["a title"], TextSettings())
    assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)


def test_what_lies_beyond_the_cut_has_no_influence_and_an_empty_text_has_a_vector(model: Any) -> None:
    long, short, empty = encode_texts(model, ["same start, other end", "same start", ""], TextSettings(tokens=10))
    assert_allclose(long, short, atol=1e-6)
    assert np.isfinite(empty).all()
