"""The best parameters of a training so far: in memory or, of a large module, on a disk until they are wanted."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from glta_cli.core.storage import storage_errors
from glta_cli.core.streamed_tensors import Kept, as_bytes

# Parameters of more bytes are kept on the disk: at some 2 GB a second that is less than a step on as many.
IN_MEMORY = 128 << 20


class BestParameters(Protocol):
    """Parameters by name, as they were when `keep` was last called, or as `put` gave them."""

    def keep(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep what they are now."""
        ...

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep these in their place, of the same names, shapes and dtypes."""
        ...

    def read(self, name: str) -> Tensor:
        """What was kept of one; not to be changed."""
        ...


def best_of(parameters: Mapping[str, nn.Parameter], folder: Path) -> BestParameters:
    """The best of these parameters, which is what they are now.

    Args:
        folder: on whose disk large ones lie, in a file without a name; no process but this one sees them there.
    """
    size = sum(parameter.nbytes for parameter in parameters.values())
    best: BestParameters = _InMemory() if size <= IN_MEMORY else _OnDisk(parameters, folder)
    best.keep(parameters)
    return best


def kept(best: BestParameters, parameters: Mapping[str, nn.Parameter]) -> dict[str, Kept]:
    """The best parameters as a saved state takes them, one at a time."""

    def one(name: str, parameter: nn.Parameter) -> Kept:
        return Kept(parameter.detach(), lambda: best.read(name))

    return {name: one(name, parameter) for name, parameter in parameters.items()}


class _InMemory:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def keep(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.tensors = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.to(self.tensors[name].device) for name, tensor in tensors.items()}

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


class _OnDisk:
    def __init__(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> None:
        self.folder = folder
        self.like = {name: (parameter.shape, parameter.dtype) for name, parameter in parameters.items()}
        self.size = sum(parameter.nbytes for parameter in parameters.values())
        self.starts: dict[str, int] = {}
        with storage_errors(folder, self.size):
            folder.mkdir(parents=True, exist_ok=True)
            # Without a name: nothing is left of it when the process ends, however that ends.
            self.file: Any = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def keep(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.put({name: parameter.detach() for name, parameter in parameters.items()})

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        with storage_errors(self.folder, self.size):
            self.file.seek(0)
            for name, tensor in tensors.items():
                self.starts[name] = self.file.tell()
                content = as_bytes(tensor)
                while content:  # a write may take less than it is given, 2 GiB at most
                    content = content[self.file.write(content) :]

    def read(self, name: str) -> Tensor:
        shape, dtype = self.like[name]
        tensor = torch.empty(shape, dtype=dtype)
        content = as_bytes(tensor)
        with storage_errors(self.folder):
            self.file.seek(self.starts[name])
            while content:
                content = content[self.file.readinto(content) :]
        return tensor
