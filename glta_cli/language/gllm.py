"""Graph-Language Logits Matching (GLLM): language-model states to item logits.

Every logit belongs to an item of the catalogue, so nothing has to be parsed back from text.

Source: Yang et al., Graph-Language Token Alignment, WWW 2025 Companion, section 3.3.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class TiedHead(nn.Module):
    """Logits tied to item vectors: items nobody was trained on have a score.

    logits[b, i] = <P·norm(hidden[b]), items[i]> + bias[i]

    Args:
        hidden_size: h of the language model.
        items: [I, D], frozen: graph embeddings, and text vectors where there are texts.
        counts: [I], training interactions; the bias starts at the log of their share, a popularity ranking.
    """

    items: Tensor

    def __init__(self, hidden_size: int, items: Tensor, counts: Tensor) -> None:
        super().__init__()
        self.register_buffer("items", items, persistent=False)
        self.project = nn.Linear(hidden_size, items.shape[1], bias=False)  # P
        nn.init.normal_(self.project.weight, std=hidden_size**-0.5)
        share = (counts.float() + 1) / (counts.float() + 1).mean()
        self.bias = nn.Parameter(share.log())

    def queries(self, hidden: Tensor) -> Tensor:
        """[..., h] -> [..., D], to be multiplied with `item_matrix`."""
        # A causal model's last states differ in scale from layer to layer; their direction carries the meaning.
        query: Tensor = self.project(F.rms_norm(hidden.float(), hidden.shape[-1:]))
        return query

    def item_matrix(self) -> Tensor:
        """[I, D]."""
        return self.items


class LinearHead(nn.Module):
    """The paper's head: a linear layer h -> I with a weight row of its own for every item.

    logits[b] = W·hidden[b] + bias
    """

    def __init__(self, hidden_size: int, item_count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(item_count, hidden_size))  # W
        nn.init.normal_(self.weight, std=hidden_size**-0.5 / 10)
        self.bias = nn.Parameter(torch.zeros(item_count))

    def queries(self, hidden: Tensor) -> Tensor:
        """[..., h] -> [..., h], to be multiplied with `item_matrix`."""
        return hidden.float()

    def item_matrix(self) -> Tensor:
        """[I, h]."""
        return self.weight


GllmHead = TiedHead | LinearHead


def scoring_arrays(head: GllmHead) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Item matrix [I, D] and bias [I] of a head, for scoring outside torch."""
    items = head.item_matrix().detach().float().cpu().contiguous().numpy()
    return items, head.bias.detach().float().cpu().numpy()
