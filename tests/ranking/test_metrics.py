"""The metrics against a fixture computed by hand, a plain reference, and ranx."""

from __future__ import annotations

import math
import warnings
from importlib import import_module

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import bootstrap_intervals, hits_of, ranking_metrics

GOLDEN = {
    "ndcg@3": 0.410355,
    "recall@3": 0.475,
    "precision@3": 0.333333,
    "hit@3": 0.75,
    "mrr@3": 0.458333,
    "map@3": 0.305556,
}


def relevant_items(*items: set[int], item_count: int) -> Interactions:
    pairs = [(user, item) for user, own in enumerate(items) for item in sorted(own)]
    users, columns = zip(*pairs, strict=True)
    return Interactions.from_pairs(users, columns, user_count=len(items), item_count=item_count)


def test_the_golden_fixture() -> None:
    relevant = relevant_items({1}, {0, 2, 5, 6, 9}, {2, 8}, {7, 9}, item_count=10)
    ranked = np.tile(np.arange(10), (4, 1))
    values = ranking_metrics(ranked, np.arange(4), relevant, [3])
    assert {name: pytest.approx(values[name].mean(), abs=5e-7) for name in values} == GOLDEN


def plain_metrics(ranked: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """The formulas of one user, as they are written down."""
    hits = [item in relevant for item in ranked[:k]]
    gains = [1 / math.log2(place + 1) for place, hit in enumerate(hits, start=1) if hit]
    ideal = [1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1)]
    precisions = [sum(hits[:place]) / place for place, hit in enumerate(hits, start=1) if hit]
    return {
        f"ndcg@{k}": sum(gains) / sum(ideal),
        f"recall@{k}": sum(hits) / len(relevant),
        f"precision@{k}": sum(hits) / k,
        f"hit@{k}": float(any(hits)),
        f"mrr@{k}": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
        f"map@{k}": sum(precisions) / min(k, len(relevant)),
    }


def random_case(seed: int, users: int = 12, items: int = 20) -> tuple[NDArray[np.int64], list[set[int]]]:
    generator = np.random.default_rng(seed)
    ranked = np.stack([generator.permutation(items) for _ in range(users)])
    sizes = generator.integers(1, 9, users)
    return ranked, [set(generator.choice(items, size, replace=False).tolist()) for size in sizes]


@pytest.mark.parametrize("seed", range(20))
def test_every_metric_follows_its_formula(seed: int) -> None:
    ranked, relevant = random_case(seed)
    cutoffs = [1, 3, 5, 10, 20, 30]
    values = ranking_metrics(ranked, np.arange(12), relevant_items(*relevant, item_count=20), cutoffs)
    for k in cutoffs:
        for user, own in enumerate(relevant):
            for name, expected in plain_metrics(ranked[user].tolist(), own, k).items():
                assert values[name][user] == pytest.approx(expected), name
    assert len(values) == 6 * len(cutoffs)


@pytest.fixture(scope="module")
def ranx():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("ranx")


@pytest.mark.parametrize("seed", range(20))
def test_the_metrics_are_those_of_ranx(ranx, seed: int) -> None:
    ranked, relevant = random_case(seed)
    qrels = ranx.Qrels({f"u{user}": {f"i{item}": 1 for item in own} for user, own in enumerate(relevant)})
    run = ranx.Run(
        {f"u{user}": {f"i{item}": float(-place) for place, item in enumerate(row)} for user, row in enumerate(ranked)}
    )
    cutoffs = [1, 2, 3, 5, 8, 10, 20]
    theirs = ("ndcg", "recall", "precision", "hit_rate", "mrr", "map")
    expected = ranx.evaluate(qrels, run, [f"{name}@{k}" for name in theirs for k in cutoffs], return_mean=False)
    ours = ranking_metrics(ranked, np.arange(12), relevant_items(*relevant, item_count=20), cutoffs)
    order = [int(user[1:]) for user in qrels.keys()]  # noqa: SIM118
    sizes = np.array([len(own) for own in relevant])
    for k in cutoffs:
        for name in theirs:
            found = ours[f"{name.removesuffix('_rate')}@{k}"]
            if name == "map":
                found = found * np.minimum(sizes, k) / sizes  # ranx divides by |R|, however short the list
            assert_allclose(found[order], expected[f"{name}@{k}"], atol=1e-12, err_msg=f"{name}@{k}")


def test_a_list_shorter_than_the_cutoff_counts_as_a_list_with_misses() -> None:
    relevant = relevant_items({0, 3}, item_count=4)
    values = ranking_metrics(np.array([[3, 1, 0, 2]]), np.array([0]), relevant, [10])
    assert values["precision@10"][0] == 0.2
    assert values["recall@10"][0] == 1
    assert values["ndcg@10"][0] == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))


def test_hits_are_looked_up_for_the_user_of_each_row() -> None:
    relevant = relevant_items({0}, {1, 2}, {3}, item_count=4)
    hits = hits_of(np.array([[3, 0], [1, 3], [1, 2]]), np.array([2, 0, 1]), relevant)
    assert hits.tolist() == [[True, False], [False, False], [True, True]]


def test_the_bootstrap_intervals_are_those_of_the_means() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.2, 500)
    intervals = bootstrap_intervals({"ndcg@10": values, "recall@10": values + 1}, 2000, seed=1)
    width = 1.96 * 0.2 / np.sqrt(500)
    assert_allclose(intervals["ndcg@10"], [values.mean() - width, values.mean() + width], atol=0.003)
    assert_allclose(np.array(intervals["recall@10"]) - 1, intervals["ndcg@10"])
    again = bootstrap_intervals({"ndcg@10": values}, 2000, seed=1)
    assert_allclose(again["ndcg@10"], intervals["ndcg@10"])


@pytest.mark.parametrize("resamples", [1, 31, 32, 33, 100])
def test_the_bootstrap_equals_its_definition(resamples: int) -> None:
    generator = np.random.default_rng(3)
    values = {"a": generator.random(40), "b": generator.random(40)}
    draws = np.random.default_rng(9)
    means = np.array([[v[drawn].mean() for v in values.values()] for drawn in draws.integers(0, 40, (resamples, 40))])
    intervals = bootstrap_intervals(values, resamples, seed=9)
    for column, name in enumerate(values):
        assert_allclose(intervals[name], np.percentile(means[:, column], [2.5, 97.5]))
