"""ELSA: EASE's item-item weights as a product of low rank, learnt by gradient descent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import ElsaSettings
from glta_cli.plugin import BaselineData, DescentPlan, GltaError, Interactions, LowRankTerm, Scorer

# Passes at most where validation selects one; it has stopped gaining long before.
MOST_EPOCHS = 40
# Passes where there is nothing to select one by.
EPOCHS_UNCHOSEN = 8
SEED = 0
# Users a step, and steps a pass where that would be more: some two hundred steps are all it takes.
SMALLEST_BATCH, MOST_STEPS = 512, 64
# Of [I, d] in a step: the rows and A, the gradients of both, of which the latter is summed of several, Adam's two
# moments, and what stands between them for a while; measured at 113,000 items and a million users.
MATRICES = 14
# Pairs of a user and an item whose factors are looked up at once.
PAIRS = 8192
# Under the root of a length, which has no slope at zero.
TINY = 1e-9


class Elsa:
    """score[u] = X[u] diag(t) (A A^T - I) diag(s), X the histories [U, I]: weights, or 1; A [I, d], t and s [I].

    A, with rows of unit length, and t and s, positive, are what brings the prediction nearest to the history it is made
    of: Adam minimises the mean over users of 1 - cos(x, p), p = x diag(t) (A A^T - I) diag(s). No item predicts itself,
    as in EASE; unlike EASE's, the memory grows with the items, not with their pairs. The paper has s = t = 1,
    `scaled=false` here: then nothing says how popular an item is, and in sparse data that is much of what is known.

    All is drawn and learnt in the same order whatever the seed, and so fitted once for all of them, as the rows are
    whose place it takes.

    Source: Vančura et al., Scalable Linear Shallow Autoencoder for Collaborative Filtering, RecSys 2022, equation 5,
    where |x/|x| - p/|p||² = 2 (1 - cos(x, p)) is minimised.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    name: ClassVar[str] = "elsa"

    def __init__(self, settings: ElsaSettings) -> None:
        self.settings = settings

    def bytes_to_fit(self, user_count: int, item_count: int) -> int:
        """Of memory: so many matrices of items times factors, in single precision."""
        return MATRICES * 4 * item_count * self.settings.factors

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`factors`, A, float32 [I, d], zeros for items nobody met; `scales`, t and s, [2, I]; `epochs` if chosen."""
        if data.descend is None:
            raise GltaError(f"{self.name} is trained step by step, and whoever fits it here offers no training loop")
        task = self.task(data)
        epochs = self.settings.epochs
        if epochs == "auto":
            most = EPOCHS_UNCHOSEN if data.quality is None else MOST_EPOCHS
            plan = DescentPlan(most, self.settings.learning_rate, selected=data.quality is not None)
        else:
            plan = DescentPlan(epochs, self.settings.learning_rate, selected=False)
        taken = data.descend(task, plan) if len(task.users) else 0
        chosen = {"epochs": np.array(taken)} if epochs == "auto" else {}
        return {**task.learnt(), **chosen}

    def task(self, data: BaselineData) -> ElsaTask:
        """What is learnt of some data."""
        return ElsaTask(data, self.settings)

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return low_rank_scorer(self.term(learnt, train), histories_of(train, self.settings.recency))

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LowRankTerm:
        return term_of(learnt["factors"], learnt["scales"], self.settings.recency)


@dataclass(frozen=True, eq=False)
class Weights:
    """diag(t) (A A^T - I) diag(s) as it is in a step.

    Attributes:
        factors: A, [I, d].
        source_scale: t, [I].
        scale: s, [I].
    """

    factors: Tensor
    source_scale: Tensor
    scale: Tensor

    @cached_property
    def gram(self) -> Tensor:
        """G = (sA)^T (sA), [d, d]."""
        scaled = self.factors * self.scale[:, None]
        return scaled.T @ scaled


class Factors(nn.Module):
    """A, the rows of a matrix at unit length; t, what an item of a history weighs; s, which multiplies its scores.

    The rows of items nobody met stay zeros.
    """

    def __init__(self, start: Tensor, *, scaled: bool) -> None:
        super().__init__()
        self.rows = nn.Parameter(start)  # [I, d]
        self.log_scales = nn.Parameter(torch.zeros(2, len(start), device=start.device), requires_grad=scaled)  # [2, I]

    def forward(self) -> tuple[Tensor, Tensor]:
        """A [I, d]; t and s [2, I]."""
        return F.normalize(self.rows, dim=-1), self.log_scales.exp()


class ProductsOfPairs(torch.autograd.Function):
    """<sums[r], factors[i]> of pairs (r, i), [n], with sums [B, d] and factors [I, d].

    Rows are looked up for some pairs at a time, there and back: a step on many users has as many pairs as they have
    items, and their rows, four times [n, d], would be twice what the items take.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor, factors: Tensor, rows: Tensor, items: Tensor) -> Tensor:
        ctx.save_for_backward(sums, factors, rows, items)
        found = sums.new_empty(len(rows))
        for part in _parts(len(rows)):
            found[part] = (sums[rows[part]] * factors[items[part]]).sum(-1)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sums, factors, rows, items = ctx.saved_tensors
        to_sums, to_factors = torch.zeros_like(sums), torch.zeros_like(factors)
        for part in _parts(len(rows)):
            gradient = gradients[0][part, None]
            to_sums.index_add_(0, rows[part], gradient * factors[items[part]])
            to_factors.index_add_(0, items[part], gradient * sums[rows[part]])
        return to_sums, to_factors, None, None


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + PAIRS) for start in range(0, count, PAIRS))


class ElsaTask:
    """The cosine of each history and its prediction, without a prediction of the whole catalogue.

    With z = x t, h = z A and y = h A^T at the items of x, p is (y - z) s there and s h A^T elsewhere, so that
    <x, p> = Σ x s (y - z) and |p|² = h G h^T + Σ s² (z² - 2 z y), G = (sA)^T (sA), sums over the items of x. A step
    takes I d² operations whatever the batch, and of the items only those of the batch's histories are looked up.
    """

    def __init__(self, data: BaselineData, settings: ElsaSettings) -> None:
        self.histories = histories_of(data.train)  # [U, I]
        self.histories.sum_duplicates()
        self.users = np.flatnonzero(np.diff(self.histories.indptr) > 1)  # of one item nothing else can be predicted
        fewest_steps = max(SMALLEST_BATCH, len(self.users) // MOST_STEPS)
        self.batch_size = fewest_steps if settings.batch_size == "auto" else settings.batch_size
        self.device = data.device
        self.module = Factors(self.start(settings.factors).to(data.device), scaled=settings.scaled)

    def batches(self, epoch: int) -> Sequence[NDArray[np.int64]]:
        """Batches of user indices, [B] each."""
        users = np.random.default_rng((SEED, epoch)).permutation(self.users)
        return [users[start : start + self.batch_size] for start in range(0, len(users), self.batch_size)]

    def loss(self, batch: NDArray[np.int64]) -> Tensor:
        return self.user_loss(batch, self.weights())

    def weights(self) -> Weights:
        factors, (source_scale, scale) = self.module()
        return Weights(factors, source_scale, scale)

    def user_loss(self, batch: NDArray[np.int64], weights: Weights) -> Tensor:
        """The mean of 1 - cos(x, p) over users [B]."""
        factors, source_scale, scale = weights.factors, weights.source_scale, weights.scale
        own = self.histories[batch]  # x [B, I], n entries
        items, starts, rows = (torch.from_numpy(each).to(self.device) for each in _places(own))  # [n], [B + 1], [n]
        x = torch.from_numpy(own.data).to(self.device)  # [n]
        s, z = scale[items], x * source_scale[items]  # [n] each
        sums = F.embedding_bag(  # h [B, d]
            items, factors, starts, mode="sum", per_sample_weights=z, include_last_offset=True
        )
        y: Tensor = ProductsOfPairs.apply(sums, factors, rows, items)  # [n]

        def of_users(terms: Tensor) -> Tensor:
            return terms.new_zeros(len(batch)).index_add(0, rows, terms)  # [n] -> [B]

        lengths = (sums @ weights.gram * sums).sum(-1) + of_users(s.square() * z * (z - 2 * y))  # |p|² [B]
        cosines = of_users(x * s * (y - z)) / (of_users(x * x) * lengths.clamp_min(TINY)).sqrt()
        return (1 - cosines).mean()

    def learnt(self) -> dict[str, NDArray[np.float32]]:
        """`factors`, A, [I, d], and `scales`, t and s, [2, I], as they are now."""
        with torch.no_grad():
            factors, scales = self.module()
        return {"factors": factors.cpu().numpy(), "scales": scales.cpu().numpy()}

    def scorer(self) -> Scorer:
        found = self.learnt()
        return low_rank_scorer(term_of(found["factors"], found["scales"]), self.histories)

    def start(self, size: int) -> Tensor:
        """Directions at random, [I, d]; zeros for items of which nothing is known, which no gradient moves."""
        generator = torch.Generator().manual_seed(SEED)
        start = torch.randn(self.histories.shape[1], size, generator=generator) / size**0.5
        start[torch.from_numpy(~self.known_items())] = 0
        return start

    def known_items(self) -> NDArray[np.bool_]:
        """Items that something can be learnt of, [I]: those somebody met."""
        met: NDArray[np.bool_] = np.bincount(self.histories.indices, minlength=self.histories.shape[1]) > 0
        return met


def term_of(factors: NDArray[np.float32], scales: NDArray[np.float32], recency: float = 1.0) -> LowRankTerm:
    """diag(t) (A A^T - diag(|A[i]|²)) diag(s) of factors A [I, d] and scales t and s [2, I]."""
    sources = targets = factors
    if (scales != 1).any():
        sources, targets = (factors * each[:, None] for each in scales)
    return LowRankTerm(sources, targets, np.einsum("id,id->i", sources, targets), recency)


def low_rank_scorer(term: LowRankTerm, histories: csr_array) -> Scorer:
    """Histories [U, I] times the weights of a term."""
    columns = term.targets.T

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        met = histories[users]  # [B, I]
        scores: NDArray[np.float32] = (met @ term.sources) @ columns
        rows = np.repeat(np.arange(len(users)), np.diff(met.indptr))
        np.subtract.at(scores, (rows, met.indices), met.data * term.own[met.indices])
        return scores

    return score


def _places(histories: csr_array) -> tuple[NDArray[np.int64], ...]:
    """Of histories [B, I] the items [n], where each row starts [B + 1], and the row of each item [n]."""
    starts = histories.indptr.astype(np.int64)
    return histories.indices.astype(np.int64), starts, np.repeat(np.arange(len(starts) - 1), np.diff(starts))
