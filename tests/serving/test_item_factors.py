"""A linear term of low rank: two factors in its file, and the scores and reasons of the weights they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

from glta_cli.core.errors import GltaError
from glta_cli.plugin import Interactions, LowRankTerm
from glta_cli.serving.linear_term import (
    LINEAR,
    item_weights,
    linear_scorer,
    read_linear_term,
    shares_in,
    write_linear_term,
)
from glta_cli.serving.reasons import linear_contributions, only
from glta_cli.stages.grown_linear import grown_linear
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

USERS, ITEMS, SIZE = 50, 30, 4


def term_of(*, symmetric: bool, recency: float = 1.0) -> LowRankTerm:
    generator = np.random.default_rng(0)
    sources, targets = generator.normal(size=(2, ITEMS, SIZE)).astype(np.float32)
    targets = sources if symmetric else targets
    return LowRankTerm(sources, targets, np.einsum("id,id->i", sources, targets), recency)


def whole(term: LowRankTerm) -> Any:
    return term.sources @ term.targets.T - np.diag(term.own)


def published(root: Path, term: LowRankTerm) -> Artefact:
    def write(folder: Path) -> dict[str, Any]:
        write_linear_term(folder, term)
        return {"recency": term.recency}

    return Workspace(root).publish("fit-linear", "made", write, settings={}, inputs={}, seed=0)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("recency", [1.0, 0.6])
def test_scores_and_reasons_are_those_of_the_weights(
    random_interactions: Any, tmp_path: Path, symmetric: bool, recency: float
) -> None:
    drawn: Interactions = random_interactions(USERS, ITEMS, seed=3)
    weights = np.random.default_rng(1).uniform(0.5, 3, len(drawn)).astype(np.float32)
    histories = Interactions(drawn.indptr, drawn.items, ITEMS, weights)
    term = term_of(symmetric=symmetric, recency=recency)
    artefact = published(tmp_path, term)
    assert set(load_file(artefact.path / LINEAR)) == {"sources", "own"} | (set() if symmetric else {"targets"})
    read = read_linear_term(artefact)
    assert isinstance(read, LowRankTerm)
    assert read.recency == recency
    assert_array_equal(read.targets, term.targets)

    met = np.zeros((USERS, ITEMS), dtype=np.float32)
    met[histories.users, histories.items] = shares_in(histories, recency)
    expected = met @ whole(term)
    stored = item_weights(artefact.path / LINEAR)
    score = linear_scorer(stored, recency, histories)
    everyone = np.arange(USERS)
    assert_allclose(score(everyone), expected, rtol=1e-4, atol=1e-4)
    for user in (0, 17):
        assert_allclose(score(everyone[user : user + 1])[0], expected[user], rtol=1e-4, atol=1e-4)
        own, targets = only(histories, user), np.array([7, int(histories.of(user)[0])])
        parts = linear_contributions(stored, own.items, shares_in(own, recency), targets)
        assert_allclose(parts, (whole(term)[own.items] * shares_in(own, recency)[:, None])[:, targets], atol=1e-4)
        assert_allclose(parts.sum(axis=0), expected[user, targets], rtol=1e-4, atol=1e-4)


def test_factors_that_do_not_belong_together_are_damage(tmp_path: Path) -> None:
    save_file({"sources": np.zeros((3, 2), np.float32), "own": np.zeros(4, np.float32)}, tmp_path / LINEAR)
    with pytest.raises(GltaError, match="item-item weights of low rank of shapes"):
        item_weights(tmp_path / LINEAR)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_new_item_has_the_factors_of_those_with_like_texts(symmetric: bool) -> None:
    generator = np.random.default_rng(3)
    texts = generator.normal(size=(ITEMS + 2, 64)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    texts[ITEMS] = texts[5]
    term = term_of(symmetric=symmetric)
    grown = grown_linear(term, ITEMS + 2, texts)
    assert isinstance(grown, LowRankTerm)
    assert (grown.sources is grown.targets) == symmetric
    assert_array_equal(grown.sources[:ITEMS], term.sources)
    known = grown.targets[ITEMS] @ term.targets.T / np.linalg.norm(term.targets, axis=1)
    assert known.argmax() == 5
    assert_allclose(np.diag(whole(grown)), 0, atol=1e-4)


def test_without_texts_a_new_item_is_said_to_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    grown = grown_linear(term_of(symmetric=True), ITEMS + 2, None)
    assert isinstance(grown, LowRankTerm)
    assert not grown.targets[ITEMS:].any()
    assert "no text of 2 new items is read" in capsys.readouterr().err
