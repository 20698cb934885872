"""Stage 3, user-item alignment: the model learns to name the items a user will like, and ranks them for everyone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.core.progress import progress_bar
from glta_cli.core.world import team
from glta_cli.graph.pretraining import SELECTION_METRIC, validation_users
from glta_cli.language.batching import length_batches
from glta_cli.language.examples import Example as Example
from glta_cli.language.examples import Examples as Examples
from glta_cli.language.gllm import LinearHead, TiedHead, log_popularity, scoring_arrays
from glta_cli.language.model import GraphLanguageModel, NodeTables
from glta_cli.language.readout import UserPrompts, encode_users, prompt_queries, prompt_states
from glta_cli.language.sharded_head import ShardedHead
from glta_cli.language.shared_batches import rounds
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import FinetuneSettings
from glta_cli.training.data_parallel import dealt
from glta_cli.training.losses import Positives, catalogue_softmax_loss
from glta_cli.training.sharded_rows import ShardedRows


class FinetuningTask:
    """Trains user projector, head and adapters; the item projector too where stage 2 was left out.

    The epoch is selected by the ranking of the first row, whatever the readout: one model, three readouts.

    Args:
        folds: by fold of the examples, what nodes are known by without its targets; the first is what the model was
            made around, and what it ranks by on validation. None where all examples share that.
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
        folds: Sequence[NodeTables] = (),
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
        self.sharded_head: ShardedHead | None = None
        self.folds = folds
        model.item_projector.requires_grad_(not aligned)
        model.user_projector.requires_grad_(settings.user_token)
        model.share_prefix(prompts.template.literals[0])
        self.popularity = log_popularity(torch.from_numpy(np.bincount(seen.items, minlength=seen.item_count)))  # [I]
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
        dimension = self.module.users.shape[1]
        us = team()
        batches = list(self._written_batches(examples))
        found: list[tuple[Tensor, Tensor]] = []
        shown = progress_bar(
            len(examples),
            "warm start",
            "users",
            step="this batch of users",
            kept="the warm start begins again, the stages before it are kept",
        )
        with torch.no_grad(), shown as bar:
            for place, counts_for in rounds(len(batches)):
                batch, prompts = batches[place]
                self._look_at(batch)
                states = prompt_states(self.module, self.prompts, prompts, rows=1)[:, 0]  # [B, h]
                users = self.module.users[[example.user for example in batch]]  # [B, d]
                texts = torch.stack([_mean_text(head.items[:, dimension:], example.context) for example in batch])
                if counts_for:
                    found.append((states, torch.cat([users, texts], dim=1) / temperature))  # [B, D]
                bar.update(len(batch) * us.size)
        states, targets = self._of_all(found)
        # Neighbours in the sorted order resemble each other: shuffled, every tenth row is a fair sample.
        order = torch.from_numpy(np.random.default_rng(self.examples.seed).permutation(len(examples)))
        hidden = states[order]
        head.standardize(hidden)
        head.fit(hidden, targets[order])

    def _of_all(self, own: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """States and targets of all batches in a row, of which each process that works on them has every so-manieth."""
        us = team()
        if us.size > 1:
            device = self.module.device
            each = us.gathered_objects([(states.cpu(), targets.cpu()) for states, targets in own])
            dealt = [pair for batch in zip_longest(*each) for pair in batch if pair is not None]
            own = [(states.to(device), targets.to(device)) for states, targets in dealt]
        states, targets = zip(*own, strict=True)
        return torch.cat(states), torch.cat(targets)

    def _written_batches(self, examples: list[Example]) -> Iterator[tuple[list[Example], list[NDArray[np.int64]]]]:
        """Examples of one fold and of similar length together, with their prompts."""
        for fold in sorted({example.fold for example in examples}):
            own = [example for example in examples if example.fold == fold]
            written = [self.prompts.write(example.user, example.context) for example in own]
            for rows in length_batches([len(prompt) for prompt in written], self.inference_batch):
                yield [own[row] for row in rows], [written[row] for row in rows]

    def _look_at(self, batch: list[Example]) -> None:
        """Know nodes by the graph that has not seen the targets of these examples, which are of one fold."""
        if self.folds:
            self.module.use(self.folds[batch[0].fold])

    def batches(self, epoch: int) -> Sequence[list[Example]]:
        examples = self.examples.of_epoch(epoch)
        size = self.settings.training.batch_size
        # Examples of one length share a batch; whole batches are then shuffled back into random order.
        examples.sort(key=lambda example: (example.fold, min(len(example.context), self.settings.context_items)))
        groups: list[list[Example]] = []
        for _, same in groupby(examples, key=lambda example: example.fold):
            own = list(same)
            groups += [own[start : start + size] for start in range(0, len(own), size)]
        order = np.random.default_rng((self.examples.seed, epoch, 2)).permutation(len(groups))
        return [groups[index] for index in order]

    def share(self, batch: list[Example], rank: int, size: int) -> tuple[list[Example], float]:
        """Every `size`-th example of a batch, counted by the targets its loss is a mean over.

        The loss of a head in parts is that of all examples already.
        """
        part, own = dealt(len(batch), rank, size)
        examples = batch[part]
        if self.sharded_head is not None:
            return examples if own else Idle(examples), 1 / size
        return examples, own * self._targets_in(examples) / self._targets_in(batch)

    def shard_head(self) -> None:
        """Leave this process the rows of its items of the linear head alone, until `join_head`."""
        head = self.module.head
        assert isinstance(head, LinearHead)
        self.sharded_head = ShardedHead(head, team(), "head.")

    def join_head(self) -> None:
        """Have all rows of the head again."""
        if self.sharded_head is not None:
            self.sharded_head.join()
            self.sharded_head = None

    @property
    def sharded_rows(self) -> ShardedRows | None:
        """The parameters of which this process has some rows; None where it has all."""
        return None if self.sharded_head is None else self.sharded_head.rows

    def _targets_in(self, examples: list[Example]) -> int:
        most = self.settings.positions if self.settings.loss == "positions" else sys.maxsize
        return sum(min(len(example.targets), most) for example in examples)

    def loss(self, batch: list[Example]) -> Tensor:
        self._look_at(batch)
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
        return self._catalogue_loss(batch, queries, targets, excluded=context)

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
        return self._catalogue_loss(batch, picked, Positives(each, pairs.items, pairs.weights))

    def _catalogue_loss(
        self, batch: list[Example], queries: Tensor, positives: Positives, excluded: Positives | None = None
    ) -> Tensor:
        """Cross-entropy against the catalogue, under the logits adjusted by popularity where the settings say so.

        What is served are the logits without: of two items that fit a user equally well, not the more popular one.

        Source: Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, equation 10.
        """
        head = self.module.head
        bias: Tensor = head.bias
        adjustment = None
        if self.settings.popularity_adjustment:
            adjustment = self.settings.popularity_adjustment * self.popularity.to(bias.device)
        if self.sharded_head is not None:
            if isinstance(batch, Idle):
                queries, positives = queries[:0], _none_of(positives)
                excluded = None if excluded is None else _none_of(excluded)
            return self.sharded_head.loss(
                queries, positives, adjustment=adjustment, excluded=excluded, among=self.catalogue
            )
        if adjustment is not None:
            bias = bias + adjustment
        return catalogue_softmax_loss(
            queries,
            head.item_matrix(),
            positives,
            bias=bias,
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
        if self.folds:
            self.module.use(self.folds[0])
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
        sharded = self.sharded_head
        items, bias = scoring_arrays(self.module.head) if sharded is None else sharded.scoring_arrays()
        rows = np.empty((self.seen.user_count,), dtype=np.int64)
        rows[self.validation_users] = np.arange(len(self.validation_users))
        ranked = rank_users(
            lambda users: queries[rows[users], 0] @ items.T + bias, self.validation_users, 10, self.seen
        )
        values = ranking_metrics(ranked, self.validation_users, self.validation, [10])
        return {name: float(values[name].mean()) for name in (SELECTION_METRIC, "recall@10")}


class Idle(list[Example]):
    """Examples that a process runs the model on because others do, and that count for nothing."""


def _none_of(pairs: Positives) -> Positives:
    return Positives(pairs.rows[:0], pairs.items[:0], None if pairs.weights is None else pairs.weights[:0])


def _mean_text(texts: Tensor, context: NDArray[np.int64]) -> Tensor:
    """Mean of the text vectors [I, t] of the items shown -> [t]; zeros where nothing is shown."""
    return texts[torch.from_numpy(context)].mean(0) if len(context) else texts.new_zeros(texts.shape[1])
