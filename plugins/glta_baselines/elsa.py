"""ELSA: EASE's item-item weights as a product of low rank, learnt by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import ElsaSettings
from glta_cli.plugin import BaselineData, DescentPlan, GltaError, Interactions, LowRankTerm, Scorer

# Passes at most where validation selects one; it has stopped gaining long before.
MOST_EPOCHS = 40
# Passes where there is nothing to select one by.
EPOCHS_UNCHOSEN = 8
SEED = 0
# Of [I, d] in a step: the rows and A, the gradients of both, Adam's two moments, the rows of the best epoch, and what
# stands between them for a while.
MATRICES = 10
# Under the root of a length, which has no slope at zero.
TINY = 1e-9


class Elsa:
    """score[u] = X[u] (A A^T - I), A [I, d] with rows of unit length, X the histories [U, I]: weights, or 1.

    A is what brings the prediction nearest to the history it is made of: Adam minimises the mean over users of
    1 - cos(x, x(A A^T - I)). A row of A has unit length, so no item predicts itself, as in EASE; unlike EASE's, the
    memory grows with the items, not with their pairs. It is drawn and learnt in the same order whatever the seed, and
    so fitted once for all of them, as the rows are whose place it takes.

    Source: Vančura et al., Scalable Linear Shallow Autoencoder for Collaborative Filtering, RecSys 2022, equation 5,
    where |x/|x| - p/|p||² = 2 (1 - cos(x, p)) is minimised.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: ElsaSettings) -> None:
        self.settings = settings

    def bytes_to_fit(self, user_count: int, item_count: int) -> int:
        """Of memory: so many matrices of items times factors, in single precision."""
        return MATRICES * 4 * item_count * self.settings.factors

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`factors`, A, float32 [I, d], zeros for items nobody met; and `epochs`, where they are chosen."""
        if data.descend is None:
            raise GltaError("elsa is trained step by step, and whoever fits it here offers no training loop")
        task = ElsaTask(data, self.settings)
        epochs = self.settings.epochs
        if epochs == "auto":
            most = EPOCHS_UNCHOSEN if data.quality is None else MOST_EPOCHS
            plan = DescentPlan(most, self.settings.learning_rate, selected=data.quality is not None)
        else:
            plan = DescentPlan(epochs, self.settings.learning_rate, selected=False)
        taken = data.descend(task, plan) if len(task.users) else 0
        chosen = {"epochs": np.array(taken)} if epochs == "auto" else {}
        return {"factors": task.factors(), **chosen}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return low_rank_scorer(learnt["factors"], histories_of(train, self.settings.recency))

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LowRankTerm:
        factors = learnt["factors"]
        return LowRankTerm(factors, factors, lengths_of(factors), self.settings.recency)


class UnitRows(nn.Module):
    """A, the rows of a matrix at unit length; those of items nobody met stay zeros."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(start)  # [I, d]

    def forward(self) -> Tensor:
        """[I, d]."""
        return F.normalize(self.rows, dim=-1)


class ElsaTask:
    """The cosine of each history and its prediction, without a prediction of the whole catalogue.

    With h = x A, G = A^T A and rows of A of unit length, p = x (A A^T - I) has <x, p> = |h|² - |x|² and
    |p|² = h G h^T - 2|h|² + |x|². A step takes I d² operations whatever the batch, and of the items only those met by
    the batch are looked up.
    """

    def __init__(self, data: BaselineData, settings: ElsaSettings) -> None:
        self.histories = histories_of(data.train)  # [U, I]
        self.histories.sum_duplicates()
        self.users = np.flatnonzero(np.diff(self.histories.indptr) > 1)  # of one item nothing else can be predicted
        self.batch_size, self.device = settings.batch_size, data.device
        self.module = UnitRows(self._start(settings.factors).to(data.device))

    def batches(self, epoch: int) -> Sequence[NDArray[np.int64]]:
        """Batches of user indices, [B] each."""
        users = np.random.default_rng((SEED, epoch)).permutation(self.users)
        return [users[start : start + self.batch_size] for start in range(0, len(users), self.batch_size)]

    def loss(self, batch: NDArray[np.int64]) -> Tensor:
        factors = self.module()  # A [I, d]
        own = self.histories[batch]  # x [B, I]
        items, starts = (torch.from_numpy(each.astype(np.int64)).to(self.device) for each in (own.indices, own.indptr))
        weights = torch.from_numpy(own.data).to(self.device)
        sums = F.embedding_bag(  # h [B, d]
            items, factors, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
        squares = torch.from_numpy(_squares(own)).to(self.device)  # |x|² [B]
        lengths = sums.square().sum(-1)  # |h|² [B]
        predicted = (sums @ (factors.T @ factors) * sums).sum(-1) - 2 * lengths + squares  # |p|² [B]
        cosines = (lengths - squares) / (squares * predicted.clamp_min(TINY)).sqrt()
        return (1 - cosines).mean()

    def factors(self) -> NDArray[np.float32]:
        """A as it is now, float32 [I, d]."""
        with torch.no_grad():
            found: NDArray[np.float32] = self.module().cpu().numpy()
        return found

    def scorer(self) -> Scorer:
        return low_rank_scorer(self.factors(), self.histories)

    def _start(self, size: int) -> Tensor:
        """Directions at random, [I, d]; zeros for items nobody met, which no gradient moves."""
        generator = torch.Generator().manual_seed(SEED)
        start = torch.randn(self.histories.shape[1], size, generator=generator) / size**0.5
        met = np.bincount(self.histories.indices, minlength=self.histories.shape[1]) > 0
        start[torch.from_numpy(~met)] = 0
        return start


def low_rank_scorer(factors: NDArray[np.float32], histories: csr_array) -> Scorer:
    """Histories [U, I] times A A^T - diag(|A[i]|²), for factors A [I, d]."""
    columns = factors.T
    own = lengths_of(factors)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        met = histories[users]  # [B, I]
        scores: NDArray[np.float32] = (met @ factors) @ columns
        rows = np.repeat(np.arange(len(users)), np.diff(met.indptr))
        np.subtract.at(scores, (rows, met.indices), met.data * own[met.indices])
        return scores

    return score


def lengths_of(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What an item would say of itself, |A[i]|², float32 [I]."""
    return np.einsum("id,id->i", factors, factors)


def _squares(histories: csr_array) -> NDArray[np.float32]:
    """|x|² of each row, float32 [B]."""
    return np.asarray(histories.multiply(histories).sum(axis=1), dtype=np.float32).ravel()
