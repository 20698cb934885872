"""The paired test says what chance would do, as an independent library does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glta_cli.ranking.significance import Comparison, compare_with_best, sign_flip_probability


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.1])
def test_the_probability_is_scipys(shift: float) -> None:
    differences = np.random.default_rng(1).normal(shift, 0.3, 150)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2)
    ).pvalue
    assert sign_flip_probability(differences, 20_000, seed=0) == pytest.approx(expected, abs=0.012)


def test_of_few_users_it_is_the_exact_one() -> None:
    # Of the eight signs of (1, 2, 3) two give a sum as far from zero as 6.
    assert sign_flip_probability(np.array([1.0, 2.0, 3.0]), 50_000, seed=0) == pytest.approx(2 / 8, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 200))
def test_it_is_a_probability_that_takes_no_side(differences: list[float], resamples: int) -> None:
    values = np.array(differences)
    p = sign_flip_probability(values, resamples, seed=3)
    assert 1 / (resamples + 1) <= p <= 1
    assert sign_flip_probability(-values, resamples, seed=3) == p


def test_without_any_difference_nothing_is_told_apart() -> None:
    assert sign_flip_probability(np.zeros(9), 100, seed=0) == 1


def test_blocks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.3, 40)
    whole = sign_flip_probability(differences, 500, seed=4)
    monkeypatch.setattr("glta_cli.ranking.significance.BLOCK_BYTES", 8 * 40 * 7)
    assert sign_flip_probability(differences, 500, seed=4) == whole


def test_the_best_of_the_others_is_compared_with() -> None:
    values = {name: {"ndcg@10": np.full(20, mean)} for name, mean in {"a": 0.1, "b": 0.4, "mine": 0.5}.items()}
    found = compare_with_best(values, "mine", ["a", "b"], "ndcg@10", 1000, 0)
    assert found == Comparison("mine", "b", "ndcg@10", pytest.approx(0.1), pytest.approx(1 / 1001, abs=2e-3))
