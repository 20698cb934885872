"""Logits adjusted by popularity while stage 3 trains, and served without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.language.gllm import TiedHead, log_popularity
from glta_cli.serving.index import Index
from glta_cli.stages.context import MODEL
from glta_cli.stages.pipeline import Pipeline

ADJUSTED = "finetune.popularity_adjustment=0.5"


def task_of(context: Any) -> FinetuningTask:
    model = context.model(context.embeddings(serving=False), adapters=False)
    return FinetuningTask(
        model,
        context.user_prompts(model.language_model.tokenizer),
        Examples(context.train, context.holdout, context.recipe.finetune, 0),
        context.train,
        context.validation,
        context.recipe.finetune,
        aligned=False,
        inference_batch=16,
        seed=0,
    )


@pytest.mark.parametrize("sampled", ["", "finetune.softmax_items=20"])
def test_the_loss_is_that_of_the_plain_logits_and_the_log_of_popularity(
    toy_context: Callable[..., Any], sampled: str
) -> None:
    extra = [sampled] if sampled else []
    adjusted = task_of(toy_context(ADJUSTED, *extra, stage="pretrain-graph"))
    plain = task_of(toy_context(*extra, stage="pretrain-graph"))
    counts = torch.from_numpy(np.bincount(plain.seen.items, minlength=plain.seen.item_count))
    batch = plain.batches(0)[0]
    for task in (adjusted, plain):
        task.module.eval()
        with torch.no_grad():
            task.module.head.bias.copy_(torch.linspace(-1, 1, len(counts)))
    with torch.no_grad():
        torch.manual_seed(0)
        found = adjusted.loss(batch)
        smoothed = counts.float() + 1
        plain.module.head.bias.add_(0.5 * (smoothed / smoothed.mean()).log())
        torch.manual_seed(0)
        torch.testing.assert_close(found, plain.loss(batch))


def test_the_tied_head_starts_without_what_the_loss_adds(toy_context: Callable[..., Any]) -> None:
    counts = torch.tensor([0, 3, 10, 1])
    for adjustment in (0.0, 0.5, 1.0):
        head = TiedHead(8, torch.randn(4, 3), counts, adjustment)
        expected = (1 - adjustment) * log_popularity(counts)
        torch.testing.assert_close(head.bias.detach(), expected)
        head.bias.data.fill_(7)
        head.fit(torch.randn(20, 8), torch.randn(20, 3))
        torch.testing.assert_close(head.bias.detach(), expected)


def test_popular_items_are_served_less_often_the_more_is_adjusted(run_toy: Callable[..., Pipeline]) -> None:
    """Space films and garden books are equally popular: what is counted is whom everyone is shown."""
    shown = []
    for strength in ("0", "2"):
        pipeline = run_toy(f"finetune.popularity_adjustment={strength}", name=f"adjusted-{strength}")
        index = Index(pipeline.ensure("index"))
        train = pipeline.prepared().split("train")
        counts = np.bincount(train.items, minlength=train.item_count)
        best = index.language_scorer()(np.arange(60)).argsort(1)[:, -10:]
        shown.append(float(counts[best].mean()))
        bias = load_file(pipeline.ensure("finetune").file(MODEL))["head.bias"]
        assert np.sign(np.corrcoef(bias, np.log(counts + 1))[0, 1]) == (1 if strength == "0" else -1)
    assert shown[1] < shown[0]
