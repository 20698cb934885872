"""The map that takes later texts to where earlier ones are."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.language.whitening import Whitening, whiten


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
