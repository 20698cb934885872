"""What each stage will compute under a recipe, counted from the prepared data: the basis of an estimate of its time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from glta_cli.data.prepared import SplitName
from glta_cli.graph.pretraining_work import PER_LOGIT, TrainingWork, next_item_operations, training_operations
from glta_cli.language.model_work import ModelWork, mean_tokens, model_work, word_tokens
from glta_cli.language.whitening import most_directions
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.fused_terms import ENCODER_AND_LANGUAGE, LANGUAGE, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options, encoder_dimension, head_takes_texts, targets_share, text_reader
from glta_cli.recipe.target_folds import fold_count
from glta_cli.serving.fusion import MOST_USERS
from glta_cli.stages.linear_rows import candidate_count, low_rank_step, times_solved, tried_rows
from glta_cli.training.work import Part

# Of an encoder that does not say how often it propagates.
PROPAGATIONS = 3
# Of a sequence encoder whose settings do not say how much it reads.
HISTORY_READ = 50
# Chat marks and line ends around a wording.
MARKS = 12
# Frozen weights pass a gradient on and take none: the way back costs as much as the way there. With adapters every
# layer's input is kept too, and two small products more; with checkpointing the way there is gone twice.
FORWARD_AND_BACK, WITH_ADAPTERS, RECOMPUTED = 2.0, 2.3, 1.0
# Rankings of the users that weights are chosen on: what that takes, scores included, as so many of those it counts.
CHOICES_OF_PAIR, CHOICES = 2.0, 16.0
# A token that is written waits for all weights to come from memory, whatever the batch.
WRITTEN_TOKEN = 2.5
# On a processor packed weights are unpacked in each pass: so long as it computes for this many tokens, however many
# it has. Beside a batch that is read it is little, beside one token of each prompt that is continued it is most.
# Measured of bitsandbytes' NF4 at 2,048 × 5,504 in float32, one thread: 190 operations a weight.
UNPACKED = 95.0
# A Cholesky decomposition and the inverse of it, in double precision: I³ operations that take twice as long.
SOLVING = 2.0
# Times a row is solved for that chooses its own numbers on validation, and once more with those.
FITS_A_ROW = 6
# Steps of weights of low rank: 64 a pass at most, and about so many passes until validation gains no more.
LOW_RANK_STEPS = 64 * 8
# Of an item that is scored by a history and ranked: rows of weights are read from memory, one for each item of it.
PER_RANKED_ITEM = 400.0


class CountedData(Protocol):
    """What is counted of a dataset, prepared or not yet; as `PreparedDataset` has it."""

    @property
    def user_count(self) -> int: ...

    @property
    def item_count(self) -> int: ...

    @property
    def has_text(self) -> bool: ...

    @property
    def texts(self) -> Sequence[str]: ...

    def split(self, name: SplitName) -> Interactions: ...


class Counted:
    """A recipe, its data, and who computes: what all stages are counted by.

    Args:
        device: what computes.
        processes: that train together, each on its share of a batch; what is read, each reads in whole batches.
        train: the training interactions, where they are there already: of a large log to read them twice is gigabytes.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: CountedData,
        device: torch.device,
        *,
        processes: int = 1,
        train: Interactions | None = None,
    ) -> None:
        self.recipe = recipe
        self.prepared = prepared
        self.device = device
        self.processes = processes
        self._train = train

    @cached_property
    def train(self) -> Interactions:
        return self.prepared.split("train") if self._train is None else self._train

    @cached_property
    def validated(self) -> int:
        """Users with a validation item."""
        return int((self.prepared.split("valid").counts > 0).sum())

    @cached_property
    def model(self) -> ModelWork:
        return model_work(self.recipe)

    @property
    def columns(self) -> int:
        """D of the head's item vectors, at most."""
        texts = most_directions(self.recipe.text.dimensions, self.prepared.item_count)
        with_texts = head_takes_texts(self.recipe) and self.prepared.has_text
        return encoder_dimension(self.recipe) + (texts if with_texts else 0)

    @property
    def user_prompt_tokens(self) -> float:
        """Of stage 3, on average, without the start that all prompts share and that is computed once."""
        settings, interests = self.recipe.finetune, self.recipe.interests
        shown = np.minimum(settings.context_items, self.train.counts * (1 - self.recipe.graph.alignment_holdout))
        words = interests.new_tokens * (interests.profile + interests.prediction)
        return 1 + MARKS + float(shown.mean()) + words

    def batches_read(self, users: int) -> int:
        """Batches in which the language model reads so many users."""
        return math.ceil(users / self.recipe.evaluate.batch_size)

    def ranking(self, users: int) -> float:
        """Operations of scoring the catalogue for so many users, and finding the best."""
        return users * self.prepared.item_count * (2.0 * self.columns + PER_LOGIT / 10)


def encoded_items(counted: Counted) -> list[Part]:
    recipe = text_reader(counted.recipe)
    tokens = counted.prepared.item_count * mean_tokens(counted.prepared.texts, recipe.text.tokens)
    batches = math.ceil(counted.prepared.item_count / recipe.text.batch_size)
    return [Part("encode item texts", tokens * model_work(recipe).layers, longest_first=True, batches=batches)]


def pretrained_graph(counted: Counted) -> list[Part]:
    recipe, graph = counted.recipe, counted.recipe.graph
    options = component_options(recipe, "encoder")
    layers = getattr(options, "layers", PROPAGATIONS)
    in_order = installed().find("encoder", graph.encoder).reads_histories()

    def training(share: float) -> TrainingWork:
        if in_order:
            return next_item_operations(
                graph,
                histories=np.rint(counted.train.counts * share).astype(np.int64),
                items=counted.prepared.item_count,
                ranked=min(counted.validated, graph.validation_users),
                layers=layers,
                dimension=encoder_dimension(recipe),
                longest=getattr(options, "longest_history", HISTORY_READ),
            )
        return training_operations(
            graph,
            users=counted.prepared.user_count,
            items=counted.prepared.item_count,
            edges=round(len(counted.train) * share),
            ranked=min(counted.validated, graph.validation_users),
            layers=layers,
            dimension=encoder_dimension(recipe),
        )

    parts = [_part(f"{graph.encoder} on the whole graph", training(1.0))]
    if graph.refit:
        # It is not validated: nothing is held out any more.
        work = training(1.0)
        parts.append(Part(f"{graph.encoder} on training and validation", work.steps, whole=min(work.whole, work.steps)))
    if targets_share(recipe):
        parts.append(_part(f"{graph.encoder} without stage 3's targets", training(1 - graph.alignment_holdout)))
    count = fold_count(recipe)
    parts += [
        _part(f"{graph.encoder} without fold {fold} of {count}", training(1 - 1 / count))
        for fold in range(2, count + 1)
    ]
    return parts


def _part(bar: str, work: TrainingWork) -> Part:
    return Part(bar, work.steps, work.validations, whole=work.whole)


def fitted_linear(counted: Counted) -> list[Part]:
    prepared, in_time = counted.prepared, counted.recipe.dataset.split.in_time
    items = prepared.item_count
    rows = tried_rows(counted.recipe, prepared.user_count, items, has_text=prepared.has_text)
    ranking = candidate_count(rows.names, in_time=in_time) * counted.validated * items * PER_RANKED_ITEM
    solved = times_solved(rows.names, items)
    learnt = LOW_RANK_STEPS * low_rank_step(rows.names, items)
    return [Part("fit linear rows", solved * FITS_A_ROW * SOLVING * float(items) ** 3 + learnt + ranking)]


def aligned(counted: Counted) -> list[Part]:
    align, items = counted.recipe.align, counted.prepared.item_count
    shown = (min(align.least_items, items) + min(align.most_items, items)) / 2
    # Two tokens more of each item: the end of its description's line, and its own.
    described = shown * (mean_tokens(counted.prepared.texts, align.description_tokens) + 1)
    forward = (described + shown + MARKS) * counted.model.layers
    # No gradient flows into the descriptions, which stand before the items.
    back = shown * counted.model.layers
    logits = shown * items * (6.0 * counted.columns + PER_LOGIT)
    epochs = align.training.epochs
    validations = 1 + math.ceil(epochs / align.training.validate_every)
    steps = epochs * align.prompts * (forward + back + logits)
    validated, batch = align.validation_prompts, align.training.batch_size
    # The head is started on the states of one batch.
    read = validations * validated + min(batch, validated)
    beside, batches = read * (forward + logits / 3), math.ceil(validated / batch)
    return [Part("align items", steps, beside, batches_beside=batches)]


def described_users(counted: Counted) -> list[Part]:
    recipe, interests = counted.recipe, counted.recipe.interests
    model = model_work(recipe, full_depth=True)
    questions = interests.profile + interests.prediction
    shown = float(np.minimum(interests.items, counted.train.counts * (1 - recipe.graph.alignment_holdout)).mean())
    described = shown * (mean_tokens(counted.prepared.texts, interests.description_tokens) + 3)
    asked = word_tokens(recipe.prompts.profile) + MARKS
    read = described + questions * asked  # what both questions describe is read once
    unpacked = UNPACKED if recipe.backbone.quantization != "none" and counted.device.type == "cpu" else 0.0
    of_token = WRITTEN_TOKEN * (model.layers + model.output) + unpacked / interests.batch_size * model.layers
    written = questions * interests.new_tokens * of_token
    operations = counted.prepared.user_count * (read * model.layers + written)
    batches = math.ceil(counted.prepared.user_count * questions / interests.batch_size)
    return [Part("profile and prediction words", operations, longest_first=True, batches=batches)]


def finetuned(counted: Counted) -> list[Part]:
    recipe, settings, prepared = counted.recipe, counted.recipe.finetune, counted.prepared
    users, layers = prepared.user_count, counted.model.layers
    rows = settings.positions if settings.loss == "positions" else 1
    tokens = counted.user_prompt_tokens
    backbone = recipe.backbone
    times = (
        FORWARD_AND_BACK if backbone.lora is None else WITH_ADAPTERS
    ) + RECOMPUTED * backbone.gradient_checkpointing
    logits = rows * min(prepared.item_count, settings.softmax_items) * (6.0 * counted.columns + PER_LOGIT)
    steps = settings.training.epochs * users * ((tokens + rows - 1) * layers * times + logits)
    ranked = min(counted.validated, settings.validation_users)
    validations = 1 + math.ceil(settings.training.epochs / settings.training.validate_every)
    beside = validations * (ranked * tokens * layers + counted.ranking(ranked))
    parts = [Part("fine-tune", steps, beside, batches_beside=counted.batches_read(ranked))]
    if settings.head == "tied" and rows == 1 and settings.warm_start_users:
        read = min(users, settings.warm_start_users)
        warm = Part("warm start", read * tokens * layers, longest_first=True, batches=counted.batches_read(read))
        parts.insert(0, warm)
    return parts


def indexed(counted: Counted) -> list[Part]:
    terms, users = terms_of(counted.recipe), counted.prepared.user_count
    ranked = min(counted.validated, MOST_USERS)
    choosing = 0.0 if len(terms) == 1 else CHOICES_OF_PAIR if terms == ENCODER_AND_LANGUAGE else CHOICES
    ranking = choosing * counted.ranking(ranked)
    if LANGUAGE not in terms:
        return [Part("choose fusion weights", ranking)]
    # Weights are chosen by training histories, by which users are read out once more where those at test hold more.
    split = counted.recipe.dataset.split
    again = ranked if (split.in_time or split.hides == "users") and len(terms) > 1 else 0
    return [_read_out(counted, users + again, ranking)]


def served(counted: Counted) -> list[Part]:
    # Which terms it holds is known once the index is there.
    return [_read_out(counted, counted.prepared.user_count)] if LANGUAGE in terms_of(counted.recipe) else []


def _read_out(counted: Counted, users: int, ranking: float = 0.0) -> Part:
    """Reading so many users out of the model; and, once that is done, so many operations of ranking."""
    settings = counted.recipe.finetune
    rows = 1 if settings.readout == "first" else settings.positions
    tokens = counted.user_prompt_tokens + rows - 1
    # Each row is found by a run of its own, that reads the prompt again.
    passes = rows if settings.readout == "autoregressive" else 1
    operations, batches = passes * users * tokens * counted.model.layers, counted.batches_read(users)
    return Part("read out users", operations, ranking, longest_first=True, batches=batches)
