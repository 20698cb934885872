"""Large tables that are made in every step: their memory stays, and is used again once nobody holds the last one."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class KeptTables:
    """Gives out tables; what one lay in is the next one's, as soon as the last tensor on it is gone.

    The operating system would clear every page of a fresh one, a third of a step on a large graph; an allocator that
    keeps what is freed cuts it into pieces in the meantime, and needs as much again for the next one.

    Attributes:
        keeping: whether memory is kept that comes back from now on.
    """

    def __init__(self, *, keeping: bool = True) -> None:
        self.keeping = keeping
        self.free: list[NDArray[np.uint8]] = []
        self._choosing = threading.Lock()

    def empty(self, *shape: int) -> Tensor:
        """A table of float32 on the CPU; what it holds is not determined."""
        size = 4 * math.prod(shape)
        with self._choosing:  # what comes back meanwhile, even in this thread, goes behind what is looked at
            fitting = [number for number, memory in enumerate(self.free) if len(memory) == size]
            found = self.free.pop(fitting[0]) if fitting else None
        memory = np.empty(size, np.uint8) if found is None else found
        # The tensor holds this view of it, and whatever is made of the tensor's storage does.
        view = memory.view(np.float32).reshape(shape)
        weakref.finalize(view, self._come_back, memory).atexit = False
        return torch.from_numpy(view)

    def _come_back(self, memory: NDArray[np.uint8]) -> None:
        if self.keeping:
            self.free.append(memory)

    def __deepcopy__(self, memo: dict[int, Any]) -> KeptTables:
        return KeptTables(keeping=self.keeping)

    def __reduce__(self) -> tuple[Callable[..., KeptTables], tuple[()]]:
        return partial(KeptTables, keeping=self.keeping), ()
