"""Linear weights for a catalogue that grew: new items go by their texts, known ones stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from glta_cli.plugin import LinearTerm
from glta_cli.stages.grown_linear import grown_linear
from glta_cli.stages.kept_weights import kept_a_row, with_largest

KNOWN, ITEMS = 300, 310


def topics(item_count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of each item one of five topics, [I], and a text vector of unit length that says which, [I, 8]."""
    generator = np.random.default_rng(seed)
    topic = generator.integers(0, 5, item_count)
    texts = (np.eye(8)[topic] + 0.1 * generator.normal(size=(item_count, 8))).astype(np.float32)
    return topic, texts / np.linalg.norm(texts, axis=1, keepdims=True)


def weights_of(topic: np.ndarray) -> np.ndarray:
    """Weights of items that recommend those of their topic: [I, I]."""
    weights = (topic[:, None] == topic[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("sparse", [False, True])
def test_new_items_are_recommended_as_those_with_like_texts_are(sparse: bool) -> None:
    topic, texts = topics(ITEMS)
    weights = weights_of(topic[:KNOWN])
    term = LinearTerm(csr_array(weights) if sparse else weights, 0.7)
    grown = grown_linear(term, ITEMS, texts)
    found = grown.weights.toarray() if sparse else grown.weights
    assert isinstance(grown.weights, np.ndarray) != sparse
    assert found.shape == (ITEMS, ITEMS)
    assert found.dtype == np.float32
    assert grown.recency == 0.7
    np.testing.assert_array_equal(found[:KNOWN, :KNOWN], weights)
    expected = (topic[:, None] == topic[None, :]).astype(np.float32)
    assert np.abs(found[:KNOWN, KNOWN:] - expected[:KNOWN, KNOWN:]).max() < 0.6
    assert np.abs(found[KNOWN:, :KNOWN] - expected[KNOWN:, :KNOWN]).max() < 0.6
    assert not found[KNOWN:, KNOWN:].any()
    same, other = expected[:KNOWN, KNOWN:] == 1, expected[:KNOWN, KNOWN:] == 0
    assert found[:KNOWN, KNOWN:][same].min() > found[:KNOWN, KNOWN:][other].max()


def test_an_item_like_one_alone_is_recommended_to_who_has_that_one() -> None:
    generator = np.random.default_rng(3)
    texts = generator.normal(size=(41, 64)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    texts[40] = texts[5]
    weights = generator.uniform(0, 0.01, (40, 40)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    found = grown_linear(LinearTerm(weights), 41, texts).weights
    assert found[:40, 40].argmax() == found[40, :40].argmax() == 5


def test_a_known_item_nobody_met_goes_by_its_text_too() -> None:
    topic, texts = topics(KNOWN)
    weights = weights_of(topic)
    weights[:, 7] = weights[7] = 0
    found = grown_linear(LinearTerm(weights), KNOWN, texts).weights
    assert found[topic == topic[7], 7].mean() > 0.5 > found[topic != topic[7], 7].max()
    others = np.delete(np.arange(KNOWN), 7)
    np.testing.assert_array_equal(found[np.ix_(others, others)], weights[np.ix_(others, others)])


def test_without_texts_new_items_have_no_weights_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    weights = weights_of(topics(KNOWN)[0])
    found = grown_linear(LinearTerm(weights), ITEMS, None).weights
    np.testing.assert_array_equal(found[:KNOWN, :KNOWN], weights)
    assert not found[KNOWN:].any()
    assert not found[:, KNOWN:].any()
    assert "no text of 10 new items is read: the linear term cannot recommend them yet" in capsys.readouterr().err
    grown_linear(LinearTerm(weights), KNOWN + 1, None)
    assert "no text of 1 new item is read: the linear term cannot recommend it yet" in capsys.readouterr().err


def test_a_catalogue_that_did_not_grow_keeps_its_term() -> None:
    topic, texts = topics(KNOWN)
    term = LinearTerm(weights_of(topic))
    assert grown_linear(term, KNOWN, texts) is term


def test_weights_that_grow_beyond_what_is_stored_keep_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, texts = topics(ITEMS)
    monkeypatch.setattr("glta_cli.stages.grown_linear.MOST_BYTES", 4 * KNOWN**2)
    monkeypatch.setattr("glta_cli.stages.kept_weights.MOST_BYTES", 8 * ITEMS * 20)
    found = grown_linear(LinearTerm(weights_of(topic[:KNOWN])), ITEMS, texts).weights
    assert found.shape == (ITEMS, ITEMS)
    assert np.diff(found.indptr).max() == 20


# ---------------------------------------------------------------------------------------------- the largest weights


@settings(deadline=None)
@given(
    weights=arrays(np.float32, (9, 9), elements=st.sampled_from([0, 0.5, -0.5, 1, -2, 3])),
    kept=st.integers(1, 9),
    sparse=st.booleans(),
)
def test_the_largest_weights_of_each_row_are_kept_and_of_equal_ones_the_first(
    weights: np.ndarray, kept: int, sparse: bool
) -> None:
    found = with_largest(LinearTerm(csr_array(weights) if sparse else weights, 0.5), kept)
    expected = np.zeros_like(weights)
    for row, values in enumerate(weights):
        best = np.argsort(-np.abs(values), kind="stable")[:kept]
        expected[row, best] = values[best]
    np.testing.assert_array_equal(found.weights.toarray(), expected)
    assert found.weights.nnz == np.count_nonzero(expected)
    assert found.weights.dtype == np.float32
    assert found.recency == 0.5


def test_weights_are_stored_whole_up_to_the_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    term = LinearTerm(np.ones((10, 10), np.float32))
    monkeypatch.setattr("glta_cli.stages.kept_weights.MOST_BYTES", 400)
    assert kept_a_row(term) is None
    monkeypatch.setattr("glta_cli.stages.kept_weights.MOST_BYTES", 399)
    assert kept_a_row(term) == 4
    # 50 weights and their columns.
    assert kept_a_row(LinearTerm(csr_array(np.eye(10, dtype=np.float32)))) is None
