"""What a sequence encoder promises of the states it gives for histories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glta_cli.graph.histories import PADDING
from glta_cli.testing.agreement import assert_same
from glta_cli.testing.contract import Contract
from glta_cli.testing.drawn import ITEMS
from glta_cli.testing.encoder_promises.extra_loss import check_gradients
from glta_cli.testing.encoder_promises.trial import Encoders, next_item_loss

# Places of the histories that are tried, where it reads as many.
LONGEST_TRIED = 6


def sequence_promises(contract: Contract, encoders: Encoders) -> None:
    """A state follows from the items up to its place and from nothing else."""
    encoder = encoders.draw()
    with contract.promise("longest_history() is how many items it reads at most, 1 or more", decisive=True):
        longest = encoder.longest_history()
        assert type(longest) is int, f"it returns {longest!r}"
        assert longest >= 1, f"it returns {longest}"
    histories = drawn_histories(min(longest, LONGEST_TRIED))
    with contract.promise("encode() leaves the histories as they are given", decisive=True):
        given = histories.clone()
        encoder.encode(given)
        assert torch.equal(given, histories), "changed"
    with contract.promise(
        "items() returns [I, d] and encode() of histories [B, L] states [B, L, d], float32 and finite at padding too, "
        "d = settings.dimension",
        decisive=True,
    ):
        for mode in (True, False):
            encoder.train(mode)
            for width in range(1, histories.shape[1] + 1):
                _check_shapes(encoder, histories[:, -width:], encoders.settings.dimension)
    with contract.promise("in eval mode encode() gives the same each time", decisive=True):
        _check_same(states_of(encoder, histories), states_of(encoder, histories), histories >= 0)
    with contract.promise("a later item changes no earlier state"):
        _check_causality(encoder, histories)
    with contract.promise("the state at an item follows from it"):
        other = histories.clone()
        other[:, -1] = (other[:, -1] + 1) % ITEMS
        before, after = states_of(encoder, histories)[:, -1], states_of(encoder, other)[:, -1]
        assert not torch.allclose(before, after, rtol=1e-3, atol=1e-6), "another newest item gives the same one"
    with contract.promise("other histories of the batch change no state"):
        whole = states_of(encoder, histories)
        alone = torch.cat([states_of(encoder, row[None]) for row in histories])
        _check_same(whole, alone, histories >= 0)
    with contract.promise("padding on the left changes no state"):
        _check_padding(encoder, histories)
    with contract.promise(
        "every parameter that requires a gradient gets a finite one from a loss of states and items", decisive=True
    ):
        trained = encoders.draw().train()
        next_item_loss(trained).backward()
        check_gradients(trained)


def drawn_histories(length: int) -> Tensor:
    """Four histories of at most `length` items, int64 [4, length], no two of the same length where that can be."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.stack([torch.randperm(ITEMS, generator=generator)[:length] for _ in range(4)])
    for row in range(4):
        rows[row, : min(row, length - 1)] = PADDING
    return rows


def states_of(encoder: Any, histories: Tensor) -> Tensor:
    """As serving sees them, [B, L, d]."""
    encoder.eval()
    with torch.no_grad():
        states: Tensor = encoder.encode(histories)
    return states


def _check_shapes(encoder: Any, histories: Tensor, dimension: int) -> None:
    items, states = encoder.items(), encoder.encode(histories)
    for name, found, shape in (
        ("items()", items, (ITEMS, dimension)),
        (f"encode() of {list(histories.shape)}", states, (*histories.shape, dimension)),
    ):
        assert isinstance(found, Tensor), f"{name} is a {type(found).__name__}"
        assert tuple(found.shape) == shape, f"{name} has the shape {list(found.shape)}, not {list(shape)}"
        assert found.dtype == torch.float32, f"{name} is {found.dtype}"
        assert bool(found.isfinite().all()), f"{name} is not finite everywhere"


def _check_causality(encoder: Any, histories: Tensor) -> None:
    whole = states_of(encoder, histories)
    for place in range(1, histories.shape[1]):
        other = histories.clone()
        other[:, place:] = (other[:, place:] + 1) % ITEMS
        earlier = (histories >= 0) & (torch.arange(histories.shape[1]) < place)
        _check_same(whole, states_of(encoder, other), earlier)


def _check_padding(encoder: Any, histories: Tensor) -> None:
    whole = states_of(encoder, histories)
    for row, states in zip(histories, whole, strict=True):
        held = row >= 0
        short = row[held][None]  # [1, n]
        _check_same(states[held][None], states_of(encoder, short), short >= 0)


def _check_same(found: Tensor, expected: Tensor, held: Tensor) -> None:
    """States [B, L, d] where histories hold items, [B, L]."""
    assert_same(found[held], expected[held])
