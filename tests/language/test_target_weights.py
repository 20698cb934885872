"""Stage 3 where interactions have weights: a target counts for what its interaction does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import FinetuneSettings


def drawn(weighted: bool) -> Interactions:
    generator = np.random.default_rng(0)
    users, items = np.nonzero(generator.random((6, 12)) < 0.6)
    weights = generator.uniform(1, 5, len(users)).astype(np.float32) if weighted else None
    return Interactions.from_pairs(users, items, user_count=6, item_count=12, weights=weights)


@pytest.mark.parametrize("with_holdout", [False, True])
def test_targets_carry_their_weights_and_are_those_there_are_without(with_holdout):
    train, plain = drawn(True), drawn(False)
    holdout = np.arange(len(train)) % 3 == 0 if with_holdout else None
    weights = train.relative_weights
    assert weights is not None
    assert weights.mean() == pytest.approx(1)
    for epoch in range(3):
        examples = Examples(train, holdout, FinetuneSettings(), seed=0).of_epoch(epoch)
        without = Examples(plain, holdout, FinetuneSettings(), seed=0).of_epoch(epoch)
        for weighted, alike in zip(examples, without, strict=True):
            assert alike.weights is None
            np.testing.assert_array_equal(weighted.targets, alike.targets)
            own = dict(zip(train.of(weighted.user).tolist(), weights[train.users == weighted.user], strict=True))
            np.testing.assert_array_equal(weighted.weights, [own[item] for item in weighted.targets.tolist()])


@pytest.mark.parametrize("loss", ["first", "positions"])
def test_the_loss_is_a_weighted_mean_over_targets(toy_context, loss):
    context = toy_context(f"finetune.loss={loss}", stage="pretrain-graph")
    task = FinetuningTask(
        context.model(context.embeddings(serving=False), adapters=False),
        context.user_prompts(context.model(context.embeddings(serving=False), adapters=False).language_model.tokenizer),
        Examples(context.train, context.holdout, context.recipe.finetune, 0),
        context.train,
        context.validation,
        context.recipe.finetune,
        aligned=False,
        inference_batch=16,
        seed=0,
    )
    task.module.eval()
    (example,) = task.examples.of_epoch(0)[:1]
    rows = len(example.targets) if loss == "first" else min(len(example.targets), context.recipe.finetune.positions)

    def weighing(*weights: float) -> torch.Tensor:
        padded = np.zeros(len(example.targets), dtype=np.float32)
        padded[: len(weights)] = weights
        return task.loss([replace(example, weights=padded)]).detach()

    each = [weighing(*np.eye(rows)[row]) for row in range(rows)]
    torch.testing.assert_close(weighing(*np.ones(rows)), task.loss([example]).detach())
    torch.testing.assert_close(weighing(*range(1, rows + 1)), sum((row + 1) * each[row] for row in range(rows)))
