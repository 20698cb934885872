"""Which row is served: a term has to earn its weight, and a sum has to hold where it was not chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.core.bars import Bar
from glta_cli.core.errors import GltaError
from glta_cli.core.progress import bars_made_by
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.fusion import WEIGHTS, FusionWeights, fuse_terms, z_scores
from glta_cli.serving.served_row import ServedRow
from glta_cli.serving.term_weights import ChosenTerms, choose_terms

ITEMS = 40


class Case:
    """Users with histories of 1 to 20 items and one validation item each, and terms that know it more or less."""

    def __init__(self, seed: int, users: int = 600) -> None:
        self.generator = np.random.default_rng(seed)
        self.users = np.arange(users)
        self.lengths = self.generator.integers(1, 21, users)
        order = np.stack([self.generator.permutation(ITEMS) for _ in range(users)])
        rows, columns = np.repeat(self.users, self.lengths), [order[u, :n] for u, n in enumerate(self.lengths)]
        self.train = Interactions.from_pairs(rows, np.concatenate(columns), user_count=users, item_count=ITEMS)
        self.wanted = order[self.users, -1]
        self.validation = Interactions.from_pairs(self.users, self.wanted, user_count=users, item_count=ITEMS)

    def term(self, knows: float, among: np.ndarray | None = None) -> np.ndarray:
        """Noise in which the wanted item stands higher by `knows`, for all users or for some."""
        scores = self.generator.normal(size=(len(self.users), ITEMS)).astype(np.float32)
        helped = self.users if among is None else np.flatnonzero(among)
        scores[helped, self.wanted[helped]] += np.float32(knows)
        return scores

    def chosen(self, terms: Mapping[str, np.ndarray], seed: int = 0) -> ChosenTerms:
        scorers = {name: table(scores) for name, scores in terms.items()}
        return choose_terms(scorers, self.train, self.validation, seed=seed)

    def quality(self, scorer: Scorer) -> float:
        ranked = rank_users(scorer, self.users, 10, self.train)
        return float(ranking_metrics(ranked, self.users, self.validation, [10])["ndcg@10"].mean())

    def served(self, terms: Mapping[str, np.ndarray], chosen: ChosenTerms) -> Scorer:
        """What an index made of this would rank by."""
        if chosen.weights is None:
            return table(terms[chosen.served[0]])
        weights = chosen.weights.of_lengths(self.lengths)
        return lambda users: fuse_terms([terms[name][users] for name in chosen.served], weights[users])


def table(scores: np.ndarray) -> Scorer:
    return lambda users: scores[users].copy()


def test_a_sum_is_each_users_own_and_a_weight_of_zero_says_nothing() -> None:
    generator = np.random.default_rng(0)
    first, second, third = (generator.normal(size=(2, 9)).astype(np.float32) for _ in range(3))
    fused = fuse_terms([first, second, third], np.array([[1, 0, 0], [0, 2, 0.5]], dtype=np.float32))
    assert_allclose(fused[0], z_scores(first)[0], atol=1e-6)
    assert_allclose(fused[1], 2 * z_scores(second)[1] + 0.5 * z_scores(third)[1], atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_terms_that_know_different_things_are_added_up_and_better_than_each(seed: int) -> None:
    case = Case(seed)
    terms = {"linear": case.term(1.6), "encoder": case.term(1.4), "llm": case.term(1.2)}
    chosen = case.chosen(terms)
    assert chosen.served == ["linear", "encoder", "llm"]
    assert chosen.best_single == "linear"
    for name, scores in terms.items():
        assert chosen.single[name] == pytest.approx(case.quality(table(scores)))
    assert chosen.fused == pytest.approx(case.quality(case.served(terms, chosen)))
    assert chosen.fused > chosen.single["linear"] + 0.05
    assert chosen.fused + 0.02 > chosen.cross_checked > chosen.single["linear"]
    assert chosen.weights is not None
    assert {weight for row in chosen.weights.weights for weight in row} <= set(WEIGHTS)


def test_a_term_that_says_nothing_is_left_out() -> None:
    case = Case(1, users=1000)
    terms = {"linear": case.term(2), "encoder": case.term(1.5), "llm": np.zeros((1000, ITEMS), dtype=np.float32)}
    assert case.chosen(terms).served == ["linear", "encoder"]


def test_the_best_term_is_served_alone_where_the_others_are_noise() -> None:
    alone = 0
    for seed in range(12):
        case = Case(seed, users=80)
        terms = {"encoder": case.term(0), "linear": case.term(2), "llm": case.term(0)}
        chosen = case.chosen(terms)
        # On the users it was chosen on, some sum is better by chance, more often than not.
        if chosen.cross_checked <= chosen.single["linear"]:
            assert (chosen.served, chosen.weights) == (["linear"], None)
            alone += 1
        else:
            assert chosen.weights is not None
    assert alone >= 8


def test_of_equal_rows_fewer_terms_are_served_and_the_first() -> None:
    case = Case(4)
    scores = case.term(1)
    chosen = case.chosen({"linear": scores, "encoder": scores, "llm": scores})
    assert (chosen.served, chosen.weights) == (["linear"], None)
    assert chosen.fused == chosen.cross_checked == chosen.single["linear"]


def test_a_term_is_heard_where_it_helps() -> None:
    case = Case(5, users=900)
    short = case.lengths <= 7
    terms = {"linear": case.term(1.5), "llm": case.term(3, short)}
    chosen = case.chosen(terms)
    assert chosen.served == ["linear", "llm"]
    assert chosen.weights is not None
    few, many = chosen.weights.of_lengths(np.array([2, 20]))
    assert few[1] / few[0] > many[1] / max(many[0], 1e-9)


def test_the_term_an_ascent_starts_from_may_come_to_nothing() -> None:
    case = Case(6, users=900)
    many = case.lengths > 7
    # The best for all, and worth nothing where the history is short.
    terms = {"linear": case.term(2.5, many), "encoder": case.term(1.5, ~many)}
    chosen = case.chosen(terms)
    assert chosen.weights is not None
    short = chosen.weights.of_lengths(np.array([1]))[0]
    assert short[1] > 0
    assert short[0] < short[1]


@pytest.mark.parametrize("seed", range(3))
def test_with_two_terms_no_weight_of_the_grid_is_better_than_the_one_chosen(seed: int) -> None:
    case = Case(seed, users=250)
    linear, encoder = case.term(1.5), case.term(1.2)

    def weighted(weight: float) -> Scorer:
        weights = np.tile(np.array([1, weight], dtype=np.float32), (250, 1))
        return lambda users: fuse_terms([linear[users], encoder[users]], weights[users])

    chosen = case.chosen({"linear": linear, "encoder": encoder})
    assert chosen.weights is not None
    assert chosen.weights.starts == [0]
    assert chosen.fused >= max(case.quality(weighted(weight)) for weight in WEIGHTS) - 1e-12


def test_the_same_seed_chooses_the_same_and_the_order_of_terms_is_kept() -> None:
    case = Case(7)
    terms = {"encoder": case.term(1), "linear": case.term(1.5)}
    first, again = case.chosen(terms), case.chosen(terms)
    assert first == again
    assert first.served == ["encoder", "linear"]


def test_of_very_many_validation_users_a_sample_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.serving.fusion.MOST_USERS", 400)
    case = Case(2)
    asked: set[int] = set()
    scores = case.term(1)

    def score(users: np.ndarray) -> np.ndarray:
        asked.update(users.tolist())
        return scores[users]

    chosen = choose_terms({"linear": score, "llm": table(case.term(1))}, case.train, case.validation, seed=0)
    assert len(asked) == chosen.users == 400


def test_scores_are_left_to_whoever_gave_them() -> None:
    case = Case(8, users=150)
    terms = {"linear": case.term(1), "encoder": case.term(1)}
    before = {name: scores.copy() for name, scores in terms.items()}
    choose_terms({name: lambda users, s=s: s[users] for name, s in terms.items()}, case.train, case.validation, seed=0)
    for name, scores in terms.items():
        assert_array_equal(scores, before[name])


def test_without_a_validation_item_nothing_is_chosen_in_silence() -> None:
    case = Case(9, users=30)
    nobody = case.validation.where(np.zeros(30, dtype=bool))
    with pytest.raises(GltaError, match="nothing can weigh the terms"):
        choose_terms({"linear": table(case.term(1)), "llm": table(case.term(1))}, case.train, nobody, seed=0)


def test_the_bar_counts_passes_and_is_whole_where_no_weight_moves_any_more() -> None:
    bars: list[Any] = []

    def made(*, around_others: bool, **settings: Any) -> Bar:
        bars.append(Bar(**settings))
        return bars[-1]  # type: ignore[no-any-return]

    case = Case(0, users=60)
    with bars_made_by(made):
        case.chosen({"a": case.term(1.0), "b": case.term(0.1)})
    [bar] = bars
    assert bar.n == bar.total > 0
    assert re.fullmatch(r"\d+ passes", bar.counted)


def test_weights_are_shown_as_shares() -> None:
    rows = {"linear": "ease", "llm": "glta-llm"}
    row = ServedRow(("linear", "llm"), FusionWeights([0, 10], [[1.0, 1.0], [2.0, 0.5]]), rows, rows)
    assert row.of_length(3) == {"ease": 0.5, "glta-llm": 0.5}
    assert row.of_length(30) == {"ease": 0.8, "glta-llm": 0.2}
    alone = ServedRow(("linear", "llm"), FusionWeights([0], [[0.0, 0.0]]), rows, rows)
    assert alone.of_length(1) == {"ease": 0.0, "glta-llm": 0.0}
