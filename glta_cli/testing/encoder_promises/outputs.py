"""What an encoder promises of its constructor and of what `forward()` returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from glta_cli.testing.agreement import distance
from glta_cli.testing.contract import Contract
from glta_cli.testing.drawn import ITEMS, USERS
from glta_cli.testing.encoder_promises.trial import Encoders, embeddings
from glta_cli.training.loop import trainable


def made_promises(contract: Contract, encoders: Encoders) -> None:
    """It makes a module with something to train, and its settings say how wide its embeddings are."""
    given = "(graph, settings, text_vectors)" if encoders.takes_texts else "(graph, settings)"
    with contract.promise(f"its target makes a torch.nn.Module with parameters to train from {given}", decisive=True):
        encoder = encoders.draw()
        assert isinstance(encoder, nn.Module), f"it makes a {type(encoder).__name__}"
        assert trainable(encoder), "no parameter requires a gradient"
    with contract.promise("its settings have an integer `dimension`, of the embeddings", decisive=True):
        dimension = getattr(encoders.settings, "dimension", None)
        assert type(dimension) is int, f"it is {dimension!r}"


def output_promises(contract: Contract, encoders: Encoders) -> None:
    """Its embeddings have the right shape and are the same each time."""
    encoder = encoders.draw()
    with contract.promise(
        "forward() returns users [U, d] and items [I, d], float32 and finite, d = settings.dimension, "
        "also of nodes without an edge",
        decisive=True,
    ):
        for mode in (True, False):
            check_outputs(encoder.train(mode)(), encoders.settings.dimension)
    with contract.promise("in eval mode forward() gives the same each time", decisive=True):
        for first, second in zip(embeddings(encoder), embeddings(encoder), strict=True):
            assert torch.equal(first, second), f"two calls differ by up to {distance(first, second):.3g}"


def check_outputs(outputs: Any, dimension: int) -> None:
    """Users [U, d] and items [I, d], float32 and finite."""
    assert isinstance(outputs, (tuple, list)), f"it returns a {type(outputs).__name__}"
    assert len(outputs) == 2, f"it returns {len(outputs)} values"
    for name, vectors, count in zip(("users", "items"), outputs, (USERS, ITEMS), strict=True):
        assert isinstance(vectors, Tensor), f"{name} are a {type(vectors).__name__}"
        expected = (count, dimension)
        assert tuple(vectors.shape) == expected, f"{name} have the shape {list(vectors.shape)}, not {list(expected)}"
        assert vectors.dtype == torch.float32, f"{name} are {vectors.dtype}"
        rows = (~vectors.isfinite()).any(dim=1).nonzero().flatten().tolist()
        assert not rows, f"{name} {rows} are not finite"
