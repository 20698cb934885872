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

from glta_cli.training.ridge import ridge_regression


class TiedHead(nn.Module):
    """Logits tied to item vectors: items nobody was trained on have a score.

    logits[b, i] = <P·s(hidden[b]) + c, items[i]> + bias[i],  s(x) = (norm(x) - centre) / scale

    A causal model's last states hardly differ between prompts: a few huge coordinates are the same for all.
    `standardize` sets centre and scale to make the differences visible.

    Args:
        hidden_size: h of the language model.
        items: [I, D], frozen: graph embeddings, and text vectors where there are texts.
        counts: [I], training interactions; the bias starts at the log of their share, a popularity ranking.
        adjustment: τ, how much of that log the training adds to the logits itself: the bias starts without it.
    """

    items: Tensor
    prior: Tensor

    def __init__(self, hidden_size: int, items: Tensor, counts: Tensor, adjustment: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("items", items, persistent=False)
        self.project = nn.Linear(hidden_size, items.shape[1])  # P, c
        # Small, so that the first ranking is the bias's and not noise.
        nn.init.normal_(self.project.weight, std=0.1 * hidden_size**-0.5)
        nn.init.zeros_(self.project.bias)
        self.centre = nn.Parameter(torch.zeros(hidden_size), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(hidden_size), requires_grad=False)
        self.register_buffer("prior", (1 - adjustment) * log_popularity(counts), persistent=False)
        self.bias = nn.Parameter(self.prior.clone())

    def queries(self, hidden: Tensor) -> Tensor:
        """[..., h] -> [..., D], to be multiplied with `item_matrix`."""
        query: Tensor = self.project(self._standardized(hidden))
        return query

    def item_matrix(self) -> Tensor:
        """[I, D]."""
        return self.items

    def standardize(self, hidden: Tensor) -> None:
        """Set centre and scale from states [n, h] like those to come."""
        with torch.no_grad():
            normed = F.rms_norm(hidden.float(), hidden.shape[-1:])
            self.centre.copy_(normed.mean(0))
            deviation = normed.std(0, correction=0)
            self.scale.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def fit(self, hidden: Tensor, targets: Tensor) -> None:
        """Start P and c at the ridge regression from states [n, h] to the queries [n, D] they should give.

        The bias starts at popularity again: what it learnt beside another P would not fit this one.
        """
        with torch.no_grad():
            self.bias.copy_(self.prior)
            weight, intercept = ridge_regression(self._standardized(hidden), targets)
            self.project.weight.copy_(weight)
            self.project.bias.copy_(intercept)

    def _standardized(self, hidden: Tensor) -> Tensor:
        return (F.rms_norm(hidden.float(), hidden.shape[-1:]) - self.centre) / self.scale


class LinearHead(nn.Module):
    """The paper's head: a linear layer h -> I with a weight row of its own for every item.

    logits[b] = W·hidden[b] + bias
    """

    def __init__(self, hidden_size: int, item_count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(item_count, hidden_size))  # W
        nn.init.normal_(self.weight, std=0.1 * hidden_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(item_count))

    def queries(self, hidden: Tensor) -> Tensor:
        """[..., h] -> [..., h], to be multiplied with `item_matrix`."""
        return hidden.float()

    def item_matrix(self) -> Tensor:
        """[I, h]."""
        return self.weight


GllmHead = TiedHead | LinearHead


def log_popularity(counts: Tensor) -> Tensor:
    """Log of how popular items are, from their training interactions [I]: [I], float32, 0 for one of mean popularity.

    One is added to every count, so that an item nobody met is merely a little less popular than one met once.
    """
    smoothed = counts.float() + 1
    return (smoothed / smoothed.mean()).log()


def scoring_arrays(head: GllmHead) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Item matrix [I, D] and bias [I] of a head, for scoring outside torch."""
    items = head.item_matrix().detach().float().cpu().contiguous().numpy()
    return items, head.bias.detach().float().cpu().numpy()
