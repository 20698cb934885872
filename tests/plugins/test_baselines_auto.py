"""Numbers that are left `auto`: chosen on validation while a row is fitted, the ones that rank it best."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.add_ease import AddEase
from glta_baselines.choice import ONE_TWO_FIVE, Climb
from glta_baselines.ease import Ease, EaseText
from glta_baselines.item_knn import ItemKnn
from glta_baselines.l3ae import L3ae
from glta_baselines.linear_row import Trials, item_counts
from glta_baselines.ridge_inverse import RidgeInverse
from glta_baselines.settings import AddEaseSettings, EaseSettings, EaseTextSettings, ItemKnnSettings, L3aeSettings

from glta_cli.plugin import BaselineData, Interactions, chosen_settings
from glta_cli.ranking.selection import validation_quality

USERS, ITEMS = 300, 40
ROWS = [(Ease, EaseSettings), (EaseText, EaseTextSettings), (L3ae, L3aeSettings), (AddEase, AddEaseSettings)]
NAMES = [target.name for target, _ in ROWS]


@pytest.fixture(scope="module")
def given() -> BaselineData:
    """Users of a few tastes; texts say the taste of an item, with noise."""
    generator = np.random.default_rng(3)
    tastes = generator.standard_normal((ITEMS, 5))
    likes = generator.standard_normal((USERS, 5)) @ tastes.T + generator.gumbel(size=(USERS, ITEMS))
    best = np.argsort(-likes, axis=1)[:, :8]
    best = generator.permuted(best, axis=1)
    vectors = (tastes + generator.standard_normal((ITEMS, 5))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def part(columns: slice) -> Interactions:
        items = best[:, columns]
        users = np.repeat(np.arange(USERS), items.shape[1])
        return Interactions.from_pairs(users, items.ravel(), user_count=USERS, item_count=ITEMS)

    train, validation = part(slice(6)), part(slice(6, 8))
    return BaselineData(
        train,
        validation,
        texts=None,
        seed=0,
        device=torch.device("cpu"),
        text_vectors=vectors,
        quality=validation_quality(train, validation),
    )


def quality_of(data: BaselineData, baseline: Any) -> float:
    assert data.quality is not None
    return data.quality(baseline.scorer(baseline.fit(data), data.train))


@pytest.mark.parametrize(("target", "config"), ROWS, ids=NAMES)
def test_what_is_chosen_fits_what_the_same_numbers_fit_bit_for_bit(
    given: BaselineData, target: Any, config: Any
) -> None:
    learnt = target(config()).fit(given)
    chosen = chosen_settings(config(), learnt)
    assert chosen.keys() == set(config.model_fields) - {"recency"}
    explicit = target(config(**chosen)).fit(given)
    assert set(explicit) == {"weights"}
    np.testing.assert_array_equal(learnt["weights"], explicit["weights"])


@pytest.mark.parametrize(("target", "config"), ROWS, ids=NAMES)
def test_what_is_chosen_is_better_on_validation_than_its_neighbours(
    given: BaselineData, target: Any, config: Any
) -> None:
    chosen = chosen_settings(config(), target(config()).fit(given))
    best = quality_of(given, target(config(**chosen)))
    place = ONE_TWO_FIVE.index(chosen["regularization"])
    for neighbour in (ONE_TWO_FIVE[place - 1], ONE_TWO_FIVE[place + 1]):
        other = target(config(**(chosen | {"regularization": neighbour})))
        assert quality_of(given, other) <= best
    assert best >= quality_of(given, target(config(**dict.fromkeys(chosen, 1e-3))))


def test_ease_s_choice_is_the_best_of_a_grid(given: BaselineData) -> None:
    chosen = float(Ease(EaseSettings()).fit(given)["regularization"])
    grid = [value for value in ONE_TWO_FIVE if 0.1 <= value <= 10_000]
    qualities = {value: quality_of(given, Ease(EaseSettings(regularization=value))) for value in grid}
    assert qualities[chosen] == max(qualities.values())
    assert len(set(qualities.values())) > 3


@pytest.mark.parametrize(("target", "config"), ROWS, ids=NAMES)
def test_what_is_given_stays_and_the_rest_is_chosen(given: BaselineData, target: Any, config: Any) -> None:
    learnt = target(config(regularization=37.0)).fit(given)
    assert "regularization" not in learnt
    assert set(learnt) - {"weights"} == set(config.model_fields) - {"recency", "regularization"}


@pytest.mark.parametrize(
    ("target", "config", "numbers"),
    [
        (Ease, EaseSettings, {"regularization": 300.0}),
        (EaseText, EaseTextSettings, {"regularization": 100.0, "text_weight": 5.0}),
        (L3ae, L3aeSettings, {"regularization": 100.0, "pull": 1.0, "text_regularization": 10.0}),
        (AddEase, AddEaseSettings, {"regularization": 100.0, "text_share": 0.5, "text_regularization": 10.0}),
    ],
    ids=NAMES,
)
def test_without_validation_the_numbers_taken_are_said(
    given: BaselineData, capsys: pytest.CaptureFixture[str], target: Any, config: Any, numbers: dict[str, float]
) -> None:
    learnt = target(config()).fit(replace(given, quality=None))
    told = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
    assert f"{target.name}: no validation to choose by, so {told}" in " ".join(capsys.readouterr().err.split())
    assert chosen_settings(config(), learnt) == numbers
    np.testing.assert_array_equal(learnt["weights"], target(config(**numbers)).fit(given)["weights"])


def test_what_is_chosen_and_how_much_was_tried_is_said(given: BaselineData, capsys: pytest.CaptureFixture[str]) -> None:
    learnt = Ease(EaseSettings()).fit(given)
    said = " ".join(capsys.readouterr().err.split())
    assert "ease: regularization is chosen on validation" in said
    assert f"ease: regularization {learnt['regularization']:g} (validation NDCG@10 0." in said


def test_a_number_with_which_nothing_can_be_inverted_is_not_chosen(
    given: BaselineData, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = float(Ease(EaseSettings()).fit(given)["regularization"])
    solve = RidgeInverse.solve

    def fails_below(self: RidgeInverse, regularization: float) -> None:
        solve(self, regularization if regularization >= usual else -1e9)

    monkeypatch.setattr(RidgeInverse, "solve", fails_below)
    assert float(Ease(EaseSettings()).fit(given)["regularization"]) == usual


def test_a_text_weight_with_which_nothing_can_be_inverted_is_not_chosen(given: BaselineData) -> None:
    # Fewer items than directions: of most of them the histories say nothing, and the texts all.
    vectors = np.random.default_rng(0).standard_normal((ITEMS, ITEMS + 24))
    trials = Trials(EaseText(EaseTextSettings()), given, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    numbers = {"regularization": 20.0, "text_weight": 5.0}
    assert trials.quality(numbers) > 0
    assert trials.quality({**numbers, "text_weight": 1e8}) == -np.inf


@pytest.mark.parametrize(("target", "config"), ROWS, ids=NAMES)
def test_a_large_catalogue_is_solved_for_a_few_times(
    given: BaselineData, monkeypatch: pytest.MonkeyPatch, target: Any, config: Any
) -> None:
    solved: list[float] = []
    solve = RidgeInverse.solve

    def counted(self: RidgeInverse, regularization: float) -> None:
        if regularization != self._regularization:
            solved.append(regularization)
        solve(self, regularization)

    monkeypatch.setattr(RidgeInverse, "solve", counted)
    monkeypatch.setattr("glta_baselines.linear_row.LARGE_CATALOGUE", ITEMS - 1)
    # So far from where it begins that a climb without an end would go on.
    monkeypatch.setattr("glta_baselines.linear_row.USUAL_RATIO", 1e6)
    target(config()).fit(given)
    assert len(solved) <= 5


def test_a_climb_goes_up_or_down_and_tries_nothing_twice() -> None:
    asked: list[float] = []

    def hill(top: float) -> Callable[[Any], float]:
        def quality(numbers: Any) -> float:
            asked.append(numbers["x"])
            return -abs(np.log(numbers["x"] / top))

        return quality

    for top, expected in ((50.0, [10, 20, 50, 100]), (10.0, [10, 20, 5]), (2.0, [10, 20, 5, 2, 1])):
        asked.clear()
        climb = Climb("mine", hill(top), {"x": 10.0})
        climb.along("x", ONE_TWO_FIVE)
        assert climb.numbers == {"x": top}
        assert asked == expected
        climb.along("x", ONE_TWO_FIVE)
        assert asked == expected


def test_item_knn_chooses_how_many_neighbours_and_how_much_shrinkage(
    given: BaselineData, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt = ItemKnn(ItemKnnSettings()).fit(given)
    chosen = chosen_settings(ItemKnnSettings(), learnt)
    assert list(chosen) == ["neighbours", "shrink"]
    assert isinstance(chosen["neighbours"], int)
    best = quality_of(given, ItemKnn(ItemKnnSettings(**chosen)))
    place = ONE_TWO_FIVE.index(chosen["shrink"])
    for neighbour in (ONE_TWO_FIVE[place - 1], ONE_TWO_FIVE[place + 1]):
        assert quality_of(given, ItemKnn(ItemKnnSettings(**(chosen | {"shrink": neighbour})))) <= best
    assert best > quality_of(given, ItemKnn(ItemKnnSettings(neighbours=100, shrink=10.0)))
    explicit = ItemKnn(ItemKnnSettings(**chosen)).fit(given)
    assert all(np.array_equal(learnt[name], array) for name, array in explicit.items())
    said = " ".join(capsys.readouterr().err.split())  # folded at 80 columns
    assert f"item-knn: neighbours {chosen['neighbours']}, shrink {chosen['shrink']:g} (valid" in said


def test_item_knn_takes_its_numbers_as_they_are_where_a_trial_is_too_long(
    given: BaselineData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_baselines.item_knn.LARGEST_CHOSEN", ITEMS - 1)
    learnt = ItemKnn(ItemKnnSettings()).fit(given)
    assert chosen_settings(ItemKnnSettings(), learnt) == {"neighbours": 100, "shrink": 10.0}
    assert "item-knn: each trial would be a fit of 40 items, so neighbours 100, shrink 10" in capsys.readouterr().err


def test_users_in_common_are_counted_in_the_memory_of_what_they_fill() -> None:
    items = 600
    generator = np.random.default_rng(0)
    met = generator.permuted(np.tile(np.arange(items), (300, 1)), axis=1)[:, :60]
    train = Interactions.from_pairs(np.repeat(np.arange(300), 60), met.ravel(), user_count=300, item_count=items)
    tracemalloc.start()
    counts = item_counts(train)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (counts > 0).mean() > 0.9
    # What a fit takes in all; the sparse product alone would be more.
    assert peak <= 12 * items**2 + 6 * 256 * items * 4
    histories = np.zeros((300, items))
    histories[train.users, train.items] = 1
    np.testing.assert_array_equal(counts, histories.T @ histories)


def test_what_was_chosen_is_told_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"regularization": 1234.5, "text_share": 0.95, "text_regularization": 1234.5}
    climb = Climb("add-ease", lambda _: 0.1234, numbers, {tuple(numbers.values()): 0.1234})
    climb.tell(list(numbers))
    lines = capsys.readouterr().err.splitlines()
    assert "the best of 1 tried" in lines[-1]
    assert max(map(len, lines)) <= 80
