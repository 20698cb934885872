"""Tensors of a file as views of it: a page is read when it is looked at."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import damaged, header_of

DTYPES = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def tensors_in(path: Path, required: Set[str] = frozenset()) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name, as read-only views.

    Raises:
        GltaError: the file is damaged, or lacks one of `required`.
    """
    start, header = header_of(path)
    try:
        content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        tensors = {
            name: content[start + first : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
            for first, end in [entry["data_offsets"]]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"its header cannot be true: {error}") from error
    missing = required - tensors.keys()
    if missing:
        raise damaged(path, f"without the tensor {', '.join(sorted(missing))}")
    return tensors
