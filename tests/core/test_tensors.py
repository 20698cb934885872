"""Safetensors and Parquet files: whose they are, and what is said of damaged ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import save

from glta_cli.core.errors import GltaError
from glta_cli.core.parquet import read_table, write_table
from glta_cli.core.tensors import (
    block_crc32s,
    check_seal,
    header_crc32,
    read_arrays,
    read_tensors,
    unsealed,
    write_sealed_tensors,
    write_tensors,
)

ARRAYS = {"users": np.arange(6, dtype=np.float32).reshape(2, 3), "items": np.ones((2, 2), dtype=np.float32)}


def test_an_array_is_read_as_it_was_whatever_its_order_in_memory(tmp_path: Path) -> None:
    columns = np.asfortranarray(ARRAYS["users"])
    write_tensors(tmp_path / "file.safetensors", {"columns": columns, "number": np.array(3.0)})
    found = read_arrays(tmp_path / "file.safetensors", "columns", "number")
    np.testing.assert_array_equal(found["columns"], columns)
    assert found["number"] == 3


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_a_file_has_the_mode_the_user_asks_for(tmp_path: Path, umask: int, mode: int, convert: Any) -> None:
    path = tmp_path / "file.safetensors"
    before = os.umask(umask)
    try:
        write_tensors(path, {name: convert(array) for name, array in ARRAYS.items()})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == save(ARRAYS)
    np.testing.assert_array_equal(read_arrays(path, "users")["users"], ARRAYS["users"])
    assert torch.equal(read_tensors(path)["items"], torch.ones(2, 2))


@pytest.mark.parametrize("read", [read_arrays, read_tensors])
@pytest.mark.parametrize("damage", ["cut", "empty", "header", "name"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, read: Callable[..., Any], damage: str) -> None:
    path = tmp_path / "file.safetensors"
    content = save(ARRAYS)
    cases = {
        "cut": content[:-3],
        "empty": b"",
        "header": content[:9] + b"\x00" + content[10:],
        "name": content.replace(b"users", b"usars"),
    }
    path.write_bytes(cases[damage])
    with pytest.raises(GltaError, match="is damaged") as caught:
        read(path, "users", "items")
    assert caught.value.location == str(path)
    assert "remove the folder" in str(caught.value.hint)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        write_tensors(path, ARRAYS)
    assert caught.value.filename == str(path)


def test_each_tensor_and_the_header_have_a_checksum_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    content = save(ARRAYS)
    path.write_bytes(content)
    header, blocks = header_crc32(path), dict(block_crc32s(path))
    assert set(blocks) == {"users", "items"}
    path.write_bytes(content[:-1] + b"\x01")
    assert header_crc32(path) == header
    changed = {name for name, value in block_crc32s(path) if value != blocks[name]}
    assert changed == {"users"}  # stored in the order of their names


def test_no_flipped_bit_of_a_sealed_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_sealed_tensors(path, save(ARRAYS, metadata=unsealed(progress='{"step": 3}')))
    check_seal(path)
    content = path.read_bytes()
    passed = []
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with suppress(GltaError):
            check_seal(path)
            read_arrays(path)
            passed.append(bit)
    assert passed == []


@pytest.mark.parametrize("metadata", [None, {"progress": "{}"}])
def test_a_file_of_before_there_were_seals_passes(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    (tmp_path / "file").write_bytes(save(ARRAYS, metadata=metadata))
    check_seal(tmp_path / "file")


@pytest.mark.parametrize("damage", ["cut", "empty", "middle", "no parquet"])
def test_a_damaged_table_is_named_with_the_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "words.parquet"
    write_table(path, pl.DataFrame({"user": ["a", "b"] * 500}))
    content = path.read_bytes()
    half = len(content) // 2
    cases = {
        "cut": content[:-9],
        "empty": b"",
        "middle": content[: half - 20] + b"\xff" * 40 + content[half + 20 :],
        "no parquet": b"user\na\n",
    }
    path.write_bytes(cases[damage])
    with pytest.raises(GltaError, match="is damaged") as caught:
        read_table(path, "user", "text")
    assert caught.value.location == str(path)
    assert "remove the folder" in str(caught.value.hint)


def test_a_table_without_a_column_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "file", pl.DataFrame({"user": [1]}))
    assert read_table(tmp_path / "file", "user")["user"].to_list() == [1]
    with pytest.raises(GltaError, match="without the column text"):
        read_table(tmp_path / "file", "user", "text")
