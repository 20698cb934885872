"""Stage 3: no target is shown, neither in a prompt nor in the graph, and only what should move moves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

import glta_cli.graph.pretraining
import glta_cli.stages.describe_users
from glta_cli.core.errors import GltaError
from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.language.model import GraphLanguageModel, load_own_tensors
from glta_cli.language.prompts import node_of
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import FinetuneSettings
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.context import ALIGNMENT_GRAPH, FULL_GRAPH, TARGETS, StageContext
from glta_cli.stages.pipeline import Pipeline
from glta_cli.training.loop import TrainingSettings, train
from glta_cli.workspace.workspace import Workspace

NO_HOLDOUT = "graph.alignment_holdout=0"
EPOCHS = 3


class PromptRecorder:
    """Every prompt the model is given, and whether it was in training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.training: list[np.ndarray] = []
        self.others: list[np.ndarray] = []
        forward = GraphLanguageModel.states_at

        def recorded(model: GraphLanguageModel, prompts: Sequence[np.ndarray], *rest: Any) -> torch.Tensor:
            (self.training if model.training else self.others).extend(prompts)
            return forward(model, prompts, *rest)

        monkeypatch.setattr(GraphLanguageModel, "states_at", recorded)


def users_and_items(prompt: np.ndarray, user_count: int) -> tuple[int, set[int]]:
    nodes = node_of(prompt[prompt < 0])
    (user,) = nodes[nodes < user_count]
    return int(user), set((nodes[nodes >= user_count] - user_count).tolist())


def task_of(context: StageContext) -> FinetuningTask:
    model = context.model(context.embeddings(serving=False), adapters=True)
    aligned = context.artefacts.get("align")
    if aligned is not None:
        load_own_tensors(model, aligned.file("model.safetensors"))
    return FinetuningTask(
        model,
        context.user_prompts(model.language_model.tokenizer),
        Examples(context.train, context.holdout, context.recipe.finetune, context.recipe.seed),
        context.train,
        context.validation,
        context.recipe.finetune,
        aligned=aligned is not None,
        inference_batch=16,
        seed=0,
    )


# -------------------------------------------------------------------------------------- targets stay hidden


@pytest.mark.parametrize("loss", ["first", "positions"])
@pytest.mark.parametrize("holdout", [[], [NO_HOLDOUT]])
def test_a_target_never_stands_in_its_own_prompt(
    toy_context: Any, monkeypatch: pytest.MonkeyPatch, holdout: list[str], loss: str
) -> None:
    context = toy_context(*holdout, f"finetune.loss={loss}")
    task = task_of(context)
    recorder = PromptRecorder(monkeypatch)
    task.module.train()
    examples = []
    for epoch in range(EPOCHS):
        for batch in task.batches(epoch):
            task.loss(batch)
            examples += batch
    assert len(recorder.training) == len(examples) >= EPOCHS * 58
    for example, prompt in zip(examples, recorder.training, strict=True):
        user, items = users_and_items(prompt, context.train.user_count)
        own = set(context.train.of(user).tolist())
        assert user == example.user
        assert len(example.targets) > 0
        assert not items & set(example.targets)
        assert items | set(example.targets) == own


def test_with_a_holdout_the_stage_shows_no_hidden_item_of_a_user_in_any_training_prompt(
    tiny_recipe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the stage itself, so that warm start, batches and losses are all of the product's making."""
    recorder = PromptRecorder(monkeypatch)
    pipeline = Pipeline("toy", tiny_recipe("align.enabled=false"), Workspace(tmp_path), device="cpu")
    graph, _ = pipeline.ensure("pretrain-graph"), pipeline.ensure("finetune")
    prepared = pipeline.prepared()
    train_set, later = prepared.split("train"), [prepared.split("valid"), prepared.split("test")]
    hidden = load_file(graph.file(TARGETS))["targets"].astype(bool)
    assert len(recorder.training) >= 2 * 59
    for prompt in recorder.training:
        user, items = users_and_items(prompt, prepared.user_count)
        mine = slice(train_set.indptr[user], train_set.indptr[user + 1])
        assert items == set(train_set.items[mine][~hidden[mine]].tolist())
    for prompt in recorder.training + recorder.others:
        user, items = users_and_items(prompt, prepared.user_count)
        assert not any(items & set(split.of(user).tolist()) for split in later)


def edges(interactions: Interactions) -> set[tuple[int, int]]:
    return set(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True))


def test_with_a_holdout_no_target_is_an_edge_of_the_graph_the_alignment_sees(
    tiny_recipe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[tuple[int, int]]] = []

    class Recorded(InteractionGraph):
        def __init__(self, interactions: Interactions, folder: Path | None = None) -> None:
            super().__init__(interactions, folder)
            users, items = self.data["user", "interacts", "item"].edge_index.tolist()
            trained.append(set(zip(users, items, strict=True)))

    monkeypatch.setattr(glta_cli.graph.pretraining, "InteractionGraph", Recorded)
    pipeline = Pipeline("toy", tiny_recipe(), Workspace(tmp_path), device="cpu")
    artefact = pipeline.ensure("pretrain-graph")
    train_set = pipeline.prepared().split("train")
    hidden = load_file(artefact.file(TARGETS))["targets"].astype(bool)
    targets = set(zip(train_set.users[hidden].tolist(), train_set.items[hidden].tolist(), strict=True))

    full, alignment = trained
    assert full == edges(train_set)
    assert targets
    assert not alignment & targets
    assert alignment | targets == full


def test_stages_two_and_three_see_the_encoder_without_targets_and_serving_the_whole_graph(toy_context: Any) -> None:
    context = toy_context()
    artefact = context.artefacts["pretrain-graph"]
    held, full = load_file(artefact.file(ALIGNMENT_GRAPH)), load_file(artefact.file(FULL_GRAPH))
    assert_array_equal(context.embeddings(serving=False).users, held["users"])
    assert_array_equal(context.embeddings(serving=True).users, held["served_users"])
    assert_array_equal(context.embeddings(serving=True).items, held["served_items"])
    for other in (held["served_users"], full["users"]):
        assert not np.allclose(held["users"], other, atol=1e-3)


def test_without_a_holdout_the_whole_graph_serves_everywhere(toy_context: Any) -> None:
    context = toy_context(NO_HOLDOUT)
    artefact = context.artefacts["pretrain-graph"]
    assert context.holdout is None
    assert not artefact.has(ALIGNMENT_GRAPH)
    for serving in (False, True):
        assert_array_equal(context.embeddings(serving=serving).users, load_file(artefact.file(FULL_GRAPH))["users"])


# ------------------------------------------------------------------------------------------------- examples


def test_with_a_holdout_the_targets_are_the_same_every_epoch_in_another_order(toy_context: Any) -> None:
    context = toy_context()
    examples = Examples(context.train, context.holdout, FinetuneSettings(), seed=0)
    first, second = ({e.user: e for e in examples.of_epoch(epoch)} for epoch in (0, 1))
    assert list(first) != list(second)
    assert first.keys() == second.keys() == set(range(60))
    assert all(set(first[user].targets) == set(second[user].targets) for user in first)
    assert any(first[user].targets.tolist() != second[user].targets.tolist() for user in first)


def test_without_a_holdout_every_epoch_draws_its_targets_anew(random_interactions: Any) -> None:
    train_set = random_interactions(30, 40)
    examples = Examples(train_set, None, FinetuneSettings(target_share=0.3), seed=0)
    drawn = [{e.user: e for e in examples.of_epoch(epoch)} for epoch in range(3)]
    for epoch in drawn:
        for user, example in epoch.items():
            count = len(train_set.of(user))
            assert abs(len(example.targets) - 0.3 * count) <= 0.5
            assert set(example.context) | set(example.targets) == set(train_set.of(user))
    assert any(set(drawn[0][user].targets) != set(drawn[1][user].targets) for user in drawn[0])
    again = Examples(train_set, None, FinetuneSettings(target_share=0.3), seed=0).of_epoch(2)
    assert all(example.targets.tolist() == drawn[2][example.user].targets.tolist() for example in again)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_user_keeps_something_to_show_and_gives_something_to_predict(share: float) -> None:
    train_set = Interactions.from_pairs([0, 0, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2], user_count=3, item_count=3)
    examples = Examples(train_set, None, FinetuneSettings(target_share=share), seed=0).of_epoch(0)
    assert sorted(example.user for example in examples) == [0, 2]
    assert all(len(example.context) and len(example.targets) for example in examples)


def test_where_nobody_has_two_items_there_is_nothing_to_learn() -> None:
    train_set = Interactions.from_pairs([0, 1], [0, 1], user_count=2, item_count=2)
    with pytest.raises(GltaError, match="no user has items enough"):
        Examples(train_set, None, FinetuneSettings(), seed=0)


def test_every_user_with_targets_stands_in_exactly_one_batch_of_an_epoch(toy_context: Any) -> None:
    task = task_of(toy_context())
    first, again, second = (task.batches(epoch) for epoch in (0, 0, 1))
    for batches in (first, second):
        assert sorted(example.user for batch in batches for example in batch) == list(range(60))
        assert max(map(len, batches)) == 16
    assert [[e.user for e in batch] for batch in first] == [[e.user for e in batch] for batch in again]
    assert [[e.user for e in batch] for batch in first] != [[e.user for e in batch] for batch in second]


# --------------------------------------------------------------------------------------------- what is trained


def moved_by_training(context: StageContext, tmp_path: Any) -> set[str]:
    task = task_of(context)
    before = {name: value.detach().clone() for name, value in task.module.named_parameters()}
    # The last epoch is always the best, so that what training did is kept.
    qualities = count()
    task.validate = lambda: {task.metric: float(next(qualities))}
    train(task, TrainingSettings(epochs=2, learning_rate=1e-2), state_folder=tmp_path, description="fine-tune")
    return {name for name, value in task.module.named_parameters() if not torch.equal(value, before[name])}


def parts(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("settings", [[], ["finetune.head=linear", "finetune.loss=positions", NO_HOLDOUT]])
def test_user_projector_and_head_move_item_projector_and_language_model_do_not(
    toy_context: Any, tmp_path: Any, settings: list[str]
) -> None:
    moved = moved_by_training(toy_context(*settings), tmp_path)
    assert parts(moved) == {"user_projector", "head"}
    assert "user_projector.linear.weight" in moved
    assert {"head.project.weight", "head.weight"} & moved


def test_without_item_alignment_both_projectors_are_trained(toy_context: Any, tmp_path: Any) -> None:
    context = toy_context("align.enabled=false", stage="encode-items", name="wo-ia")
    assert parts(moved_by_training(context, tmp_path)) == {"user_projector", "item_projector", "head"}


def test_without_user_tokens_the_user_projector_rests(toy_context: Any, tmp_path: Any) -> None:
    assert parts(moved_by_training(toy_context("finetune.user_token=false"), tmp_path)) == {"head"}


def test_of_the_language_model_only_adapters_are_trained(toy_context: Any, tmp_path: Any) -> None:
    moved = moved_by_training(toy_context("backbone.lora.rank=2"), tmp_path)
    assert parts(moved) == {"user_projector", "head", "language_module"}
    of_the_model = {name for name in moved if name.startswith("language_module")}
    assert of_the_model
    assert all("lora_" in name for name in of_the_model)


def test_the_item_projector_is_carried_over_from_stage_2(toy_context: Any, run_toy: Any) -> None:
    context = toy_context(stage="finetune", name="carried")
    aligned, tuned = (load_file(context.artefacts[stage].file("model.safetensors")) for stage in ("align", "finetune"))
    for name in ("item_projector.linear.weight", "item_projector.linear.bias"):
        assert_array_equal(aligned[name], tuned[name])
    assert not np.array_equal(aligned["head.bias"], tuned["head.bias"])


def test_training_finds_the_users_taste(toy_context: Any, tmp_path: Any) -> None:
    task = task_of(toy_context())
    before = task.validate()["ndcg@10"]
    settings = TrainingSettings(epochs=10, learning_rate=1e-2)
    progress = train(task, settings, state_folder=tmp_path, description="fine-tune")
    assert progress.best_metric > before + 0.1
    assert progress.history[-1]["loss"] < progress.history[1]["loss"]


# ------------------------------------------------------------------------- profile and prediction: what is asked


class Recorder:
    """A language model that remembers what it is asked."""

    hidden_size = 1
    module = torch.nn.Identity()

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self.prompts += prompts
        return ["drama, war"] * len(prompts)


def test_words_are_generated_from_training_items_only_and_never_from_targets(
    tiny_recipe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("interests.profile=true", "interests.prediction=true", "interests.items=20")
    backbone = backbone_of(recipe)
    recorder = Recorder(backbone.load(torch.device("cpu")).tokenizer)

    def load(device: torch.device, *, full_depth: bool = False) -> LanguageModel:
        assert full_depth, "generation needs every layer"
        return recorder  # type: ignore[return-value]

    monkeypatch.setattr(backbone, "load", load)
    monkeypatch.setattr(glta_cli.stages.describe_users, "backbone_of", lambda recipe: backbone)
    pipeline = Pipeline("toy", recipe, Workspace(tmp_path), device="cpu")
    pipeline.ensure("describe-users")
    prepared = pipeline.prepared()
    targets = load_file(pipeline.ensure("pretrain-graph").file("targets.safetensors"))["targets"].astype(bool)
    whole = prepared.split("train")
    visible = Interactions.from_pairs(
        whole.users[~targets], whole.items[~targets], user_count=whole.user_count, item_count=whole.item_count
    )
    expected = {frozenset(prepared.titles[item] for item in visible.of(user)) for user in range(60)}
    asked = {frozenset(re.findall(r"(?:Space film|Garden book) \d+", prompt)) for prompt in recorder.prompts}
    assert asked == expected
    assert len(recorder.prompts) == 2 * len(expected)
    for user in range(59):
        later = {prepared.titles[item] for name in ("valid", "test") for item in prepared.split(name).of(user)}
        later |= {prepared.titles[item] for item in whole.of(user)[targets[whole.users == user]]}
        own = frozenset(prepared.titles[item] for item in visible.of(user))
        assert later
        assert own in asked
        assert not own & later
