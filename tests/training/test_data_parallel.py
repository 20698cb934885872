"""The shares of a batch: their losses and gradients, added up, are those of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from glta_encoders.lightgcn import LightGCN
from glta_encoders.sasrec import SASRec
from glta_encoders.settings import LightGCNSettings, SASRecSettings

from glta_cli.graph.next_item import NextItemBprTask, NextItemSoftmaxTask
from glta_cli.graph.pretraining import BprTask, SoftmaxTask
from glta_cli.language.alignment import AlignmentPrompts, AlignmentTask
from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import GraphSettings, TrainingSettings
from glta_cli.stages.context import StageContext
from glta_cli.training.loop import trainable

ENCODERS: dict[type, Callable[[InteractionGraph], Any]] = {
    SoftmaxTask: lambda graph: LightGCN(graph, LightGCNSettings(dimension=8, regularization=0.01)),
    BprTask: lambda graph: LightGCN(graph, LightGCNSettings(dimension=8, regularization=0.01)),
    NextItemSoftmaxTask: lambda graph: SASRec(graph, SASRecSettings(dimension=8, longest_history=3, dropout=0.0)),
    NextItemBprTask: lambda graph: SASRec(graph, SASRecSettings(dimension=8, longest_history=3, dropout=0.0)),
}


def assert_shares_add_up(task: Any, batch: Any, size: int) -> None:
    """Loss and gradients of a batch, by one process and by so many."""
    parameters = list(trainable(task.module).values())
    whole = task.loss(batch)
    wanted = torch.autograd.grad(whole, parameters, allow_unused=True)
    shares = [task.share(batch, rank, size) for rank in range(size)]
    together = torch.stack([counts_for * task.loss(part) for part, counts_for in shares]).sum()
    found = torch.autograd.grad(together, parameters, allow_unused=True)
    torch.testing.assert_close(together, whole, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(wanted, found, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("size", [2, 3, 40])
@pytest.mark.parametrize("kind", ENCODERS)
def test_shares_of_interactions_add_up(
    random_interactions: Callable[..., Interactions], kind: type, size: int, weighed: bool
) -> None:
    drawn = random_interactions(30, 20, share=0.2)
    weights = torch.linspace(0.5, 4, len(drawn)).numpy() if weighed else None
    interactions = Interactions.from_pairs(drawn.users, drawn.items, user_count=30, item_count=20, weights=weights)
    torch.manual_seed(0)
    encoder = ENCODERS[kind](InteractionGraph(interactions))
    settings = GraphSettings(training=TrainingSettings(batch_size=16))
    task = kind(encoder, settings, interactions, interactions, interactions, 0)
    for batch in task.batches(0)[-2:]:
        assert_shares_add_up(task, batch, size)


@pytest.mark.parametrize("loss", ["first", "positions"])
@pytest.mark.parametrize("size", [2, 3, 40])
def test_shares_of_prompts_add_up(toy_context: Callable[..., StageContext], size: int, loss: str) -> None:
    context = toy_context(f"finetune.loss={loss}", stage="pretrain-graph", name=f"shares-{loss}")
    settings = context.recipe
    model = context.model(context.embeddings(serving=False), adapters=True).eval()
    tokenizer = model.language_model.tokenizer
    users = context.prepared.user_count
    prompts = AlignmentPrompts(tokenizer, context.texts, users, settings.align, settings.prompts)
    align = AlignmentTask(model, prompts, settings.align, seed=0)
    assert_shares_add_up(align, align.batches(0)[0], size)

    examples = Examples(context.train, context.holdout, settings.finetune, seed=0)
    finetune = FinetuningTask(
        model,
        context.user_prompts(tokenizer),
        examples,
        context.train,
        context.validation,
        settings.finetune,
        aligned=False,
        inference_batch=16,
        seed=0,
    )
    assert_shares_add_up(finetune, finetune.batches(0)[-1], size)
