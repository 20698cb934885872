"""Stage 2: what its prompts hold, what they ask for, and what is trained."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from glta_backbones.byte_tokenizer import byte_tokenizer
from numpy.testing import assert_array_equal

from glta_cli.core.errors import InputError
from glta_cli.language.alignment import AlignmentPrompts, AlignmentTask
from glta_cli.language.prompts import node_of
from glta_cli.recipe.schema import AlignSettings, PromptSettings
from glta_cli.training.loop import TrainingSettings, train

TITLES = [f"title {item:02}" for item in range(30)]
USER_COUNT = 9


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


def written(tokenizer: Any, titles: list[str] = TITLES, **settings: Any) -> AlignmentPrompts:
    return AlignmentPrompts(tokenizer, titles, USER_COUNT, AlignSettings(**settings), PromptSettings())


def described(tokenizer: Any, ids: np.ndarray) -> list[int]:
    """The items whose descriptions stand in the prompt, in their order."""
    return [int(number) for number in re.findall(r"title (\d\d)", tokenizer.decode(ids[ids >= 0].tolist()))]


def tokens(ids: np.ndarray) -> list[int]:
    """The items whose tokens stand in the prompt, in their order."""
    return (node_of(ids[ids < 0]) - USER_COUNT).tolist()


@pytest.mark.parametrize("labels", ["description_order", "item_order"])
def test_each_labelling_asks_for_its_own_order(tokenizer: Any, labels: str) -> None:
    reordered = 0
    for prompt in written(tokenizer, labels=labels).draw(50, np.random.default_rng(0)):
        texts, items = described(tokenizer, prompt.ids), tokens(prompt.ids)
        assert sorted(texts) == sorted(items)
        assert 8 <= len(set(items)) == len(items) <= 12
        assert prompt.labels.tolist() == (texts if labels == "description_order" else items)
        assert_array_equal(prompt.ids[prompt.positions] < 0, True)
        assert_array_equal(np.flatnonzero(prompt.ids < 0), prompt.positions)
        reordered += texts != items
    assert reordered == 50


def test_task_line_descriptions_and_item_tokens_stand_in_this_order(tokenizer: Any) -> None:
    (prompt,) = written(tokenizer).draw(1, np.random.default_rng(1))
    before = tokenizer.decode(prompt.ids[: prompt.positions[0]].tolist())
    listed = "\n".join(TITLES[item] for item in described(tokenizer, prompt.ids))
    assert before == (f"You recommend items.\nPut these descriptions in the order of the items.\n{listed}\n\nItems: ")
    assert_array_equal(np.diff(prompt.positions), 1)


def test_descriptions_are_cut_by_tokens(tokenizer: Any) -> None:
    long = [f"{title} and much more besides" for title in TITLES]
    (prompt,) = written(tokenizer, long, description_tokens=8).draw(1, np.random.default_rng(1))
    text = tokenizer.decode(prompt.ids[prompt.ids >= 0].tolist())
    assert "title" in text
    assert "and" not in text


def test_a_catalogue_smaller_than_a_prompt_is_shown_whole(tokenizer: Any) -> None:
    for prompt in written(tokenizer, TITLES[:3]).draw(5, np.random.default_rng(0)):
        assert sorted(tokens(prompt.ids)) == [0, 1, 2]


def test_a_missing_slot_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"prompts\.alignment: the slot \{descriptions\} is missing"):
        AlignmentPrompts(tokenizer, TITLES, 1, AlignSettings(), PromptSettings(alignment="Sort {items}"))


@pytest.fixture
def task(toy_context) -> AlignmentTask:
    context = toy_context(stage="encode-items")
    model = context.model(context.embeddings(serving=False), adapters=False)
    prompts = AlignmentPrompts(
        model.language_model.tokenizer,
        context.prepared.texts,
        context.prepared.user_count,
        context.recipe.align,
        context.recipe.prompts,
    )
    return AlignmentTask(model, prompts, context.recipe.align, seed=0)


def test_epochs_differ_and_are_a_function_of_their_number(task: AlignmentTask) -> None:
    def drawn(epoch: int) -> list[list[int]]:
        return [prompt.ids.tolist() for batch in task.batches(epoch) for prompt in batch]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    validation = [prompt.ids.tolist() for prompt in task.validation]
    assert not any(prompt in validation for epoch in range(5) for prompt in drawn(epoch))


def test_a_batch_holds_prompts_of_similar_length_and_an_epoch_every_prompt_once(task: AlignmentTask) -> None:
    batches = task.batches(0)
    drawn = task.prompts.draw(task.settings.prompts, np.random.default_rng((task.seed, 0)))
    found = [prompt.ids.tolist() for batch in batches for prompt in batch]
    assert sorted(found) == sorted(prompt.ids.tolist() for prompt in drawn)
    spans = sorted((min(lengths), max(lengths)) for lengths in ([len(p.ids) for p in batch] for batch in batches))
    assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(spans))


def test_item_projector_and_head_are_trained_and_nothing_else_moves(task: AlignmentTask, tmp_path) -> None:
    before = {name: value.detach().clone() for name, value in task.module.named_parameters()}
    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-2)
    train(task, settings, state_folder=tmp_path, description="align")
    moved = {name for name, value in task.module.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert {name.split(".")[0] for name in moved} == {"item_projector", "head"}
    assert "item_projector.linear.weight" in moved


def test_training_raises_the_likelihood_it_selects_by(task: AlignmentTask, tmp_path) -> None:
    before = task.validate()
    settings = TrainingSettings(epochs=6, batch_size=8, learning_rate=1e-2)
    train(task, settings, state_folder=tmp_path, description="align")
    after = task.validate()
    # The head starts at a uniform guess over the catalogue.
    assert before["log_likelihood"] == pytest.approx(-np.log(len(task.module.items)), abs=0.1)
    assert after["log_likelihood"] > before["log_likelihood"] + 0.05
    assert 0 <= after["accuracy_in_prompt"] <= 1


def test_the_validation_likelihood_does_not_depend_on_the_batch_size(task: AlignmentTask) -> None:
    found = []
    for size in (1, 5, 64):
        training = task.settings.training.model_copy(update={"batch_size": size})
        task.settings = task.settings.model_copy(update={"training": training})
        found.append(task.validate())
    assert found[0]["log_likelihood"] == pytest.approx(found[1]["log_likelihood"], abs=1e-5)
    assert found[0]["log_likelihood"] == pytest.approx(found[2]["log_likelihood"], abs=1e-5)
    assert found[0]["accuracy_in_prompt"] == found[1]["accuracy_in_prompt"] == found[2]["accuracy_in_prompt"]


def test_validation_is_the_plain_formula_over_all_logits(task: AlignmentTask) -> None:
    found = task.validate()
    head = task.module.head
    likelihoods, right = [], []
    for prompt in task.validation:
        rows = np.zeros(len(prompt.positions), dtype=np.int64)
        with torch.no_grad():
            states = task.module.states_at([prompt.ids], rows, prompt.positions)
            logits = head.queries(states) @ head.item_matrix().T + head.bias  # [T, I]
        likelihoods += logits.log_softmax(dim=1)[torch.arange(len(rows)), torch.from_numpy(prompt.labels)].tolist()
        own = np.sort(prompt.labels)
        right += (own[logits[:, own].argmax(1).numpy()] == prompt.labels).tolist()
    assert found["log_likelihood"] == pytest.approx(np.mean(likelihoods), abs=1e-5)
    assert found["accuracy_in_prompt"] == np.mean(right)
