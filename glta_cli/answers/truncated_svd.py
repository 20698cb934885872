"""Item-item weights as two short factors: what a linear term is as vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Directions looked at beside those that are kept, and passes over the matrix: a spectrum that falls slowly needs both.
OVERSAMPLED = 16
PASSES = 4


def truncated_svd(
    weights: NDArray[np.float32] | csr_array, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """U·S and V of B ≈ U S Vᵀ, both float32 [I, min(rank, I)]; the same for the same B.

    Source: Halko, Martinsson and Tropp, Finding Structure with Randomness, SIAM Review 53 (2011), algorithms 4.4 and
    5.1, on the rows of B. It reads dense weights as they lie in their file, and sparse ones without filling them.

    Args:
        weights: B, [I, I].

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived.
    """
    count = weights.shape[0]
    width = min(count, rank + OVERSAMPLED)
    drawn = np.random.default_rng(0).standard_normal((count, width), dtype=np.float32)
    with progress_bar(PASSES + 1, "factorise the item-item weights", "passes", step="this pass") as bar:
        basis = _orthonormal(weights.T @ drawn)  # [I, width], of the rows
        for _ in range(PASSES):
            bar.update(1)
            basis = _orthonormal(weights.T @ _orthonormal(weights @ basis))
        images = weights @ basis  # [I, width]
        bar.update(1)
    _, _, rotation = np.linalg.svd(images, full_matrices=False)
    turned = rotation[: min(rank, count)].T  # [width, rank]
    return images @ turned, basis @ turned


def truncated_product(
    left: NDArray[np.float32], right: NDArray[np.float32], rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """U·S and V of L Rᵀ ≈ U S Vᵀ, both float32 [I, rank], for factors [I, d], d above `rank`."""
    (sources, first), (targets, second) = (np.linalg.qr(each) for each in (left, right))
    turned, sizes, rotation = np.linalg.svd(first @ second.T)  # of [d, d]
    found = sources @ (turned * sizes)[:, :rank], targets @ rotation[:rank].T
    return found[0].astype(np.float32, copy=False), found[1].astype(np.float32, copy=False)


def _orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    basis, _ = np.linalg.qr(columns)
    return basis.astype(np.float32, copy=False)
