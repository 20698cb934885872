"""The term of a shipped baseline gives the scores of its scorer, whatever the histories, weights and settings."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glta_cli.plugin import BaselineData, Interactions, LinearTerm, LowRankTerm, VectorTerm
from glta_cli.plugin.registry import installed
from glta_cli.serving.term_scores import term_scorer
from glta_cli.stages.baseline_descent import Descent

USERS, ITEMS = 12, 9
FORMS: dict[str, type[Any]] = {
    "ease": LinearTerm,
    "ease-text": LinearTerm,
    "l3ae": LinearTerm,
    "add-ease": LinearTerm,
    "item-knn": LinearTerm,
    "elsa": LowRankTerm,
    "elsa-text": LowRankTerm,
    "text-only": VectorTerm,
    "ials": VectorTerm,
    "popularity": VectorTerm,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "ials": {"dimension": 3, "iterations": 2},
    "item-knn": {"neighbours": 3},
    "elsa": {"factors": 3, "epochs": 1},
    "elsa-text": {"factors": 3, "epochs": 1},
}


def drawn(generator: np.random.Generator, *, weighted: bool) -> Interactions:
    """Half of the users have met about a third of the items, in any order; the others nothing."""
    rows, columns = np.nonzero(generator.random((USERS, ITEMS)) < 0.35)
    order = generator.permutation(np.flatnonzero(rows % 2 == 0))
    weights = generator.uniform(0.2, 3, len(order)).astype(np.float32) if weighted else None
    return Interactions.from_pairs(rows[order], columns[order], user_count=USERS, item_count=ITEMS, weights=weights)


def test_every_shipped_baseline_has_a_term() -> None:
    own = [each for each in installed().of_kind("baseline") if each.declaration.target.startswith("glta_baselines.")]
    assert {component.name for component in own} == set(FORMS)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), weighted=st.booleans(), recency=st.sampled_from([1.0, 0.8, 0.3]))
def test_a_term_gives_the_scores_of_its_baseline(name: str, seed: int, weighted: bool, recency: float) -> None:
    generator = np.random.default_rng(seed)
    train, later = (drawn(generator, weighted=weighted) for _ in range(2))
    texts = generator.normal(size=(ITEMS, 4)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    none = Interactions.from_pairs([], [], user_count=USERS, item_count=ITEMS)
    component = installed().find("baseline", name)
    config, options = component.config(), dict(OPTIONS.get(name, {}))
    for setting, value in {"recency": recency, "regularization": 2.0, "text_regularization": 1.0}.items():
        options |= {setting: value} if setting in config.model_fields else {}
    for setting in {"text_weight", "pull", "text_share"} & config.model_fields.keys():
        options[setting] = 0.6
    baseline = component.build(config(**options))
    with TemporaryDirectory() as states:
        descend = Descent(name, None, Path(states))
        data = BaselineData(train, none, None, seed, torch.device("cpu"), text_vectors=texts, descend=descend)
        learnt = baseline.fit(data)
    for histories in (train, later):
        known = baseline.fold_in(learnt, train, histories) if hasattr(baseline, "fold_in") else learnt
        term = baseline.term(known, histories)
        assert isinstance(term, FORMS[name])
        users = np.arange(USERS)
        expected = baseline.scorer(known, histories)(users)
        np.testing.assert_allclose(term_scorer(term, histories)(users), expected, rtol=1e-4, atol=1e-5)
        # One user's are added up in another way.
        np.testing.assert_allclose(term_scorer(term, histories)(users[4:5]), expected[4:5], rtol=1e-4, atol=1e-5)
