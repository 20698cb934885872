"""How much of the memory that a step freed the allocator keeps for the next."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

from glta_cli.core.process_memory import available_memory

# glibc's names for two settings of its allocator (malloc.h), and how much freed memory it is to keep.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30
# Memory is scarce where less is free than so many times the parameters: a step with freed memory kept takes some 13
# times as much. There tensors of so many bytes go back to the kernel at once, and others from so many on.
ROOMY = 16
SCARCE_LARGEST, SCARCE_KEPT = 24 << 20, 64 << 20


def keep_freed_memory(trained: int = 0) -> None:
    """Let the allocator reuse the tensors of one step for the next, up to 1 GiB, where memory is not scarce.

    Otherwise glibc hands large tensors back to the kernel, and the next step waits for every page anew: a third
    of a LightGCN step on a large graph. What is kept lies in pieces, so that a step needs more than its tensors take.

    Args:
        trained: bytes of the parameters that are trained.
    """
    mallopt = _of_glibc("mallopt")
    free = available_memory()
    if mallopt is not None and free is not None and trained * ROOMY > free:
        mallopt(M_MMAP_THRESHOLD, SCARCE_LARGEST)
        mallopt(M_TRIM_THRESHOLD, SCARCE_KEPT)
        return
    # An older glibc takes no larger threshold than 32 MiB, and to trim less without a threshold would make it worse.
    if mallopt is not None and (mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(M_MMAP_THRESHOLD, 32 << 20)):
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Hand the kernel what the allocator keeps of freed memory, all over the heap: of use where it is needed next.

    What a validation leaves is in pieces that are too small for a step, which would take as much anew beside them.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of its allocator; None elsewhere: not every C library on Linux is glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
