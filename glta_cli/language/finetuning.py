"""Stage 3, user-item alignment: the model learns to name the items a user will like, and ranks them for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.graph.pretraining import SELECTION_METRIC, validation_users
from glta_cli.language.batching import length_batches
from glta_cli.language.gllm import TiedHead, scoring_arrays
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.readout import UserPrompts, encode_users, prompt_queries, prompt_states
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import FinetuneSettings
from glta_cli.training.losses import Positives, catalogue_softmax_loss


@dataclass(frozen=True)
class Example:
    """A user's training example: context items shown, target items to predict; no item is in both.

    Attributes:
        weights: along the targets, float32: what each counts for; None where all count the same.
    """

    user: int
    context: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


class Examples:
    """Splits each user's training items into context and targets.

    Where a holdout is given, its items are the targets, every epoch the same, and the graph never saw them.
    Without one, a random `target_share` of each user's items is, drawn anew every epoch.
    """

    def __init__(
        self, train: Interactions, holdout: NDArray[np.bool_] | None, settings: FinetuneSettings, seed: int
    ) -> None:
        self.train = train
        self.holdout = holdout
        self.settings = settings
        self.seed = seed
        least = 2 if holdout is None else 1
        counts = train.counts if holdout is None else np.bincount(train.users[holdout], minlength=train.user_count)
        self.users = np.flatnonzero(counts >= least)  # [n], the users there is something to predict for
        if not len(self.users):
            raise GltaError("no user has items enough to hide one", hint="lower dataset.kcore or add interactions")

    def of_epoch(self, epoch: int) -> list[Example]:
        """One example for each user, in random order."""
        generator = np.random.default_rng((self.seed, epoch))
        return [self._of(int(user), generator) for user in generator.permutation(self.users)]

    def _of(self, user: int, generator: np.random.Generator) -> Example:
        items = self.train.of(user)
        if self.holdout is None:
            hidden = np.zeros(len(items), dtype=bool)
            count = min(max(1, round(self.settings.target_share * len(items))), len(items) - 1)
            hidden[generator.choice(len(items), count, replace=False)] = True
        else:
            hidden = self.holdout[self.train.indptr[user] : self.train.indptr[user + 1]]
        targets = generator.permutation(np.flatnonzero(hidden))
        weights = self.train.relative_weights
        own = None if weights is None else weights[self.train.indptr[user] + targets]
        return Example(user, items[~hidden], items[targets], own)


class FinetuningTask:
    """Trains user projector, head and adapters; the item projector too where stage 2 was left out.

    The epoch is selected by the ranking of the first row, whatever the readout: one model, three readouts.
    """

    metric = SELECTION_METRIC

    def __init__(
        self,
        model: GraphLanguageModel,
        prompts: UserPrompts,
        examples: Examples,
        seen: Interactions,
        validation: Interactions,
        settings: FinetuneSettings,
        *,
        aligned: bool,
        inference_batch: int,
        seed: int,
        catalogue: NDArray[np.int64] | None = None,
    ) -> None:
        """Targets are told from items of the `catalogue` alone, ascending [n]; None for all."""
        self.module = model
        self.prompts = prompts
        self.examples = examples
        self.seen = seen
        self.validation = validation
        self.settings = settings
        self.inference_batch = inference_batch
        self.catalogue = None if catalogue is None else torch.from_numpy(catalogue).to(model.device)
        model.item_projector.requires_grad_(not aligned)
        model.user_projector.requires_grad_(settings.user_token)
        model.share_prefix(prompts.template.literals[0])
        users = validation_users(validation)
        shuffled = np.random.default_rng((seed, 0, 1)).permutation(users)
        self.validation_users = np.sort(shuffled[: settings.validation_users])

    def warm_start(self, temperature: float) -> None:
        """Start the tied head where it answers with the user's own vector, and the mean text of what is shown.

        The untrained user token already carries the user's embedding through the frozen layers; a ridge
        regression finds it in the states. Training then starts from a sensible ranking, not from noise.

        Args:
            temperature: of the encoder's scores, which sets the scale of the logits.
        """
        head = self.module.head
        assert isinstance(head, TiedHead)
        examples = self.examples.of_epoch(0)[: self.settings.warm_start_users]
        written = [self.prompts.write(example.user, example.context) for example in examples]
        dimension = self.module.users.shape[1]
        states, targets = [], []
        shown = progress_bar(
            len(examples),
            "warm start",
            "users",
            step="this batch of users",
            kept="the warm start begins again, the stages before it are kept",
        )
        with torch.no_grad(), shown as bar:
            for rows in length_batches([len(prompt) for prompt in written], self.inference_batch):
                batch = [examples[row] for row in rows]
                prompts = [written[row] for row in rows]
                states.append(prompt_states(self.module, self.prompts, prompts, rows=1)[:, 0])  # [B, h]
                users = self.module.users[[example.user for example in batch]]  # [B, d]
                texts = torch.stack([_mean_text(head.items[:, dimension:], example.context) for example in batch])
                targets.append(torch.cat([users, texts], dim=1) / temperature)  # [B, D]
                bar.update(len(batch))
        # Neighbours in the sorted order resemble each other: shuffled, every tenth row is a fair sample.
        order = torch.from_numpy(np.random.default_rng(self.examples.seed).permutation(len(examples)))
        hidden = torch.cat(states)[order]
        head.standardize(hidden)
        head.fit(hidden, torch.cat(targets)[order])

    def batches(self, epoch: int) -> Sequence[list[Example]]:
        examples = self.examples.of_epoch(epoch)
        size = self.settings.training.batch_size
        # Examples of one length share a batch; whole batches are then shuffled back into random order.
        examples.sort(key=lambda example: min(len(example.context), self.settings.context_items))
        groups = [examples[start : start + size] for start in range(0, len(examples), size)]
        order = np.random.default_rng((self.examples.seed, epoch, 2)).permutation(len(groups))
        return [groups[index] for index in order]

    def loss(self, batch: list[Example]) -> Tensor:
        match self.settings.loss:
            case "first":
                return self._first_position_loss(batch)
            case "positions":
                return self._k_position_loss(batch)
            case other:
                assert_never(other)

    def _first_position_loss(self, batch: list[Example]) -> Tensor:
        """Every target against the catalogue, from the state at the end of the prompt."""
        queries = self._queries(batch, rows=1)[:, 0]  # [B, D]
        targets = self._pairs([example.targets for example in batch], [example.weights for example in batch])
        # What is shown is masked in the output, so it takes no part in the sum either.
        context = self._pairs([example.context for example in batch])
        return self._catalogue_loss(queries, targets, excluded=context)

    def _k_position_loss(self, batch: list[Example]) -> Tensor:
        """Position t predicts the t-th target of a random order; positions beyond the targets are left out."""
        rows = self.settings.positions
        queries = self._queries(batch, rows=rows)  # [B, k, D]
        targets = [example.targets[:rows] for example in batch]
        weights = [None if example.weights is None else example.weights[:rows] for example in batch]
        pairs = self._pairs(targets, weights)
        position = torch.from_numpy(np.concatenate([np.arange(len(part)) for part in targets])).to(self.module.device)
        picked = queries[pairs.rows, position]  # [P, D]
        each = torch.arange(len(picked), device=picked.device)
        return self._catalogue_loss(picked, Positives(each, pairs.items, pairs.weights))

    def _catalogue_loss(self, queries: Tensor, positives: Positives, excluded: Positives | None = None) -> Tensor:
        head = self.module.head
        return catalogue_softmax_loss(
            queries,
            head.item_matrix(),
            positives,
            bias=head.bias,
            excluded=excluded,
            sample=self.settings.softmax_items,
            among=self.catalogue,
        )

    def _queries(self, batch: list[Example], rows: int) -> Tensor:
        prompts = [self.prompts.write(example.user, example.context) for example in batch]
        return prompt_queries(self.module, self.prompts, prompts, rows)

    def _pairs(
        self, items: Sequence[NDArray[np.int64]], weights: Sequence[NDArray[np.float32] | None] = ()
    ) -> Positives:
        rows = np.repeat(np.arange(len(items)), [len(part) for part in items])
        columns: list[NDArray[Any]] = [rows, np.concatenate(items)]
        given = [part for part in weights if part is not None]
        if given:
            columns.append(np.concatenate(given))
        return Positives(*(torch.from_numpy(column).to(self.module.device) for column in columns))

    def validate(self) -> dict[str, float]:
        users = self.validation_users
        with progress_bar(len(users), "validate", "users", within_another=True, step="this batch of users") as bar:
            queries = encode_users(
                self.module,
                self.prompts,
                self.seen,
                users,
                rows=1,
                batch_size=self.inference_batch,
                advance=bar.update,
            )
        items, bias = scoring_arrays(self.module.head)
        rows = np.empty((self.seen.user_count,), dtype=np.int64)
        rows[self.validation_users] = np.arange(len(self.validation_users))
        ranked = rank_users(
            lambda users: queries[rows[users], 0] @ items.T + bias, self.validation_users, 10, self.seen
        )
        values = ranking_metrics(ranked, self.validation_users, self.validation, [10])
        return {name: float(values[name].mean()) for name in (SELECTION_METRIC, "recall@10")}


def _mean_text(texts: Tensor, context: NDArray[np.int64]) -> Tensor:
    """Mean of the text vectors [I, t] of the items shown -> [t]; zeros where nothing is shown."""
    return texts[torch.from_numpy(context)].mean(0) if len(context) else texts.new_zeros(texts.shape[1])
