"""The map that takes later texts to where earlier ones are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.language.whitening import HALF, Whitening, are_few, most_directions, whiten


def test_later_texts_are_whitened_as_the_earlier_ones_were() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(80, 10)).astype(np.float32)
    whitening = Whitening.of(vectors, 6)
    assert_array_equal(whitening.apply(vectors), whiten(vectors, 6))
    assert_allclose(whitening.apply(vectors[3:4]), whiten(vectors, 6)[3:4], atol=1e-6)


def test_a_whitening_that_came_out_turned_is_turned_back() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(80, 10)).astype(np.float32)
    later = generator.normal(size=(5, 10)).astype(np.float32)
    published = Whitening.of(vectors, 6)
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    turned = Whitening(published.mean, published.directions @ rotation)
    assert not np.allclose(turned.apply(later), published.apply(later), atol=0.1)
    found = turned.turned_to(vectors, published.apply(vectors))
    assert_allclose(found.apply(later), published.apply(later), atol=1e-5)


@pytest.mark.parametrize("items", [120, 300])
def test_a_small_catalogue_keeps_what_its_texts_have_in_common(items: int) -> None:
    """Of a shop's twelve kinds of goods, most of an item's nearest are of its own kind."""
    generator = np.random.default_rng(2)
    kinds = np.arange(items) % 12
    centres = generator.normal(size=(12, 384))
    vectors = (5 + 0.6 * centres[kinds] + generator.normal(size=(items, 384))).astype(np.float32)

    def of_own_kind(white: np.ndarray) -> float:
        alike = white @ white.T
        np.fill_diagonal(alike, -np.inf)
        nearest = np.argsort(-alike, axis=1)[:, :5]
        return float((kinds[nearest] == kinds[:, None]).mean())

    kept = of_own_kind(Whitening.of(vectors, 256, HALF).apply(vectors))
    assert kept > 0.7
    # By chance it is one in twelve.
    assert kept > 2 * of_own_kind(whiten(vectors, 256))


def test_texts_are_few_below_four_times_the_directions() -> None:
    assert [are_few(texts, 256) for texts in (1, 1023, 1024, 1574)] == [True, True, False, False]
    assert [most_directions(256, texts) for texts in (1, 2, 40, 256, 257)] == [1, 1, 39, 255, 256]
