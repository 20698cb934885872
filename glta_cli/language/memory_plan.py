"""What a recipe's language model will take, counted and estimated before anything is loaded (`--dry-run`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from glta_cli.core.errors import InputError
from glta_cli.language.model_memory import (
    FLOAT32,
    activation_bytes,
    attended_bytes,
    logit_bytes,
    meta_model,
    parameter_count,
    weight_bytes,
)
from glta_cli.language.whitening import most_directions
from glta_cli.plugin.adapters import attach_adapters
from glta_cli.plugin.architecture import choose_dtype, exit_after
from glta_cli.plugin.registry import installed
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options, generates, reads_text, text_reader
from glta_cli.recipe.target_folds import fold_count

# Adam keeps two moments beside the weight itself and its gradient, which are float32.
BYTES_TRAINED = {"float32": 4 * FLOAT32, "bfloat16": 3 * FLOAT32}
CHARACTERS_PER_TOKEN = 3


# ----------------------------------------------------------------------------------------------- the result


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one training stage, on all devices together; `None` where the catalogue's size is unknown.

    Attributes:
        stage: align or finetune.
        batch_size: prompts a step.
        prompt_tokens: assumed longest prompt.
        trainable: parameters that stage trains.
        weights: of the language model.
        trained: weights, gradients and Adam's moments of the trainable parameters.
        activations: what the backward pass keeps.
        tables: graph embeddings and item vectors.
        logits: the loss's item logits and what is computed from them; see `logit_bytes`.
    """

    stage: str
    batch_size: int
    prompt_tokens: int
    trainable: int
    weights: int
    trained: int
    activations: int
    tables: int | None
    logits: int | None

    @property
    def total(self) -> int:
        """Bytes of everything known."""
        return self.weights + self.trained + self.activations + (self.tables or 0) + (self.logits or 0)


@dataclass(frozen=True)
class Plan:
    """Parameter counts, exact but for a tied head over items without texts, and a memory estimate.

    Attributes:
        backbone: its name in the recipe.
        layers: transformer layers that run, after an early exit.
        dtype: of the frozen weights.
        devices: over which `device_map` spreads the weights.
        parameters: counts by part; the head's is None while the number of items is unknown.
        text_backbone: name and parameters of the one that reads item texts in the language model's place, loaded by
            encode-items alone and so in no other count; None where there is none.
        stages: align and finetune.
        assumptions: what the estimate takes for granted, as sentences.
    """

    backbone: str
    layers: int
    dtype: str
    devices: int
    parameters: dict[str, int | None]
    text_backbone: tuple[str, int] | None
    stages: tuple[StageMemory, ...]
    assumptions: tuple[str, ...]

    @property
    def total_parameters(self) -> int:
        return sum(count for count in self.parameters.values() if count is not None)

    def bytes_per_device(self, stage: StageMemory) -> int:
        """Of the fullest device: its share of the layers, and everything that is not spread."""
        spread = stage.weights + stage.activations
        return math.ceil(spread / self.devices) + stage.total - spread

    def rows(self, *, memory: bool = True) -> Iterator[tuple[str, str]]:
        """Label and formatted value, in the order they are read.

        Args:
            memory: with what is known of it before the data are; without it where every stage's is told.
        """
        yield "backbone", f"{self.backbone}, {self.layers} layers, {self.dtype}"
        for name, count in self.parameters.items():
            yield f"parameters: {name}", "unknown until prepared" if count is None else f"{count:,}"
        yield "parameters: total", f"{self.total_parameters:,}"
        if self.text_backbone is not None:
            name, count = self.text_backbone
            yield "text.backbone", f"{name}, {count:,} parameters, for encode-items alone"
        for stage in self.stages:
            yield f"{stage.stage}: trainable parameters", f"{stage.trainable:,}"
            yield f"{stage.stage}: batch", f"{stage.batch_size} prompts of up to {stage.prompt_tokens} tokens"
            if not memory:
                continue
            for part in ("weights", "trained", "activations", "tables", "logits"):
                yield f"{stage.stage}: {part}", _gibibytes(getattr(stage, part))
            label = f"{stage.stage}: memory per device"
            yield label, f"{_gibibytes(self.bytes_per_device(stage))} on {self.devices} device(s)"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`; bytes as integers."""
        return {
            "backbone": self.backbone,
            "layers": self.layers,
            "dtype": self.dtype,
            "devices": self.devices,
            "parameters": {**self.parameters, "total": self.total_parameters},
            "text_backbone": self.text_backbone and dict(zip(("name", "parameters"), self.text_backbone, strict=True)),
            "stages": {
                stage.stage: {
                    **{name: value for name, value in vars(stage).items() if name != "stage"},
                    "total": stage.total,
                    "per_device": self.bytes_per_device(stage),
                }
                for stage in self.stages
            },
            "assumptions": list(self.assumptions),
        }


def plan_table(plan: Plan, *, memory: bool = True) -> Table:
    """The plan as a table of two columns, and below it what its `memory` takes for granted."""
    table = Table(title="Plan", show_header=False, caption="\n".join(plan.assumptions) if memory else None)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    ends = ("total", "per device") if memory else ("total", "batch")
    for label, value in plan.rows(memory=memory):
        table.add_row(label, value, end_section=label.endswith(ends))
    return table


# ----------------------------------------------------------------------------------------------- the counting


def plan(recipe: Recipe, *, users: int | None, items: int | None, graph_dimension: int) -> Plan:
    """Count parameters and estimate memory; the model is built on torch's meta device, weightless.

    The counts are exact but for the tied head, whose item vectors are counted with all directions that so many texts
    leave of `text.dimensions`: as if the items had texts, and none were hidden.

    Args:
        users: U, or None before the dataset is prepared.
        items: I, or None before the dataset is prepared; the head then counts for nothing.
        graph_dimension: d of the graph embeddings.

    Raises:
        InputError: an early exit deeper than the model, or adapters for layers it has not.
    """
    settings = recipe.backbone
    config = architecture_of(recipe)
    if settings.layers is not None:
        exit_after(config, settings.layers)
    text = config.get_text_config()
    dtype = choose_dtype(settings.dtype, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    language = _language_model(config, settings, dtype) if reads_text(recipe) else _no_language_model(text, settings)

    hidden: int = text.hidden_size
    user_projector = graph_dimension * hidden + hidden
    item_projector = _token_columns(recipe, items, graph_dimension) * hidden + hidden
    head = _head_parameters(recipe, items, hidden, graph_dimension)
    tables = _table_bytes(recipe, users, items, graph_dimension)

    align, finetune = recipe.align, recipe.finetune
    own = user_projector + item_projector + (head or 0)

    def memory(
        stage: str,
        batch_size: int,
        tokens: int,
        *,
        loaded: int,
        trainable: int,
        activations: int,
        logits: int | None,
    ) -> StageMemory:
        moments = (align if stage == "align" else finetune).training.moments
        return StageMemory(
            stage=stage,
            batch_size=batch_size,
            prompt_tokens=tokens,
            trainable=trainable,
            weights=language.weights,
            # A projector this stage leaves as it is lies there too, as weights alone.
            trained=BYTES_TRAINED[moments] * trainable + FLOAT32 * (loaded - trainable),
            activations=batch_size * activations,
            tables=tables,
            logits=logits,
        )

    rows = finetune.positions if finetune.loss == "positions" else 1
    carried_over = align.enabled
    stages = [
        memory(
            "finetune",
            finetune.training.batch_size,
            _finetune_tokens(recipe),
            loaded=own + language.adapters,
            trainable=user_projector + (0 if carried_over else item_projector) + (head or 0) + language.adapters,
            activations=_finetune_tokens(recipe) * language.adapted_activations,
            logits=None
            if items is None
            else logit_bytes(finetune.training.batch_size * rows, items, finetune.softmax_items),
        )
    ]
    if align.enabled:
        batch, shown = align.training.batch_size, align.most_items
        aligned = memory(
            "align",
            batch,
            _align_tokens(recipe),
            loaded=own,
            trainable=item_projector + (head or 0),
            # No gradient flows into the descriptions, which stand before the items.
            activations=shown * language.activations + (_align_tokens(recipe) - shown) * language.attended,
            # Stage 2 scores the whole catalogue, however large.
            logits=None if items is None else logit_bytes(batch * shown, items),
        )
        stages.insert(0, aligned)
    return Plan(
        backbone=settings.name,
        layers=text.num_hidden_layers,
        dtype=str(dtype).removeprefix("torch."),
        devices=max(1, torch.cuda.device_count()) if settings.device_map else 1,
        parameters={
            "language model": language.parameters,
            "adapters": language.adapters,
            "user projector": user_projector,
            "item projector": item_projector,
            "head": head,
        },
        text_backbone=_text_backbone(recipe, dtype),
        stages=tuple(stages),
        assumptions=(
            "Trained parameters and their gradients are float32, Adam's two moments as training.moments says: together "
            "16 bytes each, or 12 with bfloat16.",
            f"A prompt's words are taken for one token per {CHARACTERS_PER_TOKEN} characters.",
            "Not counted: the allocator's reserve and temporary buffers, about a tenth; the GPU's context.",
        ),
    )


@dataclass(frozen=True)
class _LanguageModel:
    """What the language model takes by itself.

    Attributes:
        parameters: without adapters.
        adapters: parameters of theirs.
        weights: bytes.
        activations: bytes kept for the backward pass per token, without adapters, as stage 2 loads the model.
        adapted_activations: with them, as stage 3 does.
        attended: bytes kept per token that no gradient flows into.
    """

    parameters: int
    adapters: int
    weights: int
    activations: int
    adapted_activations: int
    attended: int


def _language_model(config: Any, settings: BackboneSettings, dtype: torch.dtype) -> _LanguageModel:
    model = meta_model(config, dtype)
    parameters, weights = parameter_count(model), weight_bytes(model, settings)
    frozen = activation_bytes(model, settings, dtype)
    attended = frozen if settings.gradient_checkpointing else attended_bytes(model, dtype)
    if settings.lora is None:
        return _LanguageModel(parameters, 0, weights, frozen, frozen, attended)
    adapters = parameter_count(attach_adapters(model, settings.lora)) - parameters
    return _LanguageModel(parameters, adapters, weights, frozen, activation_bytes(model, settings, dtype), attended)


def _no_language_model(text: Any, settings: BackboneSettings) -> _LanguageModel:
    """Nothing but the graph tokens themselves, in float32.

    Raises:
        InputError: adapters are asked for.
    """
    if settings.lora is not None:
        raise InputError(
            "there are no layers to adapt", location="backbone.lora", hint="leave it out: --set backbone.lora=null"
        )
    tokens = FLOAT32 * text.hidden_size
    return _LanguageModel(0, 0, 0, tokens, tokens, tokens)


def _text_backbone(recipe: Recipe, dtype: torch.dtype) -> tuple[str, int] | None:
    name = recipe.text.backbone
    if name is None:
        return None
    ranks = generates(installed().find("backbone", name).declaration)
    return name, parameter_count(meta_model(architecture_of(text_reader(recipe)), dtype, generates=ranks))


# ---------------------------------------------------------------------------------------- what a recipe says


def architecture_of(recipe: Recipe) -> Any:
    """The configuration of the recipe's backbone with all its layers, before any weights are read."""
    component = installed().find("backbone", recipe.backbone.name)
    backbone = component.build(recipe.backbone.name, recipe.backbone, component_options(recipe, "backbone"))
    return backbone.architecture()


def _head_parameters(recipe: Recipe, items: int | None, hidden: int, graph_dimension: int) -> int | None:
    """Linear: h × I + I. Tied: h × D + D + I, where an item's vector is its graph and its text vector."""
    if items is None:
        return None
    if recipe.finetune.head == "linear":
        return hidden * items + items
    columns = _item_columns(recipe, items, graph_dimension)
    return hidden * columns + columns + items


def _table_bytes(recipe: Recipe, users: int | None, items: int | None, graph_dimension: int) -> int | None:
    if users is None or items is None:
        return None
    tied = recipe.finetune.head == "tied"
    item_vectors = items * _item_columns(recipe, items, graph_dimension) if tied else 0
    tables = users * graph_dimension + items * _token_columns(recipe, items, graph_dimension) + item_vectors
    return FLOAT32 * fold_count(recipe) * tables  # with folds, those of every encoder


def _item_columns(recipe: Recipe, items: int | None, graph_dimension: int) -> int:
    """D of the tied head's item vectors."""
    return graph_dimension + (_text_columns(recipe, items) if recipe.text.vectors else 0)


def _token_columns(recipe: Recipe, items: int | None, graph_dimension: int) -> int:
    """Width of what item tokens are projected from."""
    return graph_dimension + (_text_columns(recipe, items) if recipe.finetune.item_tokens == "graph+text" else 0)


def _text_columns(recipe: Recipe, items: int | None) -> int:
    """D of the vectors of so many item texts; as of many where nobody knows how many there are."""
    return recipe.text.dimensions if items is None else most_directions(recipe.text.dimensions, items)


def _finetune_tokens(recipe: Recipe) -> int:
    words = recipe.prompts.system + recipe.prompts.recommendation
    generated = recipe.interests.new_tokens * (recipe.interests.profile + recipe.interests.prediction)
    placeholders = recipe.finetune.positions - 1 if recipe.finetune.loss == "positions" else 0
    return _word_tokens(words) + 1 + recipe.finetune.context_items + generated + placeholders


def _align_tokens(recipe: Recipe) -> int:
    words = recipe.prompts.system + recipe.prompts.alignment
    return _word_tokens(words) + recipe.align.most_items * (recipe.align.description_tokens + 1)


def _word_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def _gibibytes(size: int | None) -> str:
    if size is None:
        return "unknown until prepared"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"
