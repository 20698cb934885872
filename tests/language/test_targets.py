"""What stage 3 is asked for: a share of a user's items drawn at random, the latest, or all in turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file

import glta_cli.graph.pretraining
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.data.splits import holdout_targets, latest_targets, target_folds
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.examples import Example, Examples
from glta_cli.language.finetuning import FinetuningTask
from glta_cli.language.memory_plan import plan
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import FinetuneSettings
from glta_cli.recipe.target_folds import fold_count
from glta_cli.stages.context import ALIGNMENT_GRAPH, TARGETS
from glta_cli.stages.fold_encoders import FOLDS, turned_to
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

LATEST, IN_FOLDS = "finetune.targets=latest", "finetune.targets=folds"


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_the_latest_are_as_many_as_would_be_drawn_and_come_last(
    random_interactions: Callable[..., Interactions], share: float
) -> None:
    train = Interactions.from_pairs(
        *np.nonzero(np.random.default_rng(1).random((40, 15)) < 0.2), user_count=40, item_count=15
    )
    assert {0, 1, 2} <= set(train.counts.tolist())
    latest, drawn = latest_targets(train, share), holdout_targets(train, share, seed=0)
    for user in range(train.user_count):
        own = slice(train.indptr[user], train.indptr[user + 1])
        assert latest[own].sum() == drawn[own].sum()
        assert_array_equal(latest[own], np.sort(latest[own]))
        if train.counts[user]:
            assert not latest[own].all()
    assert not latest_targets(train, 0).any()


def test_with_a_holdout_the_graph_never_sees_the_latest_and_prompts_show_what_came_before(
    toy_context: Callable[..., Any],
) -> None:
    context = toy_context(LATEST, "dataset.split.strategy=leave-last-out", name="latest", stage="pretrain-graph")
    hidden = load_file(context.artefacts["pretrain-graph"].file(TARGETS))["targets"].astype(bool)
    assert_array_equal(hidden, latest_targets(context.train, context.recipe.graph.alignment_holdout))
    for example in Examples(context.train, context.holdout, context.recipe.finetune, seed=0).of_epoch(0):
        own = context.train.of(example.user)
        assert_array_equal(example.context, own[: len(example.context)])
        assert set(example.targets) == set(own[len(example.context) :])


def test_without_a_holdout_the_latest_are_asked_for_every_epoch(
    random_interactions: Callable[..., Interactions],
) -> None:
    train = random_interactions(30, 40)
    examples = Examples(train, None, FinetuneSettings(targets="latest", target_share=0.25), seed=0)
    for epoch in range(2):
        for example in examples.of_epoch(epoch):
            own = train.of(example.user)
            count = max(1, round(0.25 * len(own)))
            assert_array_equal(example.context, own[:-count])
            assert set(example.targets) == set(own[-count:])


def test_without_times_nothing_came_last(tiny_recipe: Callable[..., Any], toy_table: Any, tmp_path: Any) -> None:
    lines = (toy_table / "interactions.csv").read_text().splitlines()
    log = tmp_path / "log.csv"
    log.write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    recipe = tiny_recipe(f"dataset.source={log}", LATEST)
    pipeline = Pipeline("timeless", recipe, Workspace(tmp_path), device="cpu")
    with pytest.raises(InputError, match=r"no times, by which finetune\.targets=latest") as error:
        pipeline.ensure("finetune")
    assert "finetune.targets=share" in str(error.value.hint)
    assert not (tmp_path / "stages" / "pretrain-graph").exists()


# ----------------------------------------------------------------------------------------------------- in folds


def test_every_item_is_in_one_fold_and_no_fold_has_all_of_a_user() -> None:
    train = Interactions.from_pairs(
        *np.nonzero(np.random.default_rng(1).random((400, 15)) < 0.3), user_count=400, item_count=15
    )
    folds = target_folds(train, 5, seed=0)
    for user in range(train.user_count):
        own = folds[train.indptr[user] : train.indptr[user + 1]]
        if len(own) == 1:
            assert own.tolist() == [-1]
        elif len(own):
            sizes = np.bincount(own, minlength=5)
            assert sizes.max() - sizes.min() <= 1
            assert sizes.max() < len(own)
    sizes = np.bincount(folds[folds >= 0], minlength=5)
    assert sizes.min() > 0.9 * sizes.max()
    assert not np.array_equal(folds, target_folds(train, 5, seed=1))


def test_in_as_many_epochs_as_there_are_folds_every_item_is_a_target_once() -> None:
    train = Interactions.from_pairs(
        *np.nonzero(np.random.default_rng(1).random((60, 15)) < 0.8), user_count=60, item_count=15
    )
    assert train.counts.min() >= 5
    examples = Examples(train, None, FinetuneSettings(targets="folds"), seed=0, folds=target_folds(train, 5, 0))
    asked: list[list[int]] = [[] for _ in range(60)]
    for epoch in range(5):
        found = examples.of_epoch(epoch)
        assert sorted(example.user for example in found) == list(range(60))
        assert len({example.fold for example in found}) == 5
        for example in found:
            assert set(example.context) | set(example.targets) == set(train.of(example.user))
            assert not set(example.context) & set(example.targets)
            asked[example.user] += example.targets.tolist()
    assert all(sorted(asked[user]) == sorted(train.of(user)) for user in range(60))


def test_what_a_batch_is_asked_for_its_graph_has_not_seen(
    tiny_recipe: Callable[..., Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the stages themselves: the edges each encoder is trained on, and the tables each loss looks at."""
    trained: list[set[tuple[int, int]]] = []

    class Recorded(InteractionGraph):
        def __init__(self, interactions: Interactions, folder: Path | None = None) -> None:
            super().__init__(interactions, folder)
            trained.append(set(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True)))

    monkeypatch.setattr(glta_cli.graph.pretraining, "InteractionGraph", Recorded)
    looked_at: list[tuple[torch.Tensor, list[Example]]] = []
    loss = FinetuningTask._first_position_loss

    def recorded(task: FinetuningTask, batch: list[Example]) -> torch.Tensor:
        looked_at.append((task.module.users, batch))
        return loss(task, batch)

    monkeypatch.setattr(FinetuningTask, "_first_position_loss", recorded)
    pipeline = Pipeline("folds", tiny_recipe(IN_FOLDS, "align.enabled=false"), Workspace(tmp_path), device="cpu")
    graph, _ = pipeline.ensure("pretrain-graph"), pipeline.ensure("finetune")
    stored = load_file(graph.file(FOLDS))
    train, folds = pipeline.prepared().split("train"), stored["folds"]
    of_fold = [
        set(zip(train.users[folds == fold].tolist(), train.items[folds == fold].tolist(), strict=True))
        for fold in range(5)
    ]
    everything = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    assert trained == [everything, *(everything - each for each in of_fold)]
    assert_array_equal(stored["users"][0], load_file(graph.file(ALIGNMENT_GRAPH))["users"])
    assert {example.fold for _, batch in looked_at for example in batch} == set(range(5))
    for users, batch in looked_at:
        (fold,) = {example.fold for example in batch}
        assert_array_equal(users.numpy(), stored["users"][fold])
        for example in batch:
            assert {(example.user, int(item)) for item in example.targets} <= of_fold[fold]
    assert pipeline.ensure("index").details["users"] == 60


def test_the_encoders_of_all_folds_lie_in_one_space_and_their_scores_stay() -> None:
    generator = np.random.default_rng(0)
    first = Embeddings(*(generator.normal(size=(count, 8)).astype(np.float32) for count in (30, 50)))
    turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    other = Embeddings(*(np.asarray(each @ turn, dtype=np.float32) for each in (first.users, first.items)))
    turned = turned_to(other, first.items)
    assert_allclose(turned.items, first.items, atol=1e-5)
    assert_allclose(turned.users @ turned.items.T, other.users @ other.items.T, atol=1e-4)


def test_folds_that_would_leak_or_hide_nothing_are_refused(tiny_recipe: Callable[..., Any]) -> None:
    with pytest.raises(InputErrors, match="nothing is to be hidden"):
        tiny_recipe(IN_FOLDS, "graph.alignment_holdout=0")
    with pytest.raises(InputErrors, match="written once") as error:
        tiny_recipe(IN_FOLDS, "interests.profile=true")
    assert error.value.errors[0].hint == "switch them off: --set interests.profile=false"


@pytest.mark.parametrize(("holdout", "folds"), [(0.2, 5), (0.5, 2), (0.9, 2), (0.001, 100)])
def test_there_are_as_many_folds_as_make_each_as_large_as_the_holdout(
    tiny_recipe: Callable[..., Any], holdout: float, folds: int
) -> None:
    recipe = tiny_recipe(IN_FOLDS, f"graph.alignment_holdout={holdout}")
    assert fold_count(recipe) == folds
    assert plan(recipe, users=60, items=40, graph_dimension=16).stages[-1].tables == folds * 4 * (100 * 16 + 40 * 26)
