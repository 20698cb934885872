"""The aligned model: projectors in front of the language model, the GLLM head behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.tensors import damaged, read_tensors
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import GllmHead, TiedHead
from glta_cli.language.projectors import TokenProjector
from glta_cli.language.prompts import node_of, pad_right
from glta_cli.plugin import LanguageModel


@dataclass(frozen=True)
class NodeTables:
    """What users and items are known by on one graph.

    Attributes:
        users: [U, d], what user tokens are projected from.
        items: [I, d] or, with texts, [I, d + D], what item tokens are projected from.
        tied: [I, D'], what the tied head knows items by; None for a linear head, which has rows of its own.
    """

    users: Tensor
    items: Tensor
    tied: Tensor | None


class GraphLanguageModel(nn.Module):
    """Graph nodes as tokens in, item logits out.

    Source: Yang et al., Graph-Language Token Alignment, WWW 2025 Companion.

    Args:
        language_model: frozen, or with trainable adapters.
        embeddings: users [U, d] and items [I, d], frozen.
        head: tied or linear.
        item_texts: vectors of the item texts [I, D], frozen, which item tokens are projected from too; None for tokens
            of the graph alone.

    Attributes:
        users: [U, d], what user tokens are projected from.
        items: [I, d] or [I, d + D], what item tokens are projected from.
    """

    users: Tensor
    items: Tensor

    def __init__(
        self,
        language_model: LanguageModel,
        embeddings: Embeddings,
        head: GllmHead,
        item_texts: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.language_model = language_model
        # Registered, so that adapters are found among the parameters and moves reach the whole model.
        self.language_module = language_model.module
        users, items = torch.from_numpy(embeddings.users), token_features(embeddings.items, item_texts)
        parts = () if item_texts is None else (embeddings.items.shape[1], item_texts.shape[1])
        token_rms = _token_rms(language_model)
        self.user_projector = TokenProjector(users, language_model.hidden_size, token_rms)
        self.item_projector = TokenProjector(items, language_model.hidden_size, token_rms, parts)
        self.head = head
        self._prefix_ids: Tensor | None = None
        self._frozen_prefix: Any = None
        self.register_buffer("users", users, persistent=False)
        self.register_buffer("items", items, persistent=False)

    @property
    def device(self) -> torch.device:
        return self.users.device

    def node_vectors(self, nodes: Tensor) -> Tensor:
        """Tokens of graph nodes [n], users 0..U-1 and items U..U+I-1 -> [n, h]."""
        user_count = len(self.users)
        is_user = nodes < user_count
        vectors = self.users.new_empty(len(nodes), self.language_model.hidden_size)
        user_tokens = self.user_projector(self.users[nodes[is_user]])
        item_tokens = self.item_projector(self.items[nodes[~is_user] - user_count])
        return vectors.index_put((is_user.nonzero()[:, 0],), user_tokens).index_put(
            ((~is_user).nonzero()[:, 0],), item_tokens
        )

    def use(self, tables: NodeTables) -> None:
        """Know users and items by other vectors of the same space, in place; there may be more of them."""
        self.users, self.items = tables.users.to(self.device), tables.items.to(self.device)
        if isinstance(self.head, TiedHead) and tables.tied is not None:
            self.head.items = tables.tied.to(self.device)

    def share_prefix(self, token_ids: Sequence[int]) -> None:
        """Take the tokens every prompt starts with out of the batch: they are computed once for all prompts.

        Where the language model is frozen that is once and for all, where adapters are trained once a batch.
        """
        self._prefix_ids = torch.tensor(list(token_ids), dtype=torch.int64, device=self.device)
        self._frozen_prefix = None

    def states_at(
        self, prompts: Sequence[NDArray[np.int64]], rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> Tensor:
        """Last hidden states at places of the prompts, whose negative ids are graph nodes.

        What stands before a prompt's first place gives keys and values alone, and what stands after its last one
        nothing: a causal model's states do not depend on it.

        Args:
            prompts: [B], each starting with the shared prefix, if one was set.
            rows, columns: [P], prompt and position of each state, behind the prefix.

        Returns:
            [P, h].
        """
        first = np.array([len(prompt) - 1 for prompt in prompts])  # [B]
        last = np.zeros_like(first)
        np.minimum.at(first, rows, columns)
        np.maximum.at(last, rows, columns)
        prefix = self._prefix()
        if prefix is None:
            first[:] = 0
        else:
            assert self._prefix_ids is not None
            skipped = len(self._prefix_ids)
            contexts = [prompt[skipped:start] for prompt, start in zip(prompts, first, strict=True)]
            if any(map(len, contexts)):
                prefix = self.language_model.extend(prefix, *self._embedded(contexts))
        asked = [prompt[start : end + 1] for prompt, start, end in zip(prompts, first, last, strict=True)]
        states = self.language_model.hidden(*self._embedded(asked), prefix)
        index = (torch.from_numpy(rows).to(self.device), torch.from_numpy(columns - first[rows]).to(self.device))
        return states[index]

    def _prefix(self) -> Any:
        """What the language model continues after; None where every prompt is run whole."""
        if self._prefix_ids is None:
            return None
        frozen = not any(parameter.requires_grad for parameter in self.language_module.parameters())
        if frozen and self._frozen_prefix is not None:
            return self._frozen_prefix
        prefix = self.language_model.prefix(self._prefix_ids)
        if prefix is None:
            # A model that gives none never does: it is not asked again.
            self._prefix_ids = None
        elif frozen:
            self._frozen_prefix = prefix
        return prefix

    def _embedded(self, prompts: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        """Input embeddings [B, L, h] of prompts, padded on the right, and their mask [B, L]."""
        padded, mask = pad_right(prompts)
        ids = torch.from_numpy(padded).to(self.device)  # [B, L]
        embedded = self.language_model.embed(ids.clamp(min=0))  # [B, L, h]
        nodes, places = np.unique(node_of(padded[padded < 0]), return_inverse=True)
        if len(nodes):
            vectors = self.node_vectors(torch.from_numpy(nodes).to(self.device)).to(embedded.dtype)
            where = (ids < 0).nonzero(as_tuple=True)
            embedded = embedded.index_put(where, vectors[torch.from_numpy(places).to(self.device)])
        return embedded, torch.from_numpy(mask).to(self.device)


def token_features(items: NDArray[np.float32], texts: NDArray[np.float32] | None) -> Tensor:
    """What item tokens are projected from: embeddings [I, d], and beside them text vectors [I, D], where given."""
    return torch.from_numpy(items if texts is None else np.concatenate([items, texts], axis=1))


def _token_rms(language_model: LanguageModel) -> float:
    """Root mean square over the first thousands of token embeddings: enough for a scale.

    A model that reads no text has none, and says itself where projected tokens start.
    """
    named: float | None = getattr(language_model, "token_rms", None)
    if named is not None:
        return named
    # A tokenizer may have special tokens the model has no embedding of.
    known: int = getattr(language_model, "vocabulary", len(language_model.tokenizer))
    ids = torch.arange(min(4096, known, len(language_model.tokenizer)))
    device = next(language_model.module.parameters()).device
    return float(language_model.embed(ids.to(device)).detach().float().square().mean().sqrt())


def own_tensors(model: GraphLanguageModel) -> dict[str, Tensor]:
    """Projectors, head and trained adapters: everything but the language model's own weights."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or not name.startswith("language_module.")
    }


def load_own_tensors(model: GraphLanguageModel, path: Path) -> None:
    """Set the parameters a stage saved; those it did not train keep their values."""
    parameters = dict(model.named_parameters())
    tensors = read_tensors(path)
    for name, tensor in tensors.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise damaged(path, f"its tensor {name} is none of this model's")
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
