"""Safetensors files that seal themselves, written a tensor at a time: of what is large there is never a second copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glta_cli.core.files import whole_file
from glta_cli.core.tensors import SEAL, UNSEALED

if TYPE_CHECKING:
    from torch import Tensor

# How safetensors calls what torch calls `torch.float32`.
DTYPES: Final[Mapping[str, str]] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


@dataclass(frozen=True)
class Kept:
    """A tensor that lies elsewhere until it is written.

    Attributes:
        like: one of its shape and dtype.
        read: what gives it.
    """

    like: Tensor
    read: Callable[[], Tensor]


def stream_sealed_tensors(path: Path, tensors: Mapping[str, Tensor | Kept], **metadata: str) -> None:
    """Write tensors with the SHA-256 of it all, as `write_sealed_tensors` does, one after the other.

    Raises:
        OSError: with the file's name, whatever failed.
    """
    # The widest numbers first, so that each lies where its width has it, whatever stands before.
    tensors = dict(sorted(tensors.items(), key=lambda named: -_like(named[1]).element_size()))
    head = _head(tensors, {**metadata, SEAL: UNSEALED})
    digest = hashlib.sha256(head)
    with whole_file(path) as temporary, temporary.open("xb") as file:
        file.write(head)
        for tensor in tensors.values():
            content = as_bytes(tensor.read() if isinstance(tensor, Kept) else tensor)
            digest.update(content)
            file.write(content)
        file.seek(0)
        file.write(head.replace(UNSEALED.encode(), digest.hexdigest().encode(), 1))


def bytes_of(tensors: Mapping[str, Tensor | Kept]) -> int:
    """How many bytes of tensors a file with these has."""
    return sum(_like(tensor).nbytes for tensor in tensors.values())


def as_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor; of a contiguous one on the CPU they are its own, not a copy."""
    import torch

    flat = tensor.detach().cpu().contiguous().flatten()
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]


def _like(tensor: Tensor | Kept) -> Tensor:
    return tensor.like if isinstance(tensor, Kept) else tensor


def _head(tensors: Mapping[str, Tensor | Kept], metadata: Mapping[str, str]) -> bytes:
    """The length of the header and the header, padded to whole eights of bytes as safetensors itself does."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        like = _like(tensor)
        start, end = end, end + like.nbytes
        dtype = DTYPES[str(like.dtype).removeprefix("torch.")]
        header[name] = {"dtype": dtype, "shape": list(like.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
