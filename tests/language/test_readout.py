"""What is read out of the model for a user, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.model import GraphLanguageModel, load_own_tensors
from glta_cli.language.prompts import node_of
from glta_cli.language.readout import UserPrompts, encode_users
from glta_cli.ranking.top_k import mask_seen, rank_users
from glta_cli.serving.index import Index, LanguageScores
from glta_cli.stages.context import StageContext

SMOLLM2 = ["backbone.name=smollm2", "backbone.layers=4"]
EVERYONE = np.arange(60)


def readable(context: StageContext, *, prefix: bool = True) -> tuple[GraphLanguageModel, UserPrompts]:
    """The model and the prompts as the index stage puts them together, with words of unequal length."""
    model = context.model(context.embeddings(serving=True), adapters=True)
    artefact = context.artefacts.get("finetune")
    if artefact is not None:
        load_own_tensors(model, artefact.file("model.safetensors"))
    words = [", ".join(["word"] * (user % 5)) for user in range(context.prepared.user_count)]
    prompts = UserPrompts(
        model.language_model.tokenizer,
        context.prepared.user_ids,
        words,
        words[::-1],
        context.recipe.finetune,
        context.recipe.prompts,
    )
    if prefix:
        model.share_prefix(prompts.template.literals[0])
    return model, prompts


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        ([], "finetune"),
        (["finetune.head=linear"], "finetune"),
        pytest.param(SMOLLM2, "pretrain-graph", marks=pytest.mark.smollm2),
    ],
)
@pytest.mark.parametrize("autoregressive", [False, True])
def test_batch_size_and_padding_change_no_score(
    toy_context: Callable[..., StageContext], settings: list[str], stage: str, autoregressive: bool
) -> None:
    context = toy_context(*settings, stage=stage, name="batches")
    model, prompts = readable(context)
    found = [
        encode_users(
            model,
            prompts,
            context.train,
            EVERYONE[:21],
            rows=3,
            batch_size=size,
            autoregressive=autoregressive,
        )
        for size in (1, 7, 64)
    ]
    assert len({len(prompts.write(user, context.train.of(user))) for user in range(21)}) > 5
    items, bias = scoring_arrays(model.head)
    tolerance = 1e-4 * np.abs(found[0]).max()
    for other in found[1:]:
        assert_allclose(found[0][:, 0] @ items.T + bias, other[:, 0] @ items.T + bias, rtol=1e-5, atol=tolerance)
        # After a near tie another item would follow, and with it other rows.
        if not autoregressive:
            assert_allclose(found[0], other, rtol=1e-5, atol=tolerance)
    assert not np.allclose(found[0][0], found[0][1], atol=1e-3)


def test_the_order_of_users_and_a_shared_prefix_change_no_query(toy_context: Callable[..., StageContext]) -> None:
    context = toy_context(stage="finetune")
    (model, prompts), (plain, _) = readable(context), readable(context, prefix=False)
    users = np.random.default_rng(0).permutation(60)
    rows: dict[str, Any] = {"rows": 2, "batch_size": 8}
    ordered = encode_users(model, prompts, context.train, EVERYONE, **rows)
    assert_allclose(encode_users(model, prompts, context.train, users, **rows), ordered[users], rtol=1e-4, atol=1e-4)
    assert_allclose(encode_users(plain, prompts, context.train, EVERYONE, **rows), ordered, rtol=1e-4, atol=1e-4)


@pytest.mark.smollm2
def test_smollm2s_chat_template_ends_with_the_assistants_turn(toy_context: Callable[..., StageContext]) -> None:
    context = toy_context(*SMOLLM2, stage="pretrain-graph", name="chat")
    _, prompts = readable(context)
    ids = prompts.write(0, context.train.of(0))
    tail = prompts.tokenizer.decode(ids[np.flatnonzero(ids < 0)[-1] + 1 :].tolist())
    assert tail.rstrip().endswith("<|im_end|>\n<|im_start|>assistant")


# ------------------------------------------------------------------------------------------- lists from rows


def listed(scores: LanguageScores, users: np.ndarray, k: int, seen: Any) -> np.ndarray:
    return rank_users(scores.scorer(seen), users, k, seen)


def test_row_t_names_its_best_item_that_is_new(toy_context: Callable[..., StageContext]) -> None:
    """The list of readout `positions`, against the sentence that describes it."""
    train = toy_context().train
    generator = np.random.default_rng(0)
    rows, items = generator.normal(size=(60, 4, 6)), generator.normal(size=(40, 6))
    # Rows that almost agree, so that one row's best is often taken by an earlier one.
    rows = (rows[:, :1] + 0.1 * rows).astype(np.float32)
    bias = generator.normal(size=40).astype(np.float32)
    ranked = listed(LanguageScores(rows, items.astype(np.float32), bias), EVERYONE, 10, train)
    taken_before = 0
    for user in EVERYONE:
        seen, expected = set(train.of(user).tolist()), []
        for row in range(4):
            scores = rows[user, row] @ items.T + bias
            order = [int(item) for item in np.argsort(-scores) if item not in seen]
            best = next(item for item in order if item not in expected)
            taken_before += best != order[0]
            expected.append(best)
        first = [int(item) for item in np.argsort(-(rows[user, 0] @ items.T + bias)) if item not in seen]
        # Behind the rows the list goes on as the first row ranks it.
        expected += [item for item in first if item not in expected][:6]
        assert ranked[user].tolist() == expected
        assert len(set(expected)) == 10
    assert taken_before > 60


@pytest.mark.parametrize("batch_size", [2, 7])
def test_no_batch_holds_more_tokens_than_so_many_of_the_longest_prompts(
    toy_context: Callable[..., StageContext], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """The shared prefix included, whose keys and values lie in every row."""
    context = toy_context(stage="pretrain-graph")
    model, prompts = readable(context)
    batches: list[list[int]] = []
    forward = GraphLanguageModel.states_at

    def recorded(model: GraphLanguageModel, prompts: Any, *rest: Any) -> Any:
        batches.append([len(prompt) for prompt in prompts])
        return forward(model, prompts, *rest)

    monkeypatch.setattr(GraphLanguageModel, "states_at", recorded)
    encode_users(model, prompts, context.train, EVERYONE, rows=3, batch_size=batch_size)
    allowed = batch_size * max(map(max, batches))
    assert len(batches) > 1
    assert all(len(batch) * max(batch) <= allowed for batch in batches)


def test_more_rows_than_the_catalogue_has_items_are_no_error() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2, 9, 3)).astype(np.float32)
    scores = LanguageScores(rows, generator.normal(size=(4, 3)).astype(np.float32), np.zeros(4, np.float32))
    ranked = rank_users(scores.scorer(), np.arange(2), 9)
    assert np.sort(ranked, axis=1).tolist() == [[0, 1, 2, 3]] * 2


def test_the_autoregressive_readout_appends_the_items_it_chose(
    toy_context: Callable[..., StageContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = toy_context(stage="finetune")
    model, prompts = readable(context)
    given: list[list[np.ndarray]] = []
    forward = GraphLanguageModel.states_at

    def recorded(model: GraphLanguageModel, prompts: Any, *rest: Any) -> Any:
        given.append([np.array(prompt) for prompt in prompts])
        return forward(model, prompts, *rest)

    monkeypatch.setattr(GraphLanguageModel, "states_at", recorded)
    users = np.array([3])
    queries = encode_users(model, prompts, context.train, users, rows=4, batch_size=8, autoregressive=True)
    assert queries.shape[:2] == (1, 4)
    items, bias = scoring_arrays(model.head)
    chosen: list[int] = []
    for step, (ids,) in enumerate(given):
        assert_array_equal(ids[: len(given[0][0])], given[0][0])
        appended = node_of(ids[len(given[0][0]) :]) - context.prepared.user_count
        assert appended.tolist() == chosen
        scores = queries[:, step] @ items.T + bias
        mask_seen(scores, users, context.train)
        scores[0, chosen] = -np.inf
        chosen.append(int(scores[0].argmax()))
    assert len(given) == 4
    assert len(set(chosen)) == 4
    assert not set(chosen) & set(context.train.of(3).tolist())


# ------------------------------------------------------------------------------------------------ end to end


@pytest.mark.parametrize("readout", ["first", "positions", "autoregressive"])
def test_every_readout_ends_in_an_index_that_names_unseen_items(run_toy: Any, readout: str) -> None:
    loss = "positions" if readout == "positions" else "first"
    settings = (f"finetune.loss={loss}", f"finetune.readout={readout}", "finetune.fusion=false")
    pipeline = run_toy(*settings, name=f"readout-{readout}")
    index = Index(pipeline.ensure("index"))
    history = pipeline.prepared().history()
    ranked = rank_users(index.scorer(history), EVERYONE, 6, history)
    for user, row in zip(EVERYONE, ranked, strict=True):
        assert len(set(row)) == 6
        assert not set(row.tolist()) & set(history.of(user).tolist())


def test_the_readouts_share_one_trained_model(run_toy: Any) -> None:
    pipelines = [
        run_toy("finetune.loss=positions", f"finetune.readout={name}", name=f"shared-{name}")
        for name in ("first", "positions")
    ]
    first, second = (dict(p.status()) for p in pipelines)
    assert first["finetune"].fingerprint == second["finetune"].fingerprint
    assert first["index"].fingerprint != second["index"].fingerprint
