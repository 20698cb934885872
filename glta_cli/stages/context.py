"""What a running stage may use: the recipe, the prepared data, and what the stages before it published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.core.parquet import read_table
from glta_cli.core.tensors import read_arrays
from glta_cli.data.prepared import EverythingKnown, PreparedDataset
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import GllmHead, LinearHead, TiedHead
from glta_cli.language.model import GraphLanguageModel, NodeTables, token_features
from glta_cli.language.readout import UserPrompts
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import head_takes_texts, model_takes_texts, tokens_take_texts
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.fold_encoders import Folds, read_folds
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS as ALIGNMENT_PARAMETERS
from glta_cli.stages.parameter_files import FULL_PARAMETERS as FULL_PARAMETERS
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

FULL_GRAPH = "full.safetensors"
ALIGNMENT_GRAPH = "alignment.safetensors"
# The vectors of either on the graph of all that is known at test time, where that is more than the training graph.
FULL_AT_TEST = "full-at-test.safetensors"
ALIGNMENT_AT_TEST = "alignment-at-test.safetensors"
TARGETS = "targets.safetensors"
VECTORS = "vectors.safetensors"
WHITENING = "whitening.safetensors"
WORDS = "words.parquet"
MODEL = "model.safetensors"


@dataclass
class StageContext:
    """What a running stage may use: the recipe, and what the stages before it published.

    Attributes:
        artefacts: by stage.
        selected: in a refit, by stage, what chose on validation; `train` is then everything known. None elsewhere.
        starts: by stage, what an earlier training published that this one starts from.
    """

    recipe: Recipe
    workspace: Workspace
    device: torch.device
    artefacts: Mapping[str, Artefact]
    selected: Mapping[str, Artefact] | None = None
    starts: Mapping[str, Artefact] = field(default_factory=dict)

    @cached_property
    def prepared(self) -> PreparedDataset:
        kind = PreparedDataset if self.selected is None else EverythingKnown
        return kind(self.artefacts["prepare"])

    def epochs_selected(self, stage: str, *training: str) -> int | None:
        """In a refit, how many epochs were selected in this stage's training of that name; None elsewhere."""
        if self.selected is None:
            return None
        details: Any = self.selected[stage].details
        for name in training:
            details = details[name]
        return int(details["best_epoch"])

    @cached_property
    def texts(self) -> list[str]:
        """What is written about each item, by index, or about another one where the recipe shuffles texts.

        Items without a text keep none. Titles shown to people are `prepared.titles`, which stay true.
        """
        texts = self.prepared.texts
        if not self.recipe.text.shuffled:
            return texts
        items = np.flatnonzero(self.prepared.described)
        dealt = list(texts)
        for item, other in zip(items, items[derangement(len(items), (self.recipe.seed, 0))], strict=True):
            dealt[item] = texts[other]
        return dealt

    @cached_property
    def train(self) -> Interactions:
        return self.prepared.split("train")

    @cached_property
    def validation(self) -> Interactions:
        return self.prepared.split("valid")

    @cached_property
    def histories_at_test(self) -> Interactions:
        return self.prepared.histories_at_test()

    @cached_property
    def holdout(self) -> NDArray[np.bool_] | None:
        """Which training interactions are stage 3's targets, hidden from its graph; None without a holdout."""
        artefact = self.artefacts["pretrain-graph"]
        if not artefact.has(TARGETS):
            return None
        return read_arrays(artefact.file(TARGETS), "targets")["targets"].astype(bool)

    @cached_property
    def folds(self) -> Folds | None:
        """Stage 3's targets in folds, and the embeddings of an encoder that has not seen each; None without folds."""
        return read_folds(self.artefacts["pretrain-graph"])

    @cached_property
    def visible(self) -> Interactions:
        """Training interactions without the held-out targets: what prompts of training may be made of."""
        return self.train if self.holdout is None else self.train.where(~self.holdout)

    def embeddings(self, *, serving: bool) -> Embeddings:
        """The encoder behind stages 2 and 3, on the graph without targets or, for serving, on the whole one."""
        artefact = self.artefacts["pretrain-graph"]
        if not artefact.has(ALIGNMENT_GRAPH):
            return read_embeddings(artefact)
        users, items = ("served_users", "served_items") if serving else ("users", "items")
        stored = read_arrays(artefact.file(ALIGNMENT_GRAPH), users, items)
        return Embeddings(stored[users], stored[items])

    def embeddings_at_test(self) -> Embeddings:
        """Those that serve, on the graph of all that is known when the test is ranked."""
        artefact = self.artefacts["pretrain-graph"]
        if not artefact.has(ALIGNMENT_GRAPH):
            return read_embeddings(artefact, at_test=True)
        if not artefact.has(ALIGNMENT_AT_TEST):
            return self.embeddings(serving=True)
        return _stored_embeddings(artefact, ALIGNMENT_AT_TEST)

    def text_vectors(self) -> NDArray[np.float32]:
        """The whitened vectors of the item texts, [I, D], read anew each time."""
        return read_arrays(self.artefacts["encode-items"].file(VECTORS), "vectors")["vectors"]

    def node_tables(self, embeddings: Embeddings, texts: NDArray[np.float32] | None = None) -> NodeTables:
        """What the model knows users and items by, of these embeddings.

        Args:
            texts: the vectors of the items' texts, [I, D]; None for those of the items that were encoded.
        """
        if texts is None and "encode-items" in self.artefacts and model_takes_texts(self.recipe):
            texts = self.text_vectors()
        tied = texts if head_takes_texts(self.recipe) else None
        return NodeTables(
            torch.from_numpy(embeddings.users),
            token_features(embeddings.items, texts if tokens_take_texts(self.recipe) else None),
            None if self.recipe.finetune.head == "linear" else token_features(embeddings.items, tied),
        )

    def token_texts(self) -> NDArray[np.float32] | None:
        """The text vectors that item tokens are projected from beside the graph, [I, D]; None where they carry none."""
        return self.text_vectors() if tokens_take_texts(self.recipe) else None

    def item_vectors(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """What the tied head knows of each item: its embedding, and its text where there is any, [I, D]."""
        if "encode-items" not in self.artefacts or not head_takes_texts(self.recipe):
            return embeddings.items
        return np.concatenate([embeddings.items, self.text_vectors()], axis=1)

    def model(self, embeddings: Embeddings, *, adapters: bool) -> GraphLanguageModel:
        """A freshly initialised model around the recipe's language model, with its `adapters` or without."""
        torch.manual_seed(self.recipe.seed)
        backbone = self.recipe.backbone if adapters else self.recipe.backbone.model_copy(update={"lora": None})
        language_model = backbone_of(self.recipe.model_copy(update={"backbone": backbone})).load(self.device)
        head = self.head(language_model, embeddings)
        model = GraphLanguageModel(language_model, embeddings, head, self.token_texts())
        for name, module in model.named_children():
            # The backbone places its own weights, over several devices where the recipe says so.
            if name != "language_module":
                module.to(self.device)
        model.users, model.items = model.users.to(self.device), model.items.to(self.device)
        return model

    def head(self, language_model: LanguageModel, embeddings: Embeddings) -> GllmHead:
        if self.recipe.finetune.head == "linear":
            return LinearHead(language_model.hidden_size, self.prepared.item_count)
        counts = np.bincount(self.train.items, minlength=self.train.item_count)
        vectors = torch.from_numpy(self.item_vectors(embeddings))
        adjustment = self.recipe.finetune.popularity_adjustment
        return TiedHead(language_model.hidden_size, vectors, torch.from_numpy(counts), adjustment)

    def user_prompts(self, tokenizer: Any) -> UserPrompts:
        profiles, predictions = [""] * self.prepared.user_count, [""] * self.prepared.user_count
        artefact = self.artefacts.get("describe-users")
        if artefact is not None:
            words = read_table(artefact.file(WORDS), "profile", "prediction")
            profiles, predictions = words["profile"].to_list(), words["prediction"].to_list()
        return UserPrompts(
            tokenizer,
            self.prepared.user_ids,
            profiles,
            predictions,
            self.recipe.finetune,
            self.recipe.prompts,
            self.token_users,
        )

    @property
    def token_users(self) -> NDArray[np.int64]:
        """Whose token stands in each user's prompt, [U]: the user's own, or another's where they are shuffled."""
        count = self.prepared.user_count
        return derangement(count, (self.recipe.seed, 1)) if self.recipe.finetune.shuffled_users else np.arange(count)


def derangement(count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """A random cycle through 0..count-1, [count]: nothing stays where it is, unless there is but one."""
    order = np.random.default_rng(seed).permutation(count)
    moved = np.empty(count, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return moved


def together(first: Interactions, second: Interactions) -> Interactions:
    """The interactions of both, each user's of the second after those of the first; of the same users and items."""
    weights = None
    if first.weights is not None or second.weights is not None:
        ones = (np.ones(len(each), dtype=np.float32) for each in (first, second))
        given = (first.weights, second.weights)
        weights = np.concatenate([one if own is None else own for one, own in zip(ones, given, strict=True)])
    return Interactions.from_pairs(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        user_count=first.user_count,
        item_count=first.item_count,
        weights=weights,
    )


def read_embeddings(artefact: Artefact, *, at_test: bool = False) -> Embeddings:
    """The embeddings of the encoder trained on the whole training graph, or refitted on validation too.

    Args:
        at_test: on the graph of all that is known when the test is ranked, where that is more.
    """
    return _stored_embeddings(artefact, FULL_AT_TEST if at_test and artefact.has(FULL_AT_TEST) else FULL_GRAPH)


def _stored_embeddings(artefact: Artefact, name: str) -> Embeddings:
    stored = read_arrays(artefact.file(name), "users", "items")
    return Embeddings(stored["users"], stored["items"])
