"""Safetensors files: written with the user's own permissions, read with the name of a damaged one, checked in parts.

A file is 8 bytes with the length of its header, the header in JSON, and the tensors one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import file_crc32, write_bytes
from glta_cli.core.storage import as_os_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

AGAIN = "remove the folder; the stage runs again"
# What a header is taken for at most; safetensors itself reads none that is longer.
LONGEST_HEADER = 100_000_000
SEAL, UNSEALED = "sha256", "0" * 64


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]] | Mapping[str, Tensor]) -> None:
    """Write arrays of numpy, or contiguous tensors of torch on the CPU, into one file.

    Raises:
        OSError: it cannot be written; with the file's name.
    """
    import numpy as np

    # safetensors writes a private file beside it and renames that; a file made here has the mode the user asks for.
    path.touch()
    mode = path.stat().st_mode
    try:
        if isinstance(next(iter(tensors.values()), None), np.ndarray):
            from safetensors.numpy import save_file as save_arrays

            # It writes what lies in memory: columns that lie one behind the other would be read as rows.
            save_arrays({name: np.asarray(array, order="C") for name, array in tensors.items()}, path)
        else:
            from safetensors.torch import save_file

            save_file(dict(tensors), path)  # type: ignore[arg-type]
    except Exception as error:
        raise as_os_error(error, path) or error from error
    path.chmod(mode)


def read_arrays(path: Path, *names: str, hint: str = AGAIN) -> dict[str, NDArray[Any]]:
    """All arrays of a file, by name; raises `GltaError` where it is damaged or lacks one of `names`."""
    from safetensors.numpy import load_file

    return _read(load_file, path, names, hint)


def read_tensors(path: Path, *names: str, hint: str = AGAIN) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU, by name; raises `GltaError` where it is damaged or lacks one of `names`."""
    from safetensors.torch import load_file

    return _read(load_file, path, names, hint)


def _read(load: Any, path: Path, names: tuple[str, ...], hint: str) -> dict[str, Any]:
    from safetensors import SafetensorError

    try:
        tensors: dict[str, Any] = load(path)
    # An unknown dtype is a KeyError, a shape that does not fit a ValueError or a RuntimeError.
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise damaged(path, str(error), hint) from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise damaged(path, f"without the tensor {', '.join(missing)}", hint)
    return tensors


def damaged(path: Path, reason: str, hint: str = AGAIN) -> GltaError:
    """The error that a file is no whole safetensors file."""
    return GltaError(f"is damaged: no safetensors file ({reason})", location=str(path), hint=hint)


# ---------------------------------------------------------------------------------------------- checks in parts


def header_of(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors start, in bytes, and what the header says; raises `GltaError` where there is no header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= LONGEST_HEADER else b""
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its header cannot be read: {error}") from error
    if len(text) != length or not isinstance(header, dict):
        raise damaged(path, "its header is cut")
    return 8 + length, header


def header_crc32(path: Path) -> int:
    """CRC-32 of a file's header and of the length before it."""
    import zlib

    with path.open("rb") as file:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        return zlib.crc32(first + (file.read(length) if length <= LONGEST_HEADER else b""))


def block_crc32s(path: Path) -> Iterator[tuple[str, int]]:
    """The name of each tensor and the CRC-32 of its bytes, in the header's order."""
    start, header = header_of(path)
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            yield name, file_crc32(path, start + first, start + end)


# ------------------------------------------------------------------------------------ files that seal themselves


def write_sealed_tensors(path: Path, content: bytes) -> None:
    """Write what `save` of safetensors gave, with the SHA-256 of it all where its metadata has `unsealed`.

    Args:
        content: with `unsealed` among its metadata, which the hash takes the place of.
    """
    import hashlib

    start = 8 + int.from_bytes(content[:8], "little")
    head, data = content[:start], memoryview(content)[start:]
    digest = hashlib.sha256(head)
    digest.update(data)
    write_bytes(path, head.replace(UNSEALED.encode(), digest.hexdigest().encode(), 1), data)


def unsealed(**metadata: str) -> dict[str, str]:
    """Metadata for a file that `write_sealed_tensors` writes."""
    return {**metadata, SEAL: UNSEALED}


def check_seal(path: Path) -> None:
    """Raise `GltaError` where a file is not what `write_sealed_tensors` wrote; 0.1 wrote no seal, which passes.

    All that 0.1 had among the metadata was `progress`: anything else without a seal is a seal that was changed.
    """
    import hashlib

    start, header = header_of(path)
    metadata = header.get("__metadata__")
    seal = metadata.get(SEAL) if isinstance(metadata, dict) else None
    if metadata is None or (isinstance(metadata, dict) and set(metadata) == {"progress"}):
        return
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(start).replace(str(seal).encode(), UNSEALED.encode(), 1))
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != seal:
        raise damaged(path, "it was changed after it was written")
