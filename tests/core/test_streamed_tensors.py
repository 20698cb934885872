"""Sealed safetensors files that are written a tensor at a time are read like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from glta_cli.core.errors import GltaError
from glta_cli.core.streamed_tensors import Kept, stream_sealed_tensors
from glta_cli.core.tensors import check_seal, read_tensors

TENSORS = {
    "odd": torch.arange(5, dtype=torch.uint8),
    "half": torch.randn(3, 2).to(torch.bfloat16),
    "whole": torch.randn(2, 3).T,
    "scalar": torch.tensor(7, dtype=torch.int64),
    "none": torch.empty(0, 2),
}


def test_every_tensor_comes_back_and_the_seal_holds(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    later = torch.randn(4)
    stream_sealed_tensors(path, {**TENSORS, "later": Kept(torch.empty(4), lambda: later)}, progress="{}")
    check_seal(path)
    found = read_tensors(path)
    assert found.keys() == {*TENSORS, "later"}
    for name, tensor in {**TENSORS, "later": later}.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    with safe_open(path, "pt") as file:
        assert file.metadata()["progress"] == "{}"


def test_a_changed_byte_breaks_the_seal(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    stream_sealed_tensors(path, TENSORS, progress="{}")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GltaError, match="changed after it was written"):
        check_seal(path)


def test_what_fails_to_be_read_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"before")

    def broken() -> torch.Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        stream_sealed_tensors(path, {"a": torch.ones(2), "b": Kept(torch.ones(2), broken)})
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"
