"""One sort that most of preparing a dataset is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stable_order(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """What `np.argsort(values, kind="stable")` returns, several times as fast.

    Value and place are packed into one integer: then equal values need no stable sort, and NumPy sorts plain
    integers by vector instructions. Values too far apart to be packed take the slow way.

    Args:
        values: [n].

    Returns:
        int64 [n].
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    least, place_bits = int(values.min()), len(values).bit_length()
    if (int(values.max()) - least).bit_length() + place_bits > 63:
        return np.argsort(values, kind="stable")
    packed = values.astype(np.int64) - least
    packed <<= place_bits
    packed |= np.arange(len(values), dtype=np.int64)
    packed.sort()
    packed &= (1 << place_bits) - 1
    return packed
