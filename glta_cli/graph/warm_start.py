"""Parameters of an earlier training, laid out for the users and items there are by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.training.loop import trainable


@dataclass(frozen=True)
class Places:
    """Where nodes were in an earlier training.

    Attributes:
        before: int64 [n], the index each node had, -1 for new ones.
        count: how many nodes there were.
    """

    before: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, earlier: Sequence[str], now: Sequence[str]) -> Places:
        """By original ids."""
        known = {each: place for place, each in enumerate(earlier)}
        return cls(np.array([known.get(each, -1) for each in now], dtype=np.int64), len(earlier))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which nodes there were before, [n]."""
        found: NDArray[np.bool_] = self.before >= 0
        return found

    def followed_by(self, other: Places) -> Places:
        """The nodes of both, the others behind."""
        behind = np.where(other.known, other.before + self.count, -1)
        return Places(np.concatenate([self.before, behind]), self.count + other.count)


def taken_over(start: Tensor, earlier: Tensor, nodes: Places) -> Tensor:
    """Rows of nodes, [n, ...]: what was trained of those there were, [m, ...], and the start of those that are new.

    An encoder may start at singular vectors, whose directions are others for another graph than those a training went
    on from. New rows are turned by the rotation that takes the starts of known nodes nearest to what they became; of
    rows drawn at random that is one draw for another.

    Source: Schönemann, A Generalized Solution of the Orthogonal Procrustes Problem, Psychometrika 1966.
    """
    known = torch.from_numpy(nodes.known)
    trained = earlier[torch.from_numpy(nodes.before[nodes.known])].to(start)
    result = start.detach().clone()
    if start.ndim == 2 and known.any() and not known.all():
        left, _, right = torch.linalg.svd(start[known].double().T @ trained.double())
        result[~known] = (start[~known].double() @ (left @ right)).to(start)
    result[known] = trained
    return result


def start_encoder(encoder: nn.Module, earlier: Mapping[str, Tensor], users: Places, items: Places) -> list[str]:
    """Start what an encoder trains where an earlier one ended, in place.

    A parameter with a row for every user, item or node is taken over by node, any other one where its shape is the
    same.

    Args:
        earlier: the saved state of the other encoder, by name.

    Returns:
        The names of parameters that start as the encoder has them, since the earlier ones do not fit.
    """
    unfitting = []
    for name, parameter in trainable(encoder).items():
        found = earlier.get(name)
        nodes = None if found is None else _nodes_of(name, parameter, found, users, items)
        with torch.no_grad():
            if found is not None and nodes is not None:
                parameter.copy_(taken_over(parameter.cpu(), found, nodes))
            elif found is not None and found.shape == parameter.shape:
                parameter.copy_(found)
            else:
                unfitting.append(name)
    return unfitting


def _nodes_of(name: str, now: Tensor, earlier: Tensor, users: Places, items: Places) -> Places | None:
    """Whose rows a parameter has, told by its shape, or where users and items are as many by its name."""
    if not now.ndim or now.shape[1:] != earlier.shape[1:]:
        return None
    kinds = {"user": users, "item": items, "": users.followed_by(items)}
    fitting = {
        word: nodes for word, nodes in kinds.items() if (len(now), len(earlier)) == (len(nodes.before), nodes.count)
    }
    if len(fitting) > 1:
        fitting = {word: nodes for word, nodes in fitting.items() if word and word in name}
    return next(iter(fitting.values())) if len(fitting) == 1 else None
