"""Late fusion: the language model has to earn every change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.fusion import WEIGHTS, FusionWeights, choose_weights, fuse_terms, z_scores

USERS, ITEMS = 700, 50


def table(scores: np.ndarray) -> Scorer:
    return lambda users: scores[users].astype(np.float32)


def fuse(graph: np.ndarray, language: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """z(CF) + w·z(LLM)."""
    return fuse_terms([graph, language], np.stack([np.ones_like(weights), weights], axis=1))


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.float32)


@given(arrays(np.float32, (3, 9), elements=st.floats(-100, 100, width=32)))
def test_z_scores_are_centred_with_unit_variance_or_zero(scores: np.ndarray) -> None:
    z = z_scores(scores)
    varied = scores.std(axis=1) > 1e-2
    assert np.isfinite(z).all()
    assert_allclose(z[varied].mean(axis=1), 0, atol=1e-3)
    assert_allclose(z[varied].std(axis=1), 1, atol=1e-2)
    assert_array_equal(z_scores(np.full((1, 9), 5, dtype=np.float32)), np.zeros((1, 9)))


@pytest.mark.parametrize("value", [0.1, -7.3, 1e6, 1e-20])
def test_a_constant_row_becomes_zeros_whatever_the_rounding_of_its_mean(value: float) -> None:
    assert_array_equal(z_scores(np.full((2, 4099), value, dtype=np.float32)), np.zeros((2, 4099)))


def test_z_scores_leave_the_scores_alone_and_keep_small_differences() -> None:
    scores = (1000 + np.random.default_rng(0).normal(size=(3, 2000))).astype(np.float32)
    before = scores.copy()
    exact = scores.astype(np.float64)
    expected = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    assert_allclose(z_scores(scores), expected, atol=2e-3)
    assert_array_equal(scores, before)


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_of_zero_is_the_graph_encoders_own_ranking(random_interactions: Any, seed: int) -> None:
    generator = np.random.default_rng(seed)
    graph, language = (generator.normal(size=(30, 20)).astype(np.float32) for _ in range(2))
    seen, users = random_interactions(30, 20, seed=seed), np.arange(30)
    fused = table(fuse(graph, 1000 * language, zeros(30)))
    assert_array_equal(rank_users(fused, users, 20, seen), rank_users(table(graph), users, 20, seen))


def test_a_weight_belongs_to_its_user() -> None:
    generator = np.random.default_rng(0)
    graph, language = (generator.normal(size=(3, 20)).astype(np.float32) for _ in range(2))
    fused = fuse(graph, language, np.array([0, 1, 1000], dtype=np.float32))
    assert_allclose(fused[0], z_scores(graph)[0], atol=1e-6)
    assert_allclose(fused[1], z_scores(graph)[1] + z_scores(language)[1], atol=1e-5)
    assert fused[2].argmax() == language[2].argmax()


def test_weights_are_looked_up_by_the_length_of_the_history() -> None:
    weights = FusionWeights([0, 5, 9], [0.1, 0.0, 2.0])
    found = weights.of_lengths(np.array([0, 1, 4, 5, 8, 9, 10_000]))
    assert_allclose(found, [0.1, 0.1, 0.1, 0, 0, 2, 2])


class Case:
    """Users with histories of 1 to 30 items and one validation item; the graph encoder half knows it."""

    def __init__(self, seed: int, users: int = USERS) -> None:
        generator = np.random.default_rng(seed)
        lengths = generator.integers(1, 31, users)
        order = np.stack([generator.permutation(ITEMS) for _ in range(users)])
        rows = np.repeat(np.arange(users), lengths)
        columns = np.concatenate([order[user, :length] for user, length in enumerate(lengths)])
        self.train = Interactions.from_pairs(rows, columns, user_count=users, item_count=ITEMS)
        self.found = order[np.arange(users), -1]
        self.validation = Interactions.from_pairs(np.arange(users), self.found, user_count=users, item_count=ITEMS)
        self.lengths = lengths
        self.noise = generator.normal(size=(users, ITEMS))
        self.graph = generator.normal(size=(users, ITEMS))
        self.graph[np.arange(users), self.found] += 1

    def quality(self, scores: Scorer, users: np.ndarray | None = None) -> float:
        chosen = np.arange(len(self.lengths)) if users is None else users
        ranked = rank_users(scores, chosen, 10, self.train)
        return float(ranking_metrics(ranked, chosen, self.validation, [10])["ndcg@10"].mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("useful", ["nothing", "everyone", "short", "harmful"])
def test_on_validation_fusion_is_never_worse_than_the_graph_encoder(seed: int, useful: str) -> None:
    case = Case(seed)
    language = case.noise.copy()
    helped = {
        "nothing": case.lengths < 0,
        "everyone": case.lengths > 0,
        "short": case.lengths <= 8,
        "harmful": case.lengths > 0,
    }[useful]
    sign = -10 if useful == "harmful" else 2
    language[np.flatnonzero(helped), case.found[helped]] += sign
    weights = choose_weights(table(case.graph), table(language), case.train, case.validation, seed=0)
    assert set(weights.weights) <= set(WEIGHTS)
    chosen = weights.of_lengths(case.lengths)

    fused = table(fuse(case.graph.astype(np.float32), language.astype(np.float32), chosen))
    steps = np.searchsorted(weights.starts, case.lengths, side="right")
    for step in np.unique(steps):
        users = np.flatnonzero(steps == step)
        assert case.quality(fused, users) >= case.quality(table(case.graph), users)
    if useful == "harmful":
        assert set(weights.weights) == {0}
    if useful == "everyone":
        assert case.quality(fused) > case.quality(table(case.graph)) + 0.05
    if useful == "short":
        assert weights.of_lengths(np.array([3])) > weights.of_lengths(np.array([29]))


@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_weight_is_the_first_of_the_best_tried_one_by_one(seed: int) -> None:
    case = Case(seed, users=250)
    language = case.noise.copy()
    language[np.arange(250), case.found] += 1.5
    graph, language = case.graph.astype(np.float32), language.astype(np.float32)
    tried = [case.quality(table(fuse(graph, language, np.full(250, weight, np.float32)))) for weight in WEIGHTS]
    chosen = choose_weights(table(graph), table(language), case.train, case.validation, seed=0)
    assert chosen == FusionWeights([0], [WEIGHTS[int(np.argmax(tried))]])


def test_a_language_model_that_changes_nothing_gets_no_weight() -> None:
    case = Case(0)
    weights = choose_weights(table(case.graph), table(case.graph), case.train, case.validation, seed=0)
    assert set(weights.weights) == {0}


def test_of_very_many_validation_users_a_sample_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.serving.fusion.MOST_USERS", 400)
    case = Case(2)
    language = case.noise.copy()
    language[np.arange(USERS), case.found] += 3
    asked: set[int] = set()

    def score(users: np.ndarray) -> np.ndarray:
        asked.update(users.tolist())
        return case.graph[users].astype(np.float32)

    weights = choose_weights(score, table(language), case.train, case.validation, seed=0)
    assert len(asked) == 400
    assert min(weights.weights) > 0


def test_few_validation_users_share_one_weight() -> None:
    case = Case(0, users=150)
    weights = choose_weights(table(case.graph), table(case.noise), case.train, case.validation, seed=0)
    assert weights.starts == [0]


def test_every_step_has_users_enough_to_choose_on() -> None:
    case = Case(1)
    starts = choose_weights(table(case.graph), table(case.noise), case.train, case.validation, seed=0).starts
    assert len(starts) == 3
    counts = np.histogram(case.lengths, [*starts, 1000])[0]
    assert counts.min() >= 100
