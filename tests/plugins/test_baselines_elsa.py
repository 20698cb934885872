"""ELSA: what it minimises, what it learns, and that it is trained like everything else."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from glta_baselines.elsa import Elsa, ElsaTask
from glta_baselines.settings import ElsaSettings

from glta_cli.core.errors import InterruptedRunError
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.plugin import BaselineData, GltaError, Interactions
from glta_cli.ranking.selection import validation_quality
from glta_cli.stages.baseline_descent import descent

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

USERS, ITEMS, TASTES = 90, 24, 3


def drawn(*, weighted: bool = False) -> tuple[Interactions, Interactions]:
    """Training and validation: each user likes a third of the items, has six of them and one to be found."""
    generator = np.random.default_rng(0)
    liked = [generator.permutation(np.arange(user % TASTES, ITEMS, TASTES))[:7] for user in range(USERS)]
    rows = np.repeat(np.arange(USERS), 6)
    items = np.concatenate([each[:6] for each in liked])
    weights = generator.uniform(0.5, 3, len(items)).astype(np.float32) if weighted else None
    train = Interactions.from_pairs(rows, items, user_count=USERS, item_count=ITEMS, weights=weights)
    found = Interactions.from_pairs(np.arange(USERS), [each[6] for each in liked], user_count=USERS, item_count=ITEMS)
    return train, found


def data_of(train: Interactions, validation: Interactions, states: Path) -> BaselineData:
    quality = validation_quality(train, validation)
    descend = descent("elsa", quality, states)
    return BaselineData(train, validation, None, 0, torch.device("cpu"), quality=quality, descend=descend)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_its_loss_is_the_cosine_of_histories_and_their_predictions(
    weighted: bool, scaled: bool, tmp_path: Path
) -> None:
    train, validation = drawn(weighted=weighted)
    task = ElsaTask(data_of(train, validation, tmp_path), ElsaSettings(factors=5, scaled=scaled))
    if scaled:
        with torch.no_grad():
            task.module.log_scales.normal_(generator=torch.Generator().manual_seed(1))
    batch = np.array([4, 0, 31])
    wanted = [each for each in task.module.parameters() if each.requires_grad]
    found = task.loss(batch)
    gradients = torch.autograd.grad(found, wanted)

    exact = [each.detach().double().requires_grad_() for each in wanted]
    factors = F.normalize(exact[0], dim=1)
    source_scale, scale = exact[1].exp() if scaled else torch.ones(2, ITEMS, dtype=torch.float64)
    histories = torch.zeros(3, ITEMS, dtype=torch.float64)
    for place, user in enumerate(batch.tolist()):
        part = slice(train.indptr[user], train.indptr[user + 1])
        own = 1.0 if train.weights is None else torch.from_numpy(train.weights[part]).double()
        histories[place, train.items[part]] = own
    predicted = (histories * source_scale) @ (factors @ factors.T - torch.eye(ITEMS, dtype=torch.float64)) * scale
    expected = (1 - F.cosine_similarity(histories, predicted)).mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    for gradient, precise in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(gradient.double(), precise, atol=1e-5, rtol=1e-4)


def test_it_finds_what_likeminded_users_have(tmp_path: Path) -> None:
    train, validation = drawn()
    data = data_of(train, validation, tmp_path)
    elsa = Elsa(ElsaSettings(factors=4, batch_size=30))
    learnt = elsa.fit(data)
    assert data.quality is not None
    # Two items of the taste are left: whoever ranks them first reaches .8 in the mean; at random it is .2.
    assert data.quality(elsa.scorer(learnt, train)) > 0.75
    assert 0 < learnt["epochs"] <= 40


def test_an_item_nobody_met_is_recommended_to_nobody(tmp_path: Path) -> None:
    train, validation = drawn()
    wider = replace(train, item_count=ITEMS + 1)
    elsa = Elsa(ElsaSettings(factors=4, epochs=3))
    learnt = elsa.fit(data_of(wider, replace(validation, item_count=ITEMS + 1), tmp_path))
    assert not learnt["factors"][ITEMS].any()
    assert not elsa.scorer(learnt, wider)(np.arange(USERS))[:, ITEMS].any()


def test_without_a_training_loop_it_says_so() -> None:
    train, validation = drawn()
    data = BaselineData(train, validation, None, 0, torch.device("cpu"))
    with pytest.raises(GltaError, match="no training loop"):
        Elsa(ElsaSettings()).fit(data)


def test_a_fit_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = drawn()
    settings = ElsaSettings(factors=4, batch_size=30, epochs=4)
    whole = Elsa(settings).fit(data_of(train, validation, tmp_path / "whole"))
    steps: list[int] = []
    loss = ElsaTask.loss

    def stopped_at_the_fifth(self: ElsaTask, batch: Any) -> torch.Tensor:
        steps.append(len(batch))
        if len(steps) == 5:
            signal.raise_signal(signal.SIGINT)
        return loss(self, batch)

    monkeypatch.setattr(ElsaTask, "loss", stopped_at_the_fifth)
    with pytest.raises(InterruptedRunError):
        Elsa(settings).fit(data_of(train, validation, tmp_path / "stopped"))
    resumed = Elsa(settings).fit(data_of(train, validation, tmp_path / "stopped"))
    assert len(steps) == 12
    np.testing.assert_array_equal(resumed["factors"], whole["factors"])


def test_an_evaluation_shows_the_row_and_the_epochs_it_chose(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("finetune.enabled=false", stage="pretrain-graph", name="elsa")
    rows = compared_rows({"elsa": {"factors": 4, "batch_size": 16}, "popularity": {}}, pipeline.recipe)
    found = evaluate_run(pipeline, rows)
    assert 0 < found["chosen"]["elsa"]["epochs"] <= 40
    assert found["models"]["elsa"]["ndcg@10"] > found["models"]["popularity"]["ndcg@10"]
