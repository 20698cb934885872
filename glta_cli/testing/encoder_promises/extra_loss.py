"""What an encoder promises of `extra_loss()` and of the gradients of its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder_promises.trial import Encoders, batch
from glta_cli.training.loop import trainable


def extra_loss_promises(contract: Contract, encoders: Encoders) -> None:
    """It is a finite number for every batch, and every parameter is trained."""
    with contract.promise(
        "extra_loss(users [B], items [B] or [2, B]) is a finite scalar tensor, called after forward()", decisive=True
    ):
        distinct = torch.arange(12).view(2, 6)
        for given in (distinct[0], distinct):
            _check_extra_loss(encoders, torch.arange(6), given)
    users, items = batch()
    with contract.promise("extra_loss takes batches in which users and items stand more than once", decisive=True):
        for given in (items[0], items):
            _check_extra_loss(encoders, users, given)
    with contract.promise("extra_loss takes a batch of one"):
        for given in (items[0], items):
            _check_extra_loss(encoders, users[:1], given[..., :1])
    with contract.promise("a loss of what forward() returns trains parameters: nothing is detached on the way"):
        _check_attachment(encoders.draw())
    with contract.promise(
        "every parameter that requires a gradient gets a finite one from forward() and extra_loss()", decisive=True
    ):
        _check_gradients(encoders.draw())


def _check_extra_loss(encoders: Encoders, users: Tensor, items: Tensor) -> None:
    encoder = encoders.draw().train()
    encoder()
    loss = encoder.extra_loss(users, items)
    given = f"for users {list(users.shape)} and items {list(items.shape)}"
    assert isinstance(loss, Tensor), f"it is a {type(loss).__name__} {given}"
    assert loss.ndim == 0, f"its shape is {list(loss.shape)} {given}"
    assert loss.is_floating_point(), f"it is {loss.dtype} {given}"
    assert bool(loss.isfinite()), f"it is {float(loss.detach())} {given}"


def _check_attachment(encoder: Any) -> None:
    encoder.train()
    for name, vectors in zip(("users", "items"), encoder(), strict=True):
        assert vectors.requires_grad, f"{name} need no gradient"
        parameters = tuple(trainable(encoder).values())
        gradients = torch.autograd.grad(vectors.square().sum(), parameters, retain_graph=True, allow_unused=True)
        assert any(gradient is not None and gradient.any() for gradient in gradients), (
            f"no parameter gets one from {name}, but for zeros"
        )


def _check_gradients(encoder: Any) -> None:
    encoder.train()
    users, items = encoder()
    (users.sum() + items.sum() + encoder.extra_loss(*batch())).backward()
    check_gradients(encoder)


def check_gradients(encoder: Any) -> None:
    """After a backward pass every parameter that requires a gradient has a finite one."""
    gradients = {name: parameter.grad for name, parameter in trainable(encoder).items()}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing, f"none: {', '.join(missing)}"
    wild = [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()]
    assert not wild, f"not finite: {', '.join(wild)}"
