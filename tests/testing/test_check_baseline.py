"""The checks of baselines: the shipped ones pass, and each broken one is told the promise it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from glta_cli.plugin import BaselineData, GltaError, Interactions, Scorer, Settings
from glta_cli.testing import ContractError, check_baseline
from glta_cli.testing.baseline import TEXTS, baseline_promises
from glta_cli.testing.contract import Contract


class NoSettings(Settings):
    """Nothing to set."""


class Together:
    """Scores items by the histories they share, and keeps every promise; the classes below break one each."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> Any:
        histories = dense(data.train, np.arange(data.train.user_count))
        return {"together": histories.T @ histories}  # [I, I]

    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Scorer:
        return lambda users: dense(train, users) @ learnt["together"]  # [B, I]


def dense(train: Interactions, users: Any) -> Any:
    """1 at the items of each user's history, float32 [B, I]."""
    rows = np.zeros((len(users), train.item_count), dtype=np.float32)
    for row, user in enumerate(users):
        rows[row, train.of(user)] = 1
    return rows


def check(contract: Contract, target: Callable[..., Any], texts: Any = TEXTS) -> None:
    baseline_promises(contract, target, NoSettings(), texts)
    contract.settle()


def breaches(target: Callable[..., Any], texts: Any = TEXTS) -> list[str]:
    """What a baseline is told, promise by promise."""
    contract = Contract("baseline 'mine'")
    with pytest.raises(ContractError) as told:
        check(contract, target, texts)
    assert all(breach in str(told.value) for breach in contract.breaches)
    return contract.breaches


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("popularity", None),
        ("item-knn", None),
        ("item-knn", {"neighbours": 2, "shrink": 0.0}),
        ("text-only", None),
        ("ease", None),
        ("ease", {"regularization": 0.5}),
        ("ease-text", None),
        ("ease-text", {"regularization": 3.0, "text_weight": 1.0}),
        ("l3ae", None),
        ("l3ae", {"regularization": 2.0, "pull": 1.5, "text_regularization": 0.5}),
        ("add-ease", None),
        ("add-ease", {"regularization": 2.0, "text_share": 0.3}),
        ("elsa", {"factors": 4, "epochs": 2}),
        ("elsa", {"factors": 4}),
        ("elsa-text", {"factors": 4}),
        ("ials", None),
        ("ials", {"dimension": 3, "alpha": 0.5, "regularization": 0.1, "iterations": 2}),
    ],
)
def test_shipped_baselines_keep_every_promise(name: str, options: Any) -> None:
    check_baseline(name, options=options)
    check_baseline(name, options=options, texts=None)


def test_settings_that_are_refused_are_told() -> None:
    with pytest.raises(ContractError, match=r"take that\n.*options[.]regularisation: unknown key"):
        check_baseline("ease", options={"regularisation": 1})


# ------------------------------------------------------------------------------------------------ broken baselines


class OtherConstructor(Together):
    def __init__(self, settings: Any, item_count: int) -> None: ...


class LearnsAList(Together):
    def fit(self, data: BaselineData) -> Any:
        return {"together": super().fit(data)["together"].tolist()}


class LearnsWords(Together):
    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"titles": np.array(["a", "b"])}


class LearnsNothing(Together):
    def fit(self, data: BaselineData) -> Any:
        return {}


class DrawsAnew(Together):
    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"noise": np.random.default_rng().normal(size=3)}


class ClaimsNoSeed(Together):
    uses_seed = False

    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"noise": np.random.default_rng(data.seed).normal(size=3)}


class SortsHistories(Together):
    def fit(self, data: BaselineData) -> Any:
        learnt = super().fit(data)
        data.train.items[:] = data.train.items[::-1].copy()
        return learnt


class Changed(Together):
    """Changes the scores of the well-behaved baseline."""

    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Any:
        score = super().scorer(learnt, train)
        return lambda users: self.changed(users, score(users), train)

    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        raise NotImplementedError


class DoublePrecision(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return scores.astype(np.float64)


class ItemsByUsers(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return scores.T


class AList(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return list(scores)


class MasksItself(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return np.where(scores == 0, np.float32(-np.inf), scores)


class DividesByPopularity(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        with np.errstate(invalid="ignore"):
            return scores / np.bincount(train.items, minlength=train.item_count).astype(np.float32)


class DividesByHistory(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        with np.errstate(invalid="ignore"):
            return scores / train.counts[users].astype(np.float32)[:, None]


class NeedsAHistory(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        if len(users) == 1 and not len(train.of(users[0])):
            raise KeyError(int(users[0]))
        return scores


class NormalisesTheBatch(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return scores - scores.mean(axis=0)


class SortsTheUsers(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        return scores[np.argsort(users)]


class RemembersScores(Together):
    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Any:
        score, known = super().scorer(learnt, train), {}

        def remembered(users: Any) -> Any:
            return known.setdefault(tuple(users.tolist()), score(users))

        return remembered


class LearnsBesidesTheArrays(Together):
    def fit(self, data: BaselineData) -> Any:
        self.scale = np.float32(2)
        return super().fit(data)

    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Any:
        score, scale = super().scorer(learnt, train), self.scale
        return lambda users: score(users) * scale


class AnotherScaleAfterwards(LearnsBesidesTheArrays):
    scale = np.float32(1)


class ScalesWhatWasLearnt(Together):
    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Any:
        matrix = learnt["together"]
        matrix /= 2
        return super().scorer({"together": matrix}, train)


class EmptiesHistories(Together):
    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Any:
        scores = dense(train, np.arange(train.user_count)) @ learnt["together"]
        train.items[:] = 0
        return lambda users: scores[users]


class NeedsLikeUsers(Changed):
    def changed(self, users: Any, scores: Any, train: Interactions) -> Any:
        if len(users) > 1 and not train.counts[users].all():
            raise ValueError("all input arrays must have the same shape")
        return scores


class NeedsValidationOfEachUser(Together):
    def fit(self, data: BaselineData) -> Any:
        last = [data.validation.of(user)[-1] for user in range(data.train.user_count) if data.train.counts[user]]
        return super().fit(data) | {"last": np.array(last)}


class NeedsSomeValidation(Together):
    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"least": np.array([data.validation.items.min()])}


class NeedsTexts(Together):
    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"lengths": np.array([len(text) for text in data.texts])}


FIT = "fit(data) returns a mapping of names to numpy arrays"
SCORES = "scorer(learnt, train)(users) gives float32 [B, I]"
LONELY = "a user without history gets scores"
ALIKE = "a user's scores are the same alone, among others"
STORED = "what it learnt, through safetensors"
LEAVES = "the scorer leaves what was learnt and the histories"


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (OtherConstructor, "its target makes a baseline from its settings alone", "'item_count'"),
        (LearnsAList, FIT, "is not a mapping of names to arrays of numbers"),
        (LearnsWords, FIT, "is not a mapping of names to arrays of numbers"),
        (LearnsNothing, FIT, "the mapping is empty"),
        (DrawsAnew, "the same data and seed give the same again", "learnt differently: noise"),
        (ClaimsNoSeed, "it has `uses_seed = False`: another seed gives the same", "learnt differently: noise"),
        (SortsHistories, "fit(data) leaves the data as they are", "changed: train"),
        (DoublePrecision, SCORES, "it gives float64"),
        (ItemsByUsers, SCORES, "its shape is [17, 12], not [12, 17]"),
        (AList, SCORES, "it gives a list"),
        (MasksItself, SCORES, "among the scores: -inf"),
        (DividesByPopularity, SCORES, "among the scores: nan"),
        (NeedsAHistory, LONELY, "KeyError: 5"),
        (NormalisesTheBatch, ALIKE, "scores differ by up to"),
        (SortsTheUsers, ALIKE, "scores differ by up to"),
        (RemembersScores, "scores are the caller's to change", "changed scores come back"),
        (LearnsBesidesTheArrays, STORED, "no attribute 'scale'"),
        (AnotherScaleAfterwards, STORED, "its scores differ"),
        (ScalesWhatWasLearnt, LEAVES, "changed: together"),
        (EmptiesHistories, LEAVES, "changed: the training histories"),
        (NeedsLikeUsers, "glta evaluate ranks the catalogue by it", "must have the same shape"),
        (NeedsSomeValidation, "without any validation interaction fit works", "ValueError: zero-size array"),
        (NeedsTexts, "without item texts fit works", "TypeError"),
    ],
)
def test_a_broken_baseline_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    [breach] = breaches(target)
    assert breach.startswith(promise)
    assert seen in breach


@pytest.mark.parametrize(
    ("target", "promises"),
    [
        # A NaN has no rank, and who needs validation of each user needs some.
        (DividesByHistory, [LONELY, "glta evaluate ranks the catalogue by it"]),
        (NeedsValidationOfEachUser, ["fit works where many users have nothing", "without any validation interaction"]),
    ],
)
def test_what_follows_from_a_broken_promise_is_told_beside_it(target: Callable[..., Any], promises: list[str]) -> None:
    told = breaches(target)
    assert len(told) == len(promises)
    assert all(breach.startswith(promise) for breach, promise in zip(told, promises, strict=True))


# --------------------------------------------------------------------------- settings of the score, and folding in


class AgedSettings(Settings):
    recency: float = 1.0
    shrink: float = 1.0


class Aged(Together):
    """Has a setting that scoring alone reads, and one that is fitted with."""

    scoring_settings: tuple[str, ...] = ("recency",)

    def fit(self, data: BaselineData) -> Any:
        return {"together": super().fit(data)["together"] / self.settings.shrink}

    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Scorer:
        score = super().scorer(learnt, train)
        return lambda users: score(users) * np.float32(self.settings.recency)


class ClaimsToScoreWithAll(Aged):
    scoring_settings = ("recency", "shrink")


class MisnamesItsSettings(Aged):
    scoring_settings = ("recenzy",)


AGED_GRID = {"recency": [0.5, 1.0], "shrink": [1.0, 2.0]}


def aged(target: Callable[..., Any]) -> list[str]:
    contract = Contract("baseline 'mine'")
    baseline_promises(contract, target, AgedSettings(), TEXTS, AGED_GRID)
    return contract.breaches


def test_settings_of_the_score_are_its_own_and_are_not_fitted_with() -> None:
    assert aged(Aged) == []
    [claims] = aged(ClaimsToScoreWithAll)
    assert claims.startswith("`scoring_settings` are read when it scores, not when it is fitted")
    [misnames] = aged(MisnamesItsSettings)
    assert "it has none called recenzy" in misnames


class FoldsIn(Together):
    """Learns a vector of each user, and solves for those with other histories."""

    def fit(self, data: BaselineData) -> Any:
        return super().fit(data) | {"users": dense(data.train, np.arange(data.train.user_count))}

    def fold_in(self, learnt: Mapping[str, Any], train: Interactions, histories: Interactions) -> Any:
        return {**learnt, "users": dense(histories, np.arange(histories.user_count))}

    def scorer(self, learnt: Mapping[str, Any], train: Interactions) -> Scorer:
        return lambda users: learnt["users"][users] @ learnt["together"]


class FoldsInPlace(FoldsIn):
    def fold_in(self, learnt: Mapping[str, Any], train: Interactions, histories: Interactions) -> Any:
        learnt["users"][:] = dense(histories, np.arange(histories.user_count))
        return learnt


def test_who_folds_users_in_leaves_what_was_learnt_alone() -> None:
    check(Contract("mine"), FoldsIn)
    [breach] = breaches(FoldsInPlace)
    assert breach.startswith("fold_in(learnt, train, histories) leaves what was learnt as it is")


# -------------------------------------------------------------------------------------------------- what is allowed


class UsesTheSeed(ClaimsNoSeed):
    uses_seed = True


def test_what_is_learnt_may_depend_on_the_seed_unless_it_says_otherwise() -> None:
    check(Contract("mine"), UsesTheSeed)


class SaysWhatItNeeds(Together):
    """Refuses what it cannot be fitted on, as a user should hear it."""

    def fit(self, data: BaselineData) -> Any:
        if data.texts is None:
            raise GltaError("needs item texts", hint="prepare a dataset that has them")
        if not len(data.validation):
            raise GltaError("needs validation interactions")
        lengths = np.array([len(text) for text in data.texts])
        assert len(lengths) == data.train.item_count
        return super().fit(data) | {"lengths": lengths}


def test_a_baseline_may_say_what_it_needs() -> None:
    for texts in (TEXTS, [f"a longer catalogue: {item}" for item in range(40)]):
        check(Contract("mine"), SaysWhatItNeeds, texts)


def test_a_baseline_that_needs_texts_is_checked_with_some() -> None:
    [breach] = breaches(SaysWhatItNeeds, None)
    assert breach.startswith(FIT)
    assert "needs item texts" in breach


def test_texts_are_enough_for_a_catalogue() -> None:
    with pytest.raises(ValueError, match="3 texts are too few"):
        baseline_promises(Contract("mine"), Together, NoSettings(), ["a", "b", "c"])
