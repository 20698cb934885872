"""Stage 2, item-text alignment: the item projector learns tokens the language model can match with descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.core.interruption import stop_if_asked
from glta_cli.core.world import team
from glta_cli.language.gllm import TiedHead
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.prompts import PromptTemplate, encode, encode_cut, node_token
from glta_cli.language.shared_batches import rounds
from glta_cli.recipe.schema import AlignSettings, PromptSettings
from glta_cli.training.data_parallel import dealt
from glta_cli.training.losses import Positives, catalogue_softmax_loss


@dataclass(frozen=True)
class AlignmentPrompt:
    """One prompt of stage 2.

    Attributes:
        ids: [L], item tokens negative.
        positions: [T], where the item tokens stand.
        labels: [T], the item each of them predicts.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


class AlignmentPrompts:
    """Draws items and writes the prompts: task line, descriptions in random order, item tokens."""

    def __init__(
        self,
        tokenizer: object,
        texts: Sequence[str],
        user_count: int,
        settings: AlignSettings,
        prompts: PromptSettings,
        among: NDArray[np.int64] | None = None,
    ) -> None:
        """Items `among` these alone are drawn, ascending [n]; None for all."""
        self.template = PromptTemplate(
            prompts.alignment,
            prompts.system,
            tokenizer,
            required=("descriptions", "items"),
            location="prompts.alignment",
        )
        self.descriptions = encode_cut(tokenizer, texts, settings.description_tokens)
        self.line_end = encode(tokenizer, "\n")
        self.user_count = user_count
        self.settings = settings
        self.among = among

    def draw(self, count: int, generator: np.random.Generator) -> list[AlignmentPrompt]:
        """`count` prompts, each of 8 to 12 (by default) different items."""
        catalogue = len(self.descriptions) if self.among is None else len(self.among)
        least = min(self.settings.least_items, catalogue)
        most = min(self.settings.most_items, catalogue)
        sizes = generator.integers(least, most + 1, count)
        return [self.write(self._some(catalogue, int(size), generator), generator) for size in sizes]

    def _some(self, catalogue: int, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        drawn = generator.choice(catalogue, size, replace=False)
        return drawn if self.among is None else self.among[drawn]

    def write(self, items: NDArray[np.int64], generator: np.random.Generator) -> AlignmentPrompt:
        """The prompt of the given items, in the order of their tokens."""
        described = generator.permutation(items)
        lines = [token for item in described for token in (*self.descriptions[item], *self.line_end)]
        tokens = [node_token(self.user_count + int(item)) for item in items]
        ids = self.template.fill({"descriptions": lines, "items": tokens})
        labels = described if self.settings.labels == "description_order" else items
        return AlignmentPrompt(ids, np.flatnonzero(ids < 0), labels)


class AlignmentTask:
    """Trains item projector and head; the language model, the user projector and the embeddings are frozen."""

    metric = "log_likelihood"

    def __init__(
        self, model: GraphLanguageModel, prompts: AlignmentPrompts, settings: AlignSettings, seed: int
    ) -> None:
        self.module = model
        self.prompts = prompts
        self.settings = settings
        self.seed = seed
        model.language_module.requires_grad_(False)
        model.user_projector.requires_grad_(False)
        model.share_prefix(prompts.template.literals[0])
        with torch.no_grad():
            # The prompts draw items uniformly: popularity, where the bias starts, says nothing about them.
            model.head.bias.zero_()
        # The generator of validation prompts can be no epoch's, so no training prompt is a validation prompt.
        self.validation = prompts.draw(settings.validation_prompts, np.random.default_rng((seed, 0, 1)))
        if isinstance(model.head, TiedHead):
            with torch.no_grad():
                model.head.standardize(self._states(self.validation[: settings.training.batch_size]))

    def batches(self, epoch: int) -> Sequence[list[AlignmentPrompt]]:
        generator = np.random.default_rng((self.seed, epoch))
        groups = self._grouped(self.prompts.draw(self.settings.prompts, generator))
        # Long prompts would otherwise always come last.
        return [groups[index] for index in generator.permutation(len(groups))]

    def share(self, batch: list[AlignmentPrompt], rank: int, size: int) -> tuple[list[AlignmentPrompt], float]:
        """Every `size`-th prompt of a batch, counted by their item tokens."""
        part, counts_for = dealt(len(batch), rank, size)
        return batch[part], counts_for * _tokens(batch[part]) / _tokens(batch)

    def loss(self, batch: list[AlignmentPrompt]) -> Tensor:
        return self._cross_entropy(*self._queries(batch))

    def _cross_entropy(self, queries: Tensor, labels: Tensor) -> Tensor:
        """Mean over queries [P, D] and the item each should name [P], against the whole catalogue."""
        head = self.module.head
        rows = torch.arange(len(labels), device=labels.device)
        among = None if self.prompts.among is None else torch.from_numpy(self.prompts.among).to(labels.device)
        return catalogue_softmax_loss(queries, head.item_matrix(), Positives(rows, labels), bias=head.bias, among=among)

    def validate(self) -> dict[str, float]:
        """Mean log-likelihood of the labels, and how often the label is first among the prompt's own items."""
        losses, right, total = 0.0, 0.0, 0.0
        batches = self._grouped(self.validation)
        with torch.no_grad():
            for place, counts_for in rounds(len(batches)):
                stop_if_asked()
                batch = batches[place]
                queries, labels = self._queries(batch)
                losses += counts_for * len(labels) * float(self._cross_entropy(queries, labels))
                right += counts_for * self._first_among_own(queries, batch)
                total += counts_for * len(labels)
        losses, right, total = team().summed([losses, right, total])
        return {"log_likelihood": -losses / total, "accuracy_in_prompt": right / total}

    def _first_among_own(self, queries: Tensor, batch: list[AlignmentPrompt]) -> int:
        """Number of queries [P, D] whose label scores highest among the items of its own prompt."""
        head = self.module.head
        items = head.item_matrix()
        right, start = 0, 0
        for prompt in batch:
            own = torch.from_numpy(np.sort(prompt.labels)).to(queries.device)
            among = queries[start : start + len(prompt.labels)] @ items[own].T + head.bias[own]  # [T, T]
            right += int((own[among.argmax(1)].cpu().numpy() == prompt.labels).sum())
            start += len(prompt.labels)
        return right

    def _queries(self, batch: list[AlignmentPrompt]) -> tuple[Tensor, Tensor]:
        """Queries [P, D] at all item tokens of a batch, and their labels [P]."""
        labels = np.concatenate([prompt.labels for prompt in batch])
        return self.module.head.queries(self._states(batch)), torch.from_numpy(labels).to(self.module.device)

    def _states(self, batch: list[AlignmentPrompt]) -> Tensor:
        """States [P, h] at all item tokens of a batch."""
        rows = np.repeat(np.arange(len(batch)), [len(prompt.positions) for prompt in batch])
        columns = np.concatenate([prompt.positions for prompt in batch])
        return self.module.states_at([prompt.ids for prompt in batch], rows, columns)

    def _grouped(self, prompts: list[AlignmentPrompt]) -> list[list[AlignmentPrompt]]:
        """Batches of prompts of similar length, so that little of the work is padding."""
        size = self.settings.training.batch_size
        ordered = sorted(prompts, key=lambda prompt: len(prompt.ids))
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _tokens(prompts: Sequence[AlignmentPrompt]) -> int:
    return sum(len(prompt.labels) for prompt in prompts)
