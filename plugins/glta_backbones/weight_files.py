"""The safetensors files of a checkpoint folder: which there are, whether they are whole, what their headers say."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open

from glta_cli.plugin import GltaError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
LFS_POINTER = b"version https://git-lfs"
FETCH_AGAIN = "fetch it again: `git lfs pull` in a clone, `hf download` from the hub, or copy the whole file"

Shapes = dict[str, tuple[int, ...]]


def weight_files(folder: Path, named: object = None) -> list[Path]:
    """The files transformers reads a checkpoint from: the single one, or else every shard the index names.

    Args:
        named: what config.json names, if it does.

    Raises:
        GltaError: there is none; an index that is no index, or names a file elsewhere or one that is not there.
    """
    if named is not None and not isinstance(named, str):
        raise GltaError(
            f"transformers_weights is {named!r:.60}, no name of a file",
            location=str(folder / "config.json"),
            hint="name a safetensors file of the folder there, or take it out",
        )
    whole = (folder / "config.json").is_file() and any((folder / each).is_file() for each in (named or SINGLE, INDEX))
    if (folder / ADAPTER).is_file() and not whole:
        raise GltaError(
            "no usable checkpoint: adapters alone, without the model they belong to",
            location=str(folder),
            hint="merge them into their model (peft: merge_and_unload) and save that as safetensors",
        )
    if named is not None:
        return [_shard(folder, named, "config.json")]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        raise GltaError(
            f"no usable checkpoint: neither {SINGLE} nor {INDEX}",
            location=str(folder),
            hint="the folder needs config.json and the weights as safetensors",
        )
    return [_shard(folder, name) for name in shard_names(folder / INDEX)]


def shard_names(index: Path) -> list[str]:
    """The files an index names, sorted.

    Raises:
        GltaError: it is no index.
    """
    require_no_pointer(index)
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(str(PurePath(name)) for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GltaError(
            f"no usable index of weight files: {type(error).__name__}: {error}", location=str(index), hint=FETCH_AGAIN
        ) from error


def _shard(folder: Path, name: str, naming: str = INDEX) -> Path:
    if PurePath(name).name != name:
        # It would be read without being part of what tells two checkpoints apart.
        raise GltaError(
            f"names a weight file outside its folder: {name}",
            location=str(folder / naming),
            hint=f"put every weight file beside {naming}, and name it there without a folder",
        )
    if not (folder / name).is_file():
        raise GltaError(
            f"no usable checkpoint: the weight file {name} is missing", location=str(folder), hint=FETCH_AGAIN
        )
    return folder / name


def require_no_pointer(path: Path) -> None:
    """Raise `GltaError` where git left a pointer in place of a large file."""
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise GltaError(
            "no usable checkpoint: a pointer of Git LFS stands in place of the file",
            location=str(path),
            hint=FETCH_AGAIN,
        )


def tensor_shapes(files: list[Path]) -> Shapes:
    """Shape of every tensor by its name, from the headers alone.

    Raises:
        GltaError: a file is no safetensors file, or is cut short.
    """
    shapes: Shapes = {}
    for path in files:
        require_no_pointer(path)
        with opened(path) as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    return shapes


def tensor_dtypes(files: list[Path]) -> dict[str, str]:
    """Type of every tensor's numbers by its name, such as F32, BF16 or I8, from the headers alone."""
    dtypes: dict[str, str] = {}
    for path in files:
        with opened(path) as file:
            dtypes |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no dict)
    return dtypes


def opened(path: Path) -> Any:
    """A safetensors file whose tensors are read when they are asked for.

    Raises:
        GltaError: it is none, or is cut short.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise GltaError(
            f"no usable checkpoint: not a whole safetensors file ({error})", location=str(path), hint=FETCH_AGAIN
        ) from error
