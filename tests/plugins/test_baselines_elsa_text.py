"""ELSA with item texts: what it minimises, what texts add, and that little of them is in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from glta_baselines.elsa import Elsa
from glta_baselines.elsa_text import MOST_DIRECTIONS, ElsaText, ElsaTextTask
from glta_baselines.settings import ElsaSettings, ElsaTextSettings

from glta_cli.plugin import BaselineData, GltaError, Interactions
from glta_cli.stages.baseline_descent import Descent

USERS, ITEMS, TASTES, DIRECTIONS = 90, 24, 3, 6


def drawn(*, weighted: bool = False) -> Interactions:
    """Each user likes a third of the items, those of the same remainder, and has six of the first seven of them."""
    generator = np.random.default_rng(0)
    items = np.concatenate(
        [generator.permutation(np.arange(user % TASTES, ITEMS - 3, TASTES))[:6] for user in range(USERS)]
    )
    weights = generator.uniform(0.5, 3, len(items)).astype(np.float32) if weighted else None
    rows = np.repeat(np.arange(USERS), 6)
    return Interactions.from_pairs(rows, items, user_count=USERS, item_count=ITEMS, weights=weights)


def texts_of(*, silent: tuple[int, ...] = ()) -> np.ndarray:
    """Vectors of unit length in which items of a taste read alike, zeros for some, [I, D]."""
    generator = np.random.default_rng(1)
    texts = generator.normal(size=(TASTES, DIRECTIONS))[np.arange(ITEMS) % TASTES]
    texts = texts + 0.2 * generator.normal(size=texts.shape)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    texts[list(silent)] = 0
    found: np.ndarray = texts.astype(np.float32)
    return found


def data_of(train: Interactions, texts: np.ndarray | None, states: Path) -> BaselineData:
    descend = Descent("elsa-text", None, states)
    return BaselineData(train, train, None, 0, torch.device("cpu"), text_vectors=texts, descend=descend)


@pytest.mark.parametrize("weighted", [False, True])
def test_its_loss_is_the_cosine_of_histories_and_of_directions_of_the_texts(weighted: bool, tmp_path: Path) -> None:
    train, texts, weight = drawn(weighted=weighted), texts_of(), 1.5
    task = ElsaTextTask(data_of(train, texts, tmp_path), texts, ElsaTextSettings(factors=5, text_weight=weight))
    with torch.no_grad():
        task.module.log_scales.normal_(generator=torch.Generator().manual_seed(1))
    users, directions = np.array([4, 0, 31]), np.array([5, 2])
    wanted = list(task.module.parameters())
    found = task.loss((users, directions))
    gradients = torch.autograd.grad(found, wanted)

    exact = [each.detach().double().requires_grad_() for each in wanted]
    factors, (source_scale, scale) = F.normalize(exact[0], dim=1), exact[1].exp()
    histories = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    histories[train.users, train.items] = (
        torch.ones(len(train), dtype=torch.float64)
        if train.weights is None
        else torch.from_numpy(train.weights).double()
    )
    rows = torch.from_numpy(texts).double().T[directions]
    item_weights = source_scale[:, None] * (factors @ factors.T - torch.eye(ITEMS, dtype=torch.float64)) * scale
    of_users, of_texts = (1 - F.cosine_similarity(each, each @ item_weights) for each in (histories[users], rows))
    counts_for = weight**2 * rows.square().sum(1) / histories.square().sum()
    expected = of_users.mean() + DIRECTIONS / 2 * (counts_for * of_texts).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for gradient, precise in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(gradient.double(), precise, atol=1e-5, rtol=1e-4)


def test_an_item_nobody_met_is_recommended_to_those_who_like_what_reads_alike(tmp_path: Path) -> None:
    train, texts = drawn(), texts_of(silent=(ITEMS - 1,))
    row = ElsaText(ElsaTextSettings(factors=8, batch_size=30, epochs=10, text_weight=2))
    learnt = row.fit(data_of(train, texts, tmp_path))
    scores = row.scorer(learnt, train)(np.arange(USERS))  # [U, I]
    tastes = np.arange(USERS) % TASTES
    for new in (ITEMS - 3, ITEMS - 2):
        alike = tastes == new % TASTES
        assert scores[alike, new].mean() > scores[~alike, new].mean() + 0.3
    # Nothing is known of the last one: no text, no user.
    assert not learnt["factors"][ITEMS - 1].any()
    assert not scores[:, ITEMS - 1].any()


def test_before_its_first_step_it_recommends_what_reads_alike(tmp_path: Path) -> None:
    train, texts = drawn(), texts_of()
    row = ElsaText(ElsaTextSettings(factors=64, epochs=0))
    scores = row.scorer(row.fit(data_of(train, texts, tmp_path)), train)(np.arange(USERS))  # [U, I]
    alike = np.arange(USERS)[:, None] % TASTES == np.arange(ITEMS) % TASTES
    assert scores[alike].mean() > scores[~alike].mean() + 1


def test_without_weight_the_texts_change_nothing(tmp_path: Path) -> None:
    train = drawn()
    plain = Elsa(ElsaSettings(factors=4, epochs=3)).fit(data_of(train, None, tmp_path / "plain"))
    row = ElsaText(ElsaTextSettings(factors=4, epochs=3, text_weight=0))
    found = row.fit(data_of(train, texts_of(), tmp_path / "texts"))
    np.testing.assert_array_equal(found["factors"], plain["factors"])
    np.testing.assert_array_equal(found["scales"], plain["scales"])


@pytest.mark.parametrize(("batch_size", "dimensions"), [(30, 7), (5, 7), (90, 100)])
def test_a_pass_deals_the_directions_out_to_its_steps(batch_size: int, dimensions: int, tmp_path: Path) -> None:
    train = drawn()
    texts = np.random.default_rng(0).normal(size=(ITEMS, dimensions)).astype(np.float32)
    settings = ElsaTextSettings(factors=3, batch_size=batch_size)
    task = ElsaTextTask(data_of(train, texts, tmp_path), texts, settings)
    steps = task.batches(2)
    assert sorted(np.concatenate([users for users, _ in steps])) == list(range(USERS))
    assert {len(directions) for _, directions in steps} == {min(MOST_DIRECTIONS, -(-dimensions // len(steps)))}
    met = np.concatenate([directions for _, directions in steps])
    assert len(np.unique(met)) == min(dimensions, len(met))
    assert not all(np.array_equal(first[1], second[1]) for first, second in zip(steps, task.batches(3), strict=True))


def test_without_texts_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(GltaError, match="elsa-text needs the vectors of item texts"):
        ElsaText(ElsaTextSettings()).fit(data_of(drawn(), None, tmp_path))


def test_it_says_what_it_takes_beside_elsa() -> None:
    plain, texts = Elsa(ElsaSettings()), ElsaText(ElsaTextSettings())
    assert plain.bytes_to_fit(10, 1000) < texts.bytes_to_fit(10, 1000) < 2 * plain.bytes_to_fit(10, 1000)
