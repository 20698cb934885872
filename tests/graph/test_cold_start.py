"""Vectors of items nobody met."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.graph.cold_start import with_unmet_foretold


def test_an_item_nobody_met_gets_the_vector_its_text_foretells() -> None:
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(200, 12)).astype(np.float32)
    items = texts @ generator.normal(size=(12, 5)).astype(np.float32) + 0.5
    met = np.arange(200) % 20 != 7
    trained = np.where(met[:, None], items, generator.normal(size=items.shape)).astype(np.float32)
    found = with_unmet_foretold(trained, texts, met)
    assert_array_equal(found[met], trained[met])
    assert_allclose(found[~met], items[~met], atol=0.01)


def test_without_texts_it_is_as_any_item() -> None:
    items = np.arange(12, dtype=np.float32).reshape(4, 3)
    met = np.array([True, False, True, True])
    found = with_unmet_foretold(items, None, met)
    assert_allclose(found[1], items[met].mean(axis=0))
    assert with_unmet_foretold(items, None, np.ones(4, dtype=bool)) is items
