"""Stage `encode-items`: item texts to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import counted
from glta_cli.core.tensors import read_arrays, write_tensors
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.prompt_lengths import longest_text
from glta_cli.language.text_vectors import text_vectors
from glta_cli.language.whitening import HALF, Whitening, are_few
from glta_cli.recipe.schema import GraphSettings, Recipe
from glta_cli.recipe.selection import (
    encoder_needs_text_vectors,
    model_takes_texts,
    require_reader,
    text_reader,
    tokens_take_texts,
)
from glta_cli.stages.backbone import backbone_of, frozen_backbone_settings, model_identity
from glta_cli.stages.cold_nodes import foretells_hidden
from glta_cli.stages.context import VECTORS, WHITENING, StageContext
from glta_cli.stages.linear_rows import may_read_texts
from glta_cli.stages.stage import Stage, dealt_texts, done_before
from glta_cli.stages.texts import require_text
from glta_cli.workspace.artefact import Artefact


class EncodeItems(Stage):
    """Item texts to whitened vectors, for the tied head, item tokens and whoever else asks for them."""

    name = "encode-items"
    inputs = ("prepare",)
    shared = True
    selects = False
    shortening = ("text.tokens",)

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the head, item tokens, the encoder or a linear row take them, or hidden items are foretold by them.

        Raises:
            InputError: item tokens or the encoder need item texts, and the dataset has none or the backbone reads none.
        """
        if recipe.finetune.enabled and tokens_take_texts(recipe):
            require_text(prepared, "finetune.item_tokens=graph+text", "finetune.item_tokens=graph")
        if not encoder_needs_text_vectors(recipe):
            for_model = recipe.finetune.enabled and model_takes_texts(recipe)
            return prepared.has_text and (for_model or may_read_texts(recipe) or foretells_hidden(recipe))
        encoder, switch = f"the encoder '{recipe.graph.encoder}'", f"graph.encoder={GraphSettings().encoder}"
        require_text(prepared, encoder, switch)
        require_reader(recipe, encoder, f"leave it out: --set {switch}")
        return True

    def loading(self, recipe: Recipe) -> Recipe:
        return text_reader(recipe)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "backbone": frozen_backbone_settings(self.loading(recipe)),
            # Which backbone that is, and with which weights, stands in its own settings.
            "text": recipe.text.model_dump(
                mode="json", exclude={"backbone", "options", "weights", "batch_size", "shuffled", "vectors"}
            ),
            **dealt_texts(recipe),
        }

    def settings_on(self, recipe: Recipe, prepared: PreparedDataset) -> dict[str, Any]:
        """With how far the vectors of a small catalogue are whitened; what was published of larger ones stays found."""
        settings, few = self.settings(recipe), are_few(texts_to_learn(prepared), recipe.text.dimensions)
        return {**settings, "whitening": HALF} if few else settings

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        return longest_text(tokenizer, lambda: prepared.texts, recipe.text.tokens, most)

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        found: list[int] = []
        plain = plain_text_vectors(context, context.texts, tell_found=found.append)
        start = context.starts.get("encode-items")
        # What learnt from the vectors of before goes on from them: they stay what they were, turn and scale included.
        whitening = own_whitening(context, plain) if start is None else published_whitening(start)
        vectors = whitening.apply(plain)
        write_tensors(folder / VECTORS, {"vectors": vectors})
        write_tensors(folder / WHITENING, {"mean": whitening.mean, "directions": whitening.directions})
        return {"items": len(vectors), "dimensions": vectors.shape[1], **done_before(found)}


def own_whitening(context: StageContext, plain: NDArray[np.float32]) -> Whitening:
    """Found on the vectors of all item texts, [I, h], but those of items that are hidden from what is learnt."""
    dimensions, texts = context.recipe.text.dimensions, texts_to_learn(context.prepared)
    if not are_few(texts, dimensions):
        return Whitening.of(_of_learnt(context, plain), dimensions)
    say(f"  {counted(texts, 'item text')}, few for {counted(dimensions, 'direction')} (text.dimensions): half whitened")
    return Whitening.of(_of_learnt(context, plain), dimensions, HALF)


def _of_learnt(context: StageContext, plain: NDArray[np.float32]) -> NDArray[np.float32]:
    learnt = context.prepared.items_to_learn
    return plain if learnt is None else plain[learnt]


def texts_to_learn(prepared: PreparedDataset) -> int:
    """How many item texts a whitening is found on."""
    learnt = prepared.items_to_learn
    return prepared.item_count if learnt is None else len(learnt)


def plain_text_vectors(
    context: StageContext, texts: Sequence[str], *, tell_found: Callable[[int], object] = lambda count: None
) -> NDArray[np.float32]:
    """What the recipe's reader makes of texts, before they are whitened: [n] -> [n, h]; those read before are kept."""
    recipe = text_reader(context.recipe)
    backbone = backbone_of(recipe)
    return text_vectors(
        partial(backbone.load, context.device),
        model_identity(recipe, context.device),
        texts,
        recipe.text,
        context.workspace.folder("encodings"),
        tell_found=tell_found,
    )


def later_text_vectors(context: StageContext, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of texts that came after the stage was published, by its own whitening: [n] -> [n, D]."""
    return whitening_now(context).apply(plain_text_vectors(context, texts))


def whitening_now(context: StageContext) -> Whitening:
    """The whitening the published vectors are of; computed again from their texts where 0.1 published them."""
    artefact = context.artefacts["encode-items"]
    if artefact.has(WHITENING):
        return published_whitening(artefact)
    before, published = plain_text_vectors(context, context.texts), context.text_vectors()
    # As many directions as were kept then, however small the catalogue.
    found = Whitening.of(_of_learnt(context, before), published.shape[1])
    return found.turned_to(before, published)


def published_whitening(artefact: Artefact) -> Whitening:
    """The whitening a published stage made its vectors by."""
    stored = read_arrays(artefact.file(WHITENING), "mean", "directions")
    return Whitening(stored["mean"], stored["directions"])
