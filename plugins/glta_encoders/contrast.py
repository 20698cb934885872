"""InfoNCE, what every contrastive loss here consists of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Mean over n of -log softmax_m(cos(q_n, k_m) / τ) at m = n; queries and keys [M, d] of the same M nodes.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018, equation 4.
    """
    cosines = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T  # [M, M]
    return F.cross_entropy(cosines / temperature, torch.arange(len(queries), device=queries.device))


def some_of(nodes: Tensor, most: int) -> Tensor:
    """At most so many of the distinct indices in a tensor, drawn at random: [M].

    The loss of all nodes against all would cost more than everything else in a training step.
    """
    distinct = nodes.unique()
    return distinct[torch.randperm(len(distinct), device=nodes.device)[:most]]
