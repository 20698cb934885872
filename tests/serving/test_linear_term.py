"""A linear term in its file: the same scores for one user as for many, dense or sparse, however it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from glta_cli.core.errors import GltaError
from glta_cli.plugin import Interactions, LinearTerm
from glta_cli.serving.linear_term import LINEAR, item_weights, linear_scorer, read_linear_term, write_linear_term
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

USERS, ITEMS = 50, 30


@pytest.fixture
def histories(random_interactions: Any) -> Interactions:
    drawn: Interactions = random_interactions(USERS, ITEMS, seed=3)
    weights = np.random.default_rng(1).uniform(0.5, 3, len(drawn)).astype(np.float32)
    return Interactions(drawn.indptr, drawn.items, ITEMS, weights)


def weights(*, sparse: bool) -> Any:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(ITEMS, ITEMS)).astype(np.float32)
    if sparse:
        drawn[generator.random(drawn.shape) < 0.8] = 0
        return csr_array(drawn)
    return drawn


def published(root: Path, term: LinearTerm) -> Artefact:
    def write(folder: Path) -> dict[str, Any]:
        write_linear_term(folder, term)
        return {"recency": term.recency}

    return Workspace(root).publish("fit-linear", "made", write, settings={}, inputs={}, seed=0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("recency", [1.0, 0.7])
def test_scores_are_histories_times_weights(
    histories: Interactions, tmp_path: Path, sparse: bool, recency: float
) -> None:
    term = LinearTerm(weights(sparse=sparse), recency)
    artefact = published(tmp_path, term)
    read = read_linear_term(artefact)
    assert read.recency == recency
    matrix = term.weights.toarray() if sparse else term.weights
    assert_array_equal(read.weights.toarray() if sparse else read.weights, matrix)

    expected = np.zeros((USERS, ITEMS))
    assert histories.weights is not None
    for user in range(USERS):
        items = histories.of(user)
        own = histories.weights[histories.indptr[user] : histories.indptr[user + 1]]
        for place, item in enumerate(items):
            expected[user] += own[place] * recency ** (len(items) - 1 - place) * matrix[item]
    score = linear_scorer(item_weights(artefact.mapped_file(LINEAR)), recency, histories)
    assert_allclose(score(np.arange(USERS)), expected, atol=1e-4)
    assert score(np.arange(USERS)).dtype == np.float32


@pytest.mark.parametrize("sparse", [False, True])
def test_a_user_alone_has_the_scores_it_has_among_others(histories: Interactions, tmp_path: Path, sparse: bool) -> None:
    artefact = published(tmp_path, LinearTerm(weights(sparse=sparse)))
    score = linear_scorer(item_weights(artefact.mapped_file(LINEAR)), 0.8, histories)
    together = score(np.arange(USERS))
    for user in range(USERS):
        assert_array_equal(score(np.array([user]))[0], together[user])


def test_whoever_has_no_history_has_no_scores(tmp_path: Path) -> None:
    nobody = Interactions.from_pairs([], [], user_count=2, item_count=ITEMS)
    artefact = published(tmp_path, LinearTerm(weights(sparse=False)))
    score = linear_scorer(item_weights(artefact.mapped_file(LINEAR)), 1.0, nobody)
    assert not score(np.array([1])).any()
    assert not score(np.array([0, 1])).any()


def test_weights_are_mapped_and_not_copied(tmp_path: Path) -> None:
    artefact = published(tmp_path, LinearTerm(weights(sparse=False)))
    read = read_linear_term(artefact).weights
    assert not read.flags.owndata
    assert not read.flags.writeable


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weights": np.zeros((3, 4), dtype=np.float32)}, "item-item weights of shape"),
        ({"values": np.zeros(3, dtype=np.float32)}, "neither item-item weights nor the rows of such"),
        (
            {
                "indptr": np.array([0, 2, 9]),
                "columns": np.array([0, 1], dtype=np.int32),
                "values": np.zeros(2, dtype=np.float32),
            },
            "rows that do not end where their values do",
        ),
        ({"weights": np.zeros((2, 2))}, "its header cannot be true"),
    ],
)
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, tensors: dict[str, Any], said: str) -> None:
    save_file(tensors, tmp_path / LINEAR)
    with pytest.raises(GltaError, match=said) as caught:
        item_weights(tmp_path / LINEAR)
    assert caught.value.location == str(tmp_path / LINEAR)


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    artefact = published(tmp_path, LinearTerm(weights(sparse=False)))
    content = bytearray((artefact.path / LINEAR).read_bytes())
    content[-1] ^= 1
    (artefact.path / LINEAR).write_bytes(content)
    with pytest.raises(GltaError, match="changed after it was published"):
        read_linear_term(Artefact(artefact.path))
    manifest = json.loads((artefact.path / "manifest.json").read_text())
    assert manifest["details"]["recency"] == 1.0
