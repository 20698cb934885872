"""One vector an item and one query a user: their inner products rank as the row they were made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_cli.answers.exported_vectors import exported_vectors
from glta_cli.answers.truncated_svd import truncated_svd
from glta_cli.core.errors import InputError
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.fusion import FusionWeights, fuse_terms
from glta_cli.serving.index import Index
from glta_cli.serving.served_row import ServedRow
from glta_cli.stages.lineage import SERVING

Run = Callable[..., Any]
BOTH = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")
PAIR = FusionWeights([0, 11], [[1.0, 0.7], [0.3, 2.0]])


def ranked(index: Index, score: Scorer) -> NDArray[np.int64]:
    """The first ten of everyone, by the function that ranks an evaluation's rows."""
    return rank_users(score, np.arange(len(index.user_ids)), 10, index.seen)


@pytest.mark.parametrize(
    "overrides",
    [(), ("fusion.terms=[llm]",), ("finetune.enabled=false", "fusion.terms=[encoder]")],
    ids=["fused", "language", "encoder"],
)
def test_inner_products_rank_as_the_served_row_for_every_user(run_toy: Run, overrides: tuple[str, ...]) -> None:
    index = Index(run_toy(*overrides, stage=SERVING, name="vectors").ensure(SERVING))
    found = exported_vectors(index, index.row, index.row.terms, None)
    assert found.users.dtype == found.items.dtype == np.float32
    assert_array_equal(ranked(index, product_scorer(found.users, found.items)), ranked(index, index.scorer(index.seen)))
    assert found.same.all()
    assert (found.overlap == 1).all()
    assert_array_equal(found.people, np.arange(60))


def test_terms_are_weighted_as_histories_of_that_length_weigh_them(run_toy: Run) -> None:
    index = Index(run_toy(stage=SERVING, name="vectors").ensure(SERVING))
    row = replace(index.row, weights=PAIR)
    scorers = [index.graph_scorer(), index.language_scorer(index.seen)]

    def fused(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return fuse_terms([score(users) for score in scorers], PAIR.of_lengths(index.history.counts[users]))

    found = exported_vectors(index, row, row.terms, None)
    assert_array_equal(ranked(index, product_scorer(found.users, found.items)), ranked(index, fused))
    assert found.same.all()
    # Each user's scores differ from the row's by what is the same for all items.
    apart = found.users @ found.items.T - fused(np.arange(60))
    assert apart.std(axis=1).max() < 1e-4
    assert abs(apart.mean(axis=1)).max() > 0.1


def test_a_term_left_out_is_measured_beside_the_whole_row(run_toy: Run) -> None:
    index = Index(run_toy(stage=SERVING, name="vectors").ensure(SERVING))
    row = replace(index.row, weights=FusionWeights([0, 11], [[1.0, 2.0], [0.0, 1.0]]))
    found = exported_vectors(index, row, ("encoder",), None)
    assert_array_equal(ranked(index, product_scorer(found.users, found.items)), ranked(index, index.graph_scorer()))
    assert found.evenly == (index.history.counts >= 11).sum()
    assert 0 < found.overlap.mean() < 1


def test_a_linear_term_is_cut_and_all_of_its_singular_vectors_lose_nothing(run_toy: Run) -> None:
    index = Index(run_toy("fusion.terms=[ease]", stage=SERVING, name="ease").ensure(SERVING))
    with pytest.raises(InputError, match="no short vectors give exactly"):
        exported_vectors(index, index.row, index.row.terms, None)
    short = exported_vectors(index, index.row, index.row.terms, 3)
    assert short.items.shape == (40, 3)
    both = [ranked(index, score) for score in (index.scorer(), product_scorer(short.users, short.items))]
    shared = [len(set(first) & set(second)) / 10 for first, second in zip(*both, strict=True)]
    assert short.overlap.mean() == pytest.approx(np.mean(shared))
    assert short.overlap.mean() < 1
    whole = exported_vectors(index, index.row, index.row.terms, 40)
    # Lists may differ: items nobody met with a user's own have scores that are 0 but for rounding.
    assert_allclose(whole.users @ whole.items.T, index.scorer()(np.arange(60)), atol=1e-5)


def test_a_sum_with_a_cut_linear_term_says_what_it_loses(run_toy: Run) -> None:
    index = Index(run_toy(*BOTH, stage=SERVING, name="both").ensure(SERVING))
    names = {"linear": "ease", "encoder": "lightgcn"}
    row = ServedRow(("linear", "encoder"), FusionWeights([0, 11], [[1.0, 0.3], [0.5, 1.0]]), names, names)
    found = exported_vectors(index, row, row.terms, 4)
    both = [ranked(index, score) for score in (index.scorer(row=row), product_scorer(found.users, found.items))]
    shared = [len(set(first) & set(second)) / 10 for first, second in zip(*both, strict=True)]
    np.testing.assert_allclose(found.overlap, shared)
    assert 0.5 < found.overlap.mean() < 1
    assert_array_equal(found.same, (both[0] == both[1]).all(axis=1))
    whole = exported_vectors(index, row, row.terms, 40)
    assert whole.overlap.mean() > 0.99


def test_several_rows_of_a_list_are_no_inner_product(run_toy: Run) -> None:
    index = Index(
        run_toy("finetune.readout=positions", "finetune.loss=positions", stage=SERVING, name="rows").ensure(SERVING)
    )
    with pytest.raises(InputError, match="4 queries a user") as caught:
        exported_vectors(index, index.row, index.row.terms, None)
    assert "finetune.readout=first" in str(caught.value)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_factors_are_those_of_a_singular_value_decomposition(sparse: bool) -> None:
    generator = np.random.default_rng(1)
    low = generator.standard_normal((60, 5)) @ generator.standard_normal((5, 60))
    weights = (low + 0.01 * generator.standard_normal((60, 60))).astype(np.float32)
    sources, items = truncated_svd(csr_array(weights) if sparse else weights, 5)
    left, values, right = np.linalg.svd(weights)
    assert_allclose(sources @ items.T, left[:, :5] * values[:5] @ right[:5], atol=1e-3)
    assert_allclose(np.linalg.norm(sources, axis=0), values[:5], rtol=1e-4)
    assert_allclose(items.T @ items, np.eye(5), atol=1e-4)
    assert_array_equal(truncated_svd(weights, 5)[0], truncated_svd(weights, 5)[0])
