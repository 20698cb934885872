"""Rows of a large catalogue made of one solution: what they choose, that it is solved for once and let go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines import choice, shared_inverse
from glta_baselines.add_ease import AddEase
from glta_baselines.ease import Ease, EaseText
from glta_baselines.l3ae import L3ae
from glta_baselines.linear_row import item_counts
from glta_baselines.ridge_inverse import RidgeInverse
from glta_baselines.settings import AddEaseSettings, EaseSettings, EaseTextSettings, L3aeSettings

from glta_cli.plugin import BaselineData, Interactions
from glta_cli.ranking.selection import validation_quality

USERS, ITEMS = 200, 30
TOGETHER = [(Ease, EaseSettings), (L3ae, L3aeSettings), (AddEase, AddEaseSettings)]
OF_TEXTS = TOGETHER[1:]
NAMES = ["l3ae", "add-ease"]


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """What other logs of this process left is gone, and what a test leaves too."""
    forget()
    yield
    forget()


def forget() -> None:
    shared_inverse.release_inverse()
    choice._chosen.clear()


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue of these tests counts as a large one."""
    monkeypatch.setattr("glta_baselines.linear_row.LARGE_CATALOGUE", ITEMS - 1)


def drawn(seed: int) -> BaselineData:
    """Users of a few tastes; texts say the taste of an item, with noise."""
    generator = np.random.default_rng(seed)
    tastes = generator.standard_normal((ITEMS, 4))
    likes = generator.standard_normal((USERS, 4)) @ tastes.T + generator.gumbel(size=(USERS, ITEMS))
    best = generator.permuted(np.argsort(-likes, axis=1)[:, :7], axis=1)
    vectors = (tastes + generator.standard_normal((ITEMS, 4))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def part(columns: slice) -> Interactions:
        items = best[:, columns]
        users = np.repeat(np.arange(USERS), items.shape[1])
        return Interactions.from_pairs(users, items.ravel(), user_count=USERS, item_count=ITEMS)

    train, validation = part(slice(5)), part(slice(5, 7))
    return BaselineData(
        train,
        validation,
        texts=None,
        seed=0,
        device=torch.device("cpu"),
        text_vectors=vectors,
        quality=validation_quality(train, validation),
    )


def as_read_again(data: BaselineData) -> BaselineData:
    """The same log as other objects, as the next row of an evaluation has it."""
    train, validation = (replace(part, items=part.items.copy()) for part in (data.train, data.validation))
    return replace(data, train=train, validation=validation, quality=validation_quality(train, validation))


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """What was solved for: the precision and λ, in order."""
    found: list[tuple[str, float]] = []
    solve = RidgeInverse.solve

    def noted(self: RidgeInverse, regularization: float) -> None:
        if regularization != self._regularization:
            found.append((str(self._diagonal.dtype), regularization))
        solve(self, regularization)

    monkeypatch.setattr(RidgeInverse, "solve", noted)
    return found


def numbers_of(learnt: Any) -> dict[str, float]:
    return {name: float(array) for name, array in learnt.items() if name != "weights"}


def test_all_of_them_are_solved_for_once_with_the_regularization_of_ease(solved: list[tuple[str, float]]) -> None:
    data = drawn(0)
    learnt = [target(config()).fit(data) for target, config in TOGETHER]
    [of_ease, *of_texts] = [numbers_of(each) for each in learnt]
    assert all(numbers["regularization"] == of_ease["regularization"] for numbers in of_texts)
    assert [precision for precision, _ in solved].count("float64") == 1
    # The first of EASE and three beside it, for all rows together.
    assert [precision for precision, _ in solved].count("float32") <= 4


@pytest.mark.parametrize(("target", "config"), OF_TEXTS, ids=NAMES)
def test_numbers_of_texts_are_better_on_validation_than_where_the_choice_begins(target: Any, config: Any) -> None:
    data = drawn(0)
    assert data.quality is not None
    row = target(config())
    learnt = row.fit(data)
    starts = {name: ladder.start for name, ladder in target.text_ladders.items()}
    assert numbers_of(learnt) != {**numbers_of(learnt), **starts}
    begun = target(config(regularization=numbers_of(learnt)["regularization"], **starts))
    assert data.quality(row.scorer(learnt, data.train)) > data.quality(begun.scorer(begun.fit(data), data.train))


@pytest.mark.parametrize(("target", "config"), OF_TEXTS, ids=NAMES)
def test_what_is_learnt_is_the_same_whatever_was_fitted_before(target: Any, config: Any) -> None:
    alone = target(config()).fit(drawn(0))
    for before in (TOGETHER, [(EaseText, EaseTextSettings), (Ease, EaseSettings)], OF_TEXTS[::-1]):
        forget()
        data = drawn(0)
        for other, settings in before:
            other(settings()).fit(data)
        # Of another λ, in the place of the one that is shared.
        Ease(EaseSettings(regularization=0.7)).fit(data)
        learnt = target(config()).fit(as_read_again(data))
        assert numbers_of(learnt) == numbers_of(alone)
        np.testing.assert_array_equal(learnt["weights"], alone["weights"])


@pytest.mark.parametrize(("target", "config"), TOGETHER, ids=["ease", *NAMES])
def test_it_is_what_the_same_numbers_fit_where_nothing_is_shared(
    target: Any, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn(0)
    learnt = target(config()).fit(data)
    monkeypatch.setattr("glta_baselines.linear_row.LARGE_CATALOGUE", ITEMS)
    explicit = target(config(**numbers_of(learnt))).fit(data)
    np.testing.assert_array_equal(learnt["weights"], explicit["weights"])


def test_another_log_of_the_same_size_is_solved_for_itself() -> None:
    first, second = drawn(0), drawn(1)
    expected = L3ae(L3aeSettings()).fit(second)
    forget()
    L3ae(L3aeSettings()).fit(first)
    learnt = L3ae(L3aeSettings()).fit(second)
    assert numbers_of(learnt) == numbers_of(expected)
    np.testing.assert_array_equal(learnt["weights"], expected["weights"])


def test_what_counts_for_more_makes_another_log(solved: list[tuple[str, float]]) -> None:
    data = drawn(0)
    weighted = replace(data.train, weights=np.full(len(data.train), 2, dtype=np.float32))
    given = Ease(EaseSettings(regularization=5.0))
    alike, heavier = given.fit(data)["weights"], given.fit(replace(data, train=weighted))["weights"]
    assert solved == [("float64", 5.0)] * 2
    assert not np.array_equal(alike, heavier)


def test_what_was_chosen_for_a_log_is_not_searched_for_again(
    solved: list[tuple[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn(0)
    first = EaseText(EaseTextSettings()).fit(data)
    assert len(solved) > 1
    solved.clear()
    capsys.readouterr()
    again = EaseText(EaseTextSettings()).fit(as_read_again(data))
    assert [precision for precision, _ in solved] == ["float64"]
    np.testing.assert_array_equal(again["weights"], first["weights"])
    chosen = numbers_of(first)
    told = f"ease-text: regularization {chosen['regularization']:g}, text_weight {chosen['text_weight']:g}"
    assert f"{told}, as was chosen before" in capsys.readouterr().err
    # Other texts, and another number that is given, are another choice.
    solved.clear()
    assert data.text_vectors is not None
    EaseText(EaseTextSettings()).fit(replace(data, text_vectors=data.text_vectors[::-1].copy()))
    EaseText(EaseTextSettings(text_weight=3.0)).fit(data)
    assert [precision for precision, _ in solved].count("float32") >= 4


def test_the_solution_goes_with_the_log(solved: list[tuple[str, float]]) -> None:
    data = drawn(0)
    Ease(EaseSettings(regularization=5.0)).fit(data)
    kept = weakref.ref(held())
    again = as_read_again(data)
    AddEase(AddEaseSettings(regularization=5.0)).fit(again)
    assert solved == [("float64", 5.0)]
    del data
    gc.collect()
    assert kept() is not None
    del again
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("target", [EaseText, Ease])
def test_the_solution_goes_where_another_gram_matrix_is_asked_for(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data, other = drawn(0), drawn(1)
    Ease(EaseSettings(regularization=5.0)).fit(data)
    kept = weakref.ref(held())
    there: list[bool] = []

    def noted(*given: Any) -> Any:
        there.append(kept() is not None)
        return item_counts(*given)

    monkeypatch.setattr("glta_baselines.linear_row.item_counts", noted)
    settings = EaseTextSettings() if target is EaseText else EaseSettings(regularization=5.0)
    target(settings).fit(data if target is EaseText else other)
    assert there
    assert not any(there)


def test_a_choice_for_ease_has_the_memory_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(0)
    Ease(EaseSettings(regularization=5.0)).fit(data)
    kept = weakref.ref(held())
    there: list[bool] = []
    solve = RidgeInverse.solve

    def noted(self: RidgeInverse, regularization: float) -> None:
        there.append(kept() is not None)
        solve(self, regularization)

    monkeypatch.setattr(RidgeInverse, "solve", noted)
    L3ae(L3aeSettings()).fit(data)
    assert len(there) > 2
    assert not any(there)


def test_a_small_catalogue_shares_nothing(monkeypatch: pytest.MonkeyPatch, solved: list[tuple[str, float]]) -> None:
    monkeypatch.setattr("glta_baselines.linear_row.LARGE_CATALOGUE", ITEMS)
    data = drawn(0)
    for target, config in TOGETHER:
        target(config()).fit(data)
    assert shared_inverse._shared is None
    assert [precision for precision, _ in solved].count("float64") == 3


def held() -> RidgeInverse:
    assert shared_inverse._shared is not None
    return shared_inverse._shared.inverse
