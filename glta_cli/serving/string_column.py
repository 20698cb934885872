"""Strings as arrays, so that one of them is read without the others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StringColumn:
    """A column of strings in one buffer.

    Attributes:
        text: uint8, all strings in UTF-8, one after the other.
        offsets: int64 [n + 1]; string i stands at `text[offsets[i]:offsets[i + 1]]`.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, strings: Sequence[str]) -> StringColumn:
        encoded = [string.encode() for string in strings]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(each) for each in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return self._bytes(position).decode()

    def tolist(self) -> list[str]:
        return [self[position] for position in range(len(self))]

    def order(self) -> NDArray[np.int64]:
        """The positions in the order of their strings, int64 [n]."""
        return np.array(sorted(range(len(self)), key=self._bytes), dtype=np.int64)

    def find(self, wanted: str, order: NDArray[np.int64]) -> int | None:
        """The position of a string, by bisection in `order`; None where it is not there."""
        key = wanted.encode(errors="surrogateescape")  # as an argument of the command line may hold any bytes
        place = bisect_left(order, key, key=self._bytes)
        if place == len(order) or self._bytes(order[place]) != key:
            return None
        return int(order[place])

    def _bytes(self, position: int) -> bytes:
        return self.text[self.offsets[position] : self.offsets[position + 1]].tobytes()
