"""What an encoder promises of devices: every tensor it holds moves with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder_promises.trial import Encoders, embeddings, training_loss


def device_promises(contract: Contract, encoders: Encoders) -> None:
    """It leaves nothing behind when it is moved, and runs on a GPU, where there is one."""
    with contract.promise("every tensor it holds follows .to(device): it is a parameter, a buffer or of a submodule"):
        _check_moving(encoders.draw())
    if torch.cuda.is_available():
        calls = "items() and encode()" if encoders.reads_histories else "forward() and extra_loss()"
        with contract.promise(f"{calls} run on a GPU"):
            encoder = encoders.draw().to("cuda")
            training_loss(encoder, "cuda").backward()
            for vectors in embeddings(encoder):
                assert vectors.device.type == "cuda", f"embeddings are on {vectors.device}"
                assert bool(vectors.isfinite().all()), "embeddings are not finite"


def _check_moving(encoder: nn.Module) -> None:
    # Moving to a real device changes a parameter in place, to the device without memory it makes another one: a list
    # of parameters that are registered as well is fine.
    registered = list(encoder.parameters())
    encoder.to("meta")
    behind = [
        name
        for name, tensor in held_tensors(encoder)
        if tensor.device.type != "meta" and not any(tensor is each for each in registered)
    ]
    assert not behind, f"left behind: {', '.join(behind)}"


def held_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor a module and its submodules hold, with its path: registered, an attribute, or in a container."""
    seen: set[int] = set()

    def search(path: str, value: Any) -> Iterator[tuple[str, Tensor]]:
        if id(value) in seen:
            return
        if isinstance(value, Tensor):
            yield path, value
        elif isinstance(value, (nn.Module, Mapping, list, tuple, set)):
            seen.add(id(value))
            for name, inner in _parts(value):
                yield from search(f"{path}.{name}" if path else name, inner)

    return search("", module)


def _parts(value: nn.Module | Mapping[Any, Any] | list[Any] | tuple[Any, ...] | set[Any]) -> list[tuple[str, Any]]:
    if isinstance(value, nn.Module):
        registered = ("_parameters", "_buffers", "_modules")
        own = [(name, each) for name, each in vars(value).items() if name not in registered]
        return own + [pair for kind in registered for pair in getattr(value, kind).items()]
    if isinstance(value, Mapping):
        return [(str(key), each) for key, each in value.items()]
    return [(str(place), each) for place, each in enumerate(value)]
