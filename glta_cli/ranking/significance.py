"""Whether a difference between two models is more than chance: a paired test over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Sign flips of all users that are drawn at once, in bytes.
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class Comparison:
    """Two models on the same users.

    Attributes:
        model: the one in question.
        against: the best of those it is compared with.
        metric: what is compared, such as `ndcg@10`.
        difference: mean over users of the model's metric less the other's.
        p: how often chance alone gives a difference as large, either way.
    """

    model: str
    against: str
    metric: str
    difference: float
    p: float


def compare_with_best(
    values: dict[str, dict[str, NDArray[np.float64]]],
    model: str,
    others: list[str],
    metric: str,
    resamples: int,
    seed: int,
) -> Comparison:
    """Compare a model with the best of others by the mean of a metric.

    Args:
        values: of every model, every metric's value for each user, [n].
    """
    against = max(others, key=lambda name: float(values[name][metric].mean()))
    differences = values[model][metric] - values[against][metric]
    return Comparison(
        model, against, metric, float(differences.mean()), sign_flip_probability(differences, resamples, seed)
    )


def sign_flip_probability(differences: NDArray[np.float64], resamples: int, seed: int) -> float:
    """The two-sided probability of a mean as far from zero as that of paired differences [n].

    Were the two models the same, each user's difference would be as likely with either sign: p is the share of random
    signs that give a mean at least as far from zero, the signs as they are among them.

    Source: Fisher, The Design of Experiments, 1935; for retrieval Smucker, Allan and Carterette, A Comparison of
    Statistical Significance Tests for Information Retrieval Evaluation, CIKM 2007.
    """
    moving = differences[differences != 0]  # the others add nothing, whatever their sign
    observed = abs(moving.sum())
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_BYTES // max(1, 8 * len(moving)))
    as_far = 0
    for start in range(0, resamples, rows):
        drawn = min(rows, resamples - start)
        signs = generator.integers(0, 2, (drawn, len(moving)), dtype=np.int8) * 2.0 - 1  # [R, n]
        # Sums of the same numbers in another order differ by rounding.
        as_far += int((np.abs(signs @ moving) >= observed * (1 - 1e-12)).sum())
    return (as_far + 1) / (resamples + 1)
