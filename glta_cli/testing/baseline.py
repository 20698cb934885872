"""What a baseline promises (`glta_cli.plugin.Baseline`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors.numpy import load, save

from glta_cli.core.errors import GltaError
from glta_cli.plugin import BaselineData, BaselineDeclaration, chosen_settings
from glta_cli.plugin.descent import Descend, DescentPlan, DescentTask
from glta_cli.plugin.grids import combinations
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.selection import validation_quality
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.term_scores import term_scorer
from glta_cli.stages.baseline_checks import checked_arrays, checked_term, score_problem
from glta_cli.stages.baseline_descent import Descent
from glta_cli.testing.contract import Contract, declared
from glta_cli.testing.drawn import ITEMS, LONELY_USER, USERS, draw_split, draw_text_vectors

FEWEST_TEXTS = 10
SUBJECTS = ("a voyage to the stars", "a garden in spring", "two thieves and a bank")
SEED, OTHER_SEED = 7, 8
TEXTS = tuple(f"Title {item}: {SUBJECTS[item % len(SUBJECTS)]}" for item in range(ITEMS))


def check_baseline(name: str, *, options: Mapping[str, Any] | None = None, texts: Sequence[str] | None = TEXTS) -> None:
    """Check the baseline of that name, of an installed plugin, on small random interactions.

    Args:
        options: settings that differ from their defaults, as `evaluate.baselines.NAME` of a recipe holds them.
        texts: of the items of a catalogue as large as this, ten at least; None where the dataset has none.

    Raises:
        ContractError: it breaks a promise; the message holds all that are broken.
    """
    contract = Contract(f"baseline '{name}'")
    component, settings = declared(contract, "baseline", name, options)
    assert isinstance(component.declaration, BaselineDeclaration)
    grid = {**component.declaration.grid, **component.declaration.time_grid}
    baseline_promises(contract, component.target(), settings, texts, grid)
    contract.settle()


def baseline_promises(
    contract: Contract,
    target: Callable[..., Any],
    settings: BaseModel,
    texts: Sequence[str] | None = TEXTS,
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Check the class of a baseline with the given settings.

    Args:
        target: makes a baseline from settings.
        grid: further values of its settings.

    Raises:
        ContractError: a promise is broken without which the others cannot be checked.
        ValueError: too few texts to check anything with.
    """
    if texts is not None and len(texts) < FEWEST_TEXTS:
        raise ValueError(f"{len(texts)} texts are too few: give {FEWEST_TEXTS}, one an item")
    subject = _Subject(target, settings, texts)
    _fit_promises(contract, subject)
    _scoring_promises(contract, subject, grid or {})
    _scorer_promises(contract, subject)
    _given_promises(contract, subject)


@dataclass(frozen=True)
class _Subject:
    """A class of baselines, its settings, and what it is fitted on."""

    target: Callable[..., Any]
    settings: Any
    texts: Sequence[str] | None

    def made(self) -> Any:
        return self.target(self.settings)

    def data(self) -> BaselineData:
        """Interactions drawn anew, the same each time; all users but one have something to validate on."""
        train, validation = draw_split(0, ITEMS if self.texts is None else len(self.texts))
        asks = getattr(self.target, "needs_text_vectors", False)
        return BaselineData(
            train=train,
            validation=validation,
            texts=self.texts,
            seed=SEED,
            device=torch.device("cpu"),
            text_vectors=draw_text_vectors(3, train.item_count) if asks else None,
            quality=validation_quality(train, validation),
            descend=_descent(validation_quality(train, validation)),
        )


def _descent(quality: Callable[[Scorer], float] | None) -> Descend:
    """The loop of a fit, whose saved states nobody goes on with."""

    def descend(task: DescentTask, plan: DescentPlan) -> int:
        with TemporaryDirectory(prefix="glta-") as folder:
            return Descent("the baseline", quality, Path(folder))(task, plan)

    return descend


def _learnt(subject: _Subject) -> tuple[Any, Mapping[str, NDArray[Any]]]:
    """A fitted baseline and what it learnt."""
    baseline = subject.made()
    return baseline, baseline.fit(subject.data())


# -------------------------------------------------------------------------------------------------------- fit


def _name_of(subject: _Subject) -> str:
    return getattr(subject.target, "__name__", "it")


def _fit_promises(contract: Contract, subject: _Subject) -> None:
    with contract.promise("its target makes a baseline from its settings alone", decisive=True):
        subject.made()
    with contract.promise(
        "fit(data) returns a mapping of names to numpy arrays of numbers, at least one", decisive=True
    ):
        learnt = checked_arrays(_learnt(subject)[1], _name_of(subject))
    with contract.promise("the same data and seed give the same again"):
        _check_equal(learnt, _learnt(subject)[1])
    if not getattr(subject.target, "uses_seed", True):
        with contract.promise("it has `uses_seed = False`: another seed gives the same"):
            other = subject.made().fit(replace(subject.data(), seed=OTHER_SEED))
            _check_equal(learnt, other)
    if chosen := chosen_settings(subject.settings, learnt):
        with contract.promise(
            "a number it chose where a setting is `auto` is one the setting takes, and gives the same"
        ):
            values = {**subject.settings.model_dump(), **chosen}
            explicit = replace(subject, settings=type(subject.settings).model_validate(values))
            again = _learnt(explicit)[1]
            _check_equal({name: array for name, array in learnt.items() if name not in chosen}, again)
    with contract.promise("fit(data) leaves the data as they are"):
        data, untouched = subject.data(), subject.data()
        subject.made().fit(data)
        changed = [name for name in ("train", "validation") if not _same(getattr(data, name), getattr(untouched, name))]
        assert not changed, f"changed: {', '.join(changed)}"


def _scoring_promises(contract: Contract, subject: _Subject, grid: Mapping[str, Sequence[Any]]) -> None:
    """Settings that it says scoring alone reads are its own, and what is fitted is the same whatever they are."""
    names = tuple(getattr(subject.target, "scoring_settings", ()))
    if not names:
        return
    with contract.promise("`scoring_settings` names settings of its own"):
        unknown = [name for name in names if name not in type(subject.settings).model_fields]
        assert not unknown, f"it has none called {', '.join(map(str, unknown))}"
    with contract.promise("`scoring_settings` are read when it scores, not when it is fitted"):
        learnt = _learnt(subject)[1]
        for combination in combinations({name: grid[name] for name in names if name in grid}):
            other = replace(subject, settings=subject.settings.model_copy(update=combination))
            _check_equal(learnt, _learnt(other)[1])


def _check_equal(learnt: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> None:
    differing = [name for name in learnt.keys() | other.keys() if not _equal(learnt.get(name), other.get(name))]
    assert not differing, f"learnt differently: {', '.join(sorted(differing))}"


def _equal(first: NDArray[Any] | None, second: NDArray[Any] | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _same(first: Interactions, second: Interactions) -> bool:
    return (
        first.item_count == second.item_count
        and np.array_equal(first.indptr, second.indptr)
        and np.array_equal(first.items, second.items)
    )


# ----------------------------------------------------------------------------------------------------- scorer


def _scorer_promises(contract: Contract, subject: _Subject) -> None:
    baseline, learnt = _learnt(subject)
    users = np.delete(np.arange(USERS), LONELY_USER)

    def scorer() -> Scorer:
        """Of its own for each promise: what one does to scores or arrays must not show in the next."""
        made: Scorer = baseline.scorer(_copied(learnt), subject.data().train)
        return made

    with contract.promise(
        "scorer(learnt, train)(users) gives float32 [B, I], every score finite: not even minus infinity", decisive=True
    ):
        scores = scorer()(users)
        _check_scores(scores, (len(users), subject.data().train.item_count))
        scores = np.array(scores)
    with contract.promise("a user without history gets scores like any other"):
        _check_scores(scorer()(np.array([LONELY_USER])), (1, scores.shape[1]))
    with contract.promise("a user's scores are the same alone, among others and in any order"):
        _check_batches(scorer(), dict(zip(users.tolist(), scores, strict=True)))
    with contract.promise("scores are the caller's to change"):
        score = scorer()
        score(users)[:] = -np.inf
        assert _close(score(users), scores), "changed scores come back at the next call"
    with contract.promise("what it learnt, through safetensors, is all that another instance needs to score"):
        stored = load(save(checked_arrays(learnt, _name_of(subject))))
        found = subject.made().scorer(stored, subject.data().train)(users)
        assert _close(found, scores), "its scores differ"
    with contract.promise("the scorer leaves what was learnt and the histories as they are"):
        train = subject.data().train
        given = _copied(learnt)
        baseline.scorer(given, train)(users)
        changed = [name for name in learnt.keys() | given.keys() if not _equal(learnt.get(name), given.get(name))]
        assert not changed, f"changed: {', '.join(sorted(changed))}"
        assert _same(train, subject.data().train), "changed: the training histories"
    if hasattr(baseline, "fold_in"):
        _fold_in_promises(contract, subject)
    if hasattr(baseline, "term"):
        _term_promises(contract, subject)
    with contract.promise("glta evaluate ranks the catalogue by it"):
        _check_ranking(scorer(), subject.data())


def _fold_in_promises(contract: Contract, subject: _Subject) -> None:
    baseline, learnt = _learnt(subject)
    data = subject.data()
    with contract.promise("fold_in(learnt, train, histories) leaves what was learnt as it is"):
        given = _copied(learnt)
        baseline.fold_in(given, data.train, data.validation)
        _check_equal(learnt, given)
    with contract.promise("fold_in of the histories it was fitted on gives what was learnt"):
        _check_equal(learnt, baseline.fold_in(_copied(learnt), data.train, subject.data().train))
    with contract.promise("what fold_in returns scores users with other histories"):
        scorer = baseline.scorer(baseline.fold_in(_copied(learnt), data.train, data.validation), data.validation)
        _check_scores(scorer(np.arange(USERS)), (USERS, data.train.item_count))


def _term_promises(contract: Contract, subject: _Subject) -> None:
    baseline, learnt = _learnt(subject)
    data = subject.data()
    with contract.promise("term(learnt, histories) is a term of the API that gives the scorer's scores"):
        # Of other histories than those it was fitted on too, as an index has them.
        for histories in (data.train, data.validation):
            known = learnt
            if histories is data.validation and hasattr(baseline, "fold_in"):
                known = baseline.fold_in(_copied(learnt), data.train, histories)
            expected = baseline.scorer(_copied(known), histories)(np.arange(USERS))
            term = checked_term(baseline.term(_copied(known), histories), _name_of(subject), histories)
            found = term_scorer(term, histories)(np.arange(USERS))
            assert _close(found, expected), f"scores differ by up to {np.abs(found - expected).max():.3g}"
    with contract.promise("term(learnt, histories) leaves what was learnt as it is"):
        given = _copied(learnt)
        baseline.term(given, data.train)
        _check_equal(learnt, given)


def _copied(learnt: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.array(array) for name, array in learnt.items()}


def _check_scores(scores: Any, shape: tuple[int, int]) -> None:
    problem = score_problem(scores, shape)
    assert problem is None, problem


def _check_batches(score: Scorer, expected: Mapping[int, NDArray[np.float32]]) -> None:
    """Compare scores of batches of every kind with those expected, [I] of each user."""
    shuffled = np.random.default_rng(0).permutation(list(expected))
    for users in (shuffled, np.repeat(shuffled[:2], 2), *shuffled[:, None]):
        for user, row in zip(users.tolist(), score(users), strict=True):
            assert _close(row, expected[user]), (
                f"user {user} among {users.tolist()}: scores differ by up to {np.abs(row - expected[user]).max():.3g}"
            )


def _close(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """As far as scores of two batches are: products of float32 are summed in another order."""
    return np.allclose(first, second, rtol=1e-4, atol=1e-5)


def _check_ranking(score: Scorer, data: BaselineData) -> None:
    users = np.arange(USERS)[::-1].copy()
    ranked = rank_users(score, users, 5, data.train, data.validation, batch_size=4)
    for user, items in zip(users.tolist(), ranked, strict=True):
        seen = np.intersect1d(items, np.concatenate([data.train.of(user), data.validation.of(user)]))
        assert not len(seen), f"user {user} has items {seen.tolist()} already, and they are ranked among the first"


# ------------------------------------------------------------------------------------------ less data than usual


def _given_promises(contract: Contract, subject: _Subject) -> None:
    validation = subject.data().validation
    half = validation.users < USERS // 2
    some = Interactions.from_pairs(
        validation.users[half], validation.items[half], user_count=USERS, item_count=validation.item_count
    )
    none = Interactions.from_pairs([], [], user_count=USERS, item_count=validation.item_count)
    with contract.promise("fit works where many users have nothing to validate on"):
        subject.made().fit(_validated_by(subject.data(), some))
    with contract.promise("without any validation interaction fit works, or says by a GltaError what it needs"):
        _fit_or_say(subject, _validated_by(subject.data(), none))
    with contract.promise("without item texts fit works, or says by a GltaError that it needs them"):
        if not getattr(subject.target, "needs_text_vectors", False):  # glta evaluate refuses for it
            _fit_or_say(subject, replace(subject.data(), texts=None))


def _validated_by(data: BaselineData, validation: Interactions) -> BaselineData:
    quality = validation_quality(data.train, validation)
    return replace(data, validation=validation, quality=quality, descend=_descent(quality))


def _fit_or_say(subject: _Subject, data: BaselineData) -> None:
    with suppress(GltaError):
        subject.made().fit(data)
