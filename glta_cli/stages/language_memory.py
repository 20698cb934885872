"""What the stages with a language model have in memory, moment by moment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from glta_cli.language.model_memory import FLOAT32, logit_bytes
from glta_cli.language.model_work import word_tokens
from glta_cli.ranking.top_k import BLOCK
from glta_cli.recipe.fused_terms import LANGUAGE, LINEAR, terms_of
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.recipe.selection import text_reader, tokens_take_texts
from glta_cli.stages.loaded_model import LoadedModel, loaded_model
from glta_cli.stages.memory_moments import BYTES, Moment, Parts, Sizes, characters_of, moment, trained_bytes
from glta_cli.stages.workloads import MARKS

DOUBLE = 8
# Arrays of scores [BLOCK, I] at once: as they come, in order, and what finds the best of them; one more a term fused.
RANKED = 3
# Keys and values of what stands before the tokens of a pass: as they were, and joined with those of the pass.
JOINED = 2
# Where a wording is filled in.
SLOT = re.compile(r"\{\w+\}")
# Of a text's token, in lists and arrays; and of a text, the objects of its tokens, its vector and what that is kept by.
LISTED, OBJECTS = 16, 300
# Of vectors [n, h] in float32: while texts are read, one; while they are written, that, one in order, its bytes and
# those of the file; while they are whitened one, and two in float64.
READ_VECTORS, WRITTEN_VECTORS, WHITENED_VECTORS = 1, 4, 5
# Of a chat's marks around a wording, those before its first words: whose message follows, twice; behind it are an end
# and an answer's beginning. A tokenizer of bytes has none.
MARKS_BEFORE, MARKS_BEHIND = 8, 6


# --------------------------------------------------------------------------------------------------- the stages


def encoded_items(sizes: Sizes) -> Iterator[Moment]:
    """Texts are read in batches, their vectors written, and whitened."""
    recipe = text_reader(sizes.recipe)
    model = loaded_model(sizes, recipe)
    mean, longest = sizes.text_tokens(recipe.text.tokens, model.vocabulary)
    read = min(recipe.text.batch_size, sizes.items) * longest * model.read
    vectors = FLOAT32 * sizes.items * model.hidden
    texts = sizes.data + sizes.texts + sizes.items * (LISTED * mean + OBJECTS)
    beside = {"data": texts, "vocabulary": model.words}
    yield _loading(model, beside)
    yield moment({**beside, "vectors": READ_VECTORS * vectors}, weights=model.weights, activations=read)
    yield moment({**beside, "vectors": WRITTEN_VECTORS * vectors}, weights=model.weights)
    yield moment({**beside, "vectors": WHITENED_VECTORS * vectors + 3 * DOUBLE * model.hidden**2})


def aligned(sizes: Sizes) -> Iterator[Moment]:
    """Descriptions are read without gradients; behind them the items, with them but in validation.

    What several processes validate they take in whole batches.
    """
    recipe, settings = sizes.recipe, sizes.recipe.align
    model = loaded_model(sizes, recipe)
    whole, shown = settings.training.batch_size, min(settings.most_items, sizes.items)
    batch = sizes.share(whole)
    mean, _ = sizes.text_tokens(settings.description_tokens, model.vocabulary)
    described = shown * (mean + 1)
    start = _start_tokens(sizes, recipe.prompts.alignment, model)
    trained = _item_projector(sizes, model) + _head(sizes, model)
    texts = sizes.data + sizes.texts + sizes.items * (LISTED * mean + OBJECTS)
    beside = {"data": texts, "vocabulary": model.words}
    ready = _ready(sizes, model, trained, settings.training)
    held = {"weights": model.weights, "trained": ready, "catalogue": sizes.node_tables}
    yield _loading(model, beside)
    kept, read = (described + start) * model.written, described * model.read
    yield moment(beside, **held, activations=whole * read, keys_and_values=whole * kept)
    named = {"activations": whole * shown * model.read, "keys_and_values": whole * JOINED * kept}
    yield moment(beside, **held, **named, freed=whole * read)
    yield _training(
        sizes,
        model,
        beside,
        prompts=batch,
        tokens=shown,
        whole=start + described + shown,
        # What was read is there beside what it is joined to.
        keys_and_values=(described + start) * (model.written + model.continued),
        trained=trained,
        logits=logit_bytes(batch * shown, sizes.items),
        training=settings.training,
        freed=0 if recipe.backbone.gradient_checkpointing else batch * read,
    )


def finetuned(sizes: Sizes) -> Iterator[Moment]:
    """Users are read for the warm start and for validation, and trained on in smaller batches."""
    recipe, settings = sizes.recipe, sizes.recipe.finetune
    model = loaded_model(sizes, recipe, adapters=True)
    if settings.shard_catalogue:
        model = replace(model, rows=sizes.share(sizes.items))
    rows = settings.positions if settings.loss == "positions" else 1
    batch = min(sizes.share(settings.training.batch_size), sizes.users)
    hidden_share = recipe.graph.alignment_holdout or settings.target_share
    trained = _user_projector(sizes, model) + _head(sizes, model) + model.parameters
    trained += 0 if recipe.align.enabled and sizes.prepared.has_text else _item_projector(sizes, model)
    beside: Parts = {"data": sizes.data, "vocabulary": model.words}
    yield _loading(model, beside)
    if settings.head == "tied" and rows == 1 and settings.warm_start_users:
        yield _regression(sizes, model, beside, trained)
    yield from _reading(sizes, model, beside, trained)
    start = _start_tokens(sizes, recipe.prompts.recommendation, model)
    tokens = _user_tokens(sizes, sizes.shown(1 - hidden_share, batch), model)
    yield _training(
        sizes,
        model,
        beside,
        prompts=batch,
        # Of what stands before the first place that is asked for, the last layer gives keys and values alone.
        tokens=tokens * (1 - 1 / max(1, model.depth)) + rows,
        whole=start + tokens + rows,
        keys_and_values=start * model.written + (start + tokens) * model.continued,
        trained=trained,
        logits=logit_bytes(batch * rows, model.rows, settings.softmax_items),
        training=settings.training,
    )
    yield moment(
        {**beside, "ranking": RANKED * FLOAT32 * BLOCK * sizes.items},
        weights=model.weights,
        catalogue=sizes.node_tables,
        trained=_ready(sizes, model, trained, settings.training),
    )


def indexed(sizes: Sizes) -> Iterator[Moment]:
    """Users are read out; then the model is let go, and the weights of the terms are chosen."""
    terms, settings = terms_of(sizes.recipe), sizes.recipe.finetune
    rows = 1 if settings.readout == "first" else settings.positions
    queries = FLOAT32 * sizes.users * rows * sizes.columns if LANGUAGE in terms else 0
    linear = FLOAT32 * sizes.items**2 if LINEAR in terms else 0
    fused = RANKED + len(terms)
    tables = FLOAT32 * ((sizes.users + sizes.items) * sizes.dimension + sizes.items * sizes.columns)
    beside: Parts = {"data": sizes.data, "user rows": 2 * queries}
    if LANGUAGE in terms:
        model = loaded_model(sizes, sizes.recipe, adapters=True)
        beside["vocabulary"] = model.words
        yield _loading(model, beside)
        yield from _reading(sizes, model, beside, 0)
    yield moment(
        {**beside, "catalogue": 2 * tables, "linear": linear, "ranking": fused * FLOAT32 * BLOCK * sizes.items}
    )


def served(sizes: Sizes) -> Iterator[Moment]:
    """As the index, from everything known."""
    return indexed(sizes)


def described_users(sizes: Sizes) -> Iterator[Moment]:
    """Questions about one user share the descriptions: run once, then kept for each answer as it grows."""
    recipe, settings = sizes.recipe, sizes.recipe.interests
    model = loaded_model(sizes, recipe, whole=True)
    questions = settings.profile + settings.prediction
    mean, _ = sizes.text_tokens(settings.description_tokens, model.vocabulary)
    described = min(settings.items, int(sizes.train.counts.max(initial=0))) * (mean + 3)
    asked = word_tokens(recipe.prompts.profile) + MARKS
    rows = min(settings.batch_size, questions * sizes.users)
    branches = -(-rows // max(1, questions))
    room = described + asked + settings.new_tokens
    beside = {"data": sizes.data + 2 * sizes.texts, "vocabulary": model.words}
    yield _loading(model, beside)
    yield moment(
        beside,
        weights=model.weights,
        activations=branches * described * model.read,
        keys_and_values=branches * room * model.written,
    )
    yield moment(
        beside,
        weights=model.weights,
        activations=rows * asked * model.read + rows * model.vocabulary * FLOAT32,
        keys_and_values=(rows + branches / 30) * room * model.written,
    )


# ------------------------------------------------------------------------------------------------------ moments


def _loading(model: LoadedModel, beside: Mapping[str, float]) -> Moment:
    """All weights are there, and still where they come from."""
    return moment({**beside, **model.loading}, weights=model.weights)


def _training(
    sizes: Sizes,
    model: LoadedModel,
    beside: Mapping[str, float],
    *,
    prompts: int,
    tokens: float,
    whole: float,
    keys_and_values: float,
    trained: int,
    logits: int,
    training: TrainingSettings,
    freed: float = 0,
) -> Moment:
    """A step of so many prompts.

    Args:
        freed: bytes of what was computed before without gradients.
        tokens: of each, into which a gradient flows.
        whole: tokens of a prompt that is run as one, as all are where activations are computed again.
        keys_and_values: bytes of those a prompt goes on after.
    """
    again = sizes.recipe.backbone.gradient_checkpointing
    return moment(
        beside,
        weights=model.weights,
        trained=_ready(sizes, model, trained, training),
        activations=prompts * (whole if again else tokens) * model.kept,
        keys_and_values=0 if again else prompts * keys_and_values,
        catalogue=sizes.node_tables + logits,
        freed=freed,
    )


def _reading(sizes: Sizes, model: LoadedModel, beside: Parts, trained: int) -> Iterator[Moment]:
    """A batch of users read without gradients, whose longest prompts show all they may; then what is asked of each."""
    recipe = sizes.recipe
    prompts = min(recipe.evaluate.batch_size, sizes.users)
    tokens = _user_tokens(sizes, sizes.shown(1.0, prompts), model)
    start = _start_tokens(sizes, recipe.prompts.recommendation, model)
    held = {
        "weights": model.weights,
        "trained": _ready(sizes, model, trained, recipe.finetune.training),
        "catalogue": sizes.node_tables,
    }
    kept = prompts * (tokens + start) * model.written
    yield moment(beside, **held, activations=prompts * tokens * model.read, keys_and_values=kept)
    yield moment(beside, **held, activations=prompts * model.read, keys_and_values=JOINED * kept)


def _regression(sizes: Sizes, model: LoadedModel, beside: Parts, trained: int) -> Moment:
    """States of the users that start the head, and what a ridge regression makes of them in double precision."""
    settings = sizes.recipe.finetune
    users = min(settings.warm_start_users, sizes.users)
    read = users * (2 * FLOAT32 + 3 * DOUBLE) * model.hidden + users * (FLOAT32 + 3 * DOUBLE) * sizes.columns
    return moment(
        {**beside, "regression": read + 4 * DOUBLE * model.hidden**2},
        weights=model.weights,
        trained=_ready(sizes, model, trained, settings.training),
        catalogue=sizes.node_tables,
    )


def _ready(sizes: Sizes, model: LoadedModel, trained: int, training: TrainingSettings) -> int:
    """Bytes of what the stage trains, by settings of its own, and of projectors and head that it does not."""
    all_there = _user_projector(sizes, model) + _item_projector(sizes, model) + _head(sizes, model) + model.parameters
    return trained_bytes(trained, training) + FLOAT32 * max(0, all_there - trained)


def _user_tokens(sizes: Sizes, shown: int, model: LoadedModel) -> float:
    """Tokens of a user's prompt behind the start that all share."""
    interests = sizes.recipe.interests
    words = interests.new_tokens * (interests.profile + interests.prediction)
    said = sizes.recipe.prompts.recommendation.split("}", 1)[-1]
    return 1 + _marks(model, MARKS_BEHIND) + shown + words + len(SLOT.sub("", said)) / characters_of(model.vocabulary)


def _start_tokens(sizes: Sizes, wording: str, model: LoadedModel) -> float:
    """Tokens that all prompts of a wording start with."""
    first = sizes.recipe.prompts.system + wording.split("{", 1)[0]
    return _marks(model, MARKS_BEFORE) + len(first) / characters_of(model.vocabulary)


def _marks(model: LoadedModel, count: int) -> int:
    return count if model.vocabulary > BYTES else 0


def _user_projector(sizes: Sizes, model: LoadedModel) -> int:
    return (sizes.dimension + 1) * model.hidden


def _item_projector(sizes: Sizes, model: LoadedModel) -> int:
    texts = sizes.text_columns if tokens_take_texts(sizes.recipe) else 0
    return (sizes.dimension + texts + 1) * model.hidden


def _head(sizes: Sizes, model: LoadedModel) -> int:
    if sizes.recipe.finetune.head == "linear":
        return (model.hidden + 1) * model.rows
    return (model.hidden + 1) * sizes.columns + sizes.items
