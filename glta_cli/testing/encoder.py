"""What an encoder promises (`glta_cli.plugin.GraphEncoder`, `SequenceEncoder`, and both with item texts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel

from glta_cli.testing.contract import Contract, declared
from glta_cli.testing.encoder_promises.devices import device_promises
from glta_cli.testing.encoder_promises.extra_loss import extra_loss_promises
from glta_cli.testing.encoder_promises.outputs import made_promises, output_promises
from glta_cli.testing.encoder_promises.samples import sample_promises
from glta_cli.testing.encoder_promises.sequences import sequence_promises
from glta_cli.testing.encoder_promises.state import state_promises
from glta_cli.testing.encoder_promises.training import training_promises
from glta_cli.testing.encoder_promises.trial import Encoders


def check_encoder(name: str, *, options: Mapping[str, Any] | None = None) -> None:
    """Check the encoder of that name, of an installed plugin, on small random graphs; on a GPU too, if any.

    Args:
        options: settings that differ from their defaults, as `graph.options` of a recipe holds them.

    Raises:
        ContractError: it breaks a promise; the message holds all that are broken.
    """
    contract = Contract(f"encoder '{name}'")
    component, settings = declared(contract, "encoder", name, options)
    encoder_promises(contract, component.target(), settings)
    contract.settle()


def encoder_promises(contract: Contract, target: Callable[..., Any], settings: BaseModel) -> None:
    """Check the class of a graph encoder with the given settings.

    Args:
        target: makes an encoder from a graph and settings, and from text vectors where it asks for them.

    Raises:
        ContractError: a promise is broken without which the others cannot be checked.
    """
    encoders = Encoders(target, settings)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        made_promises(contract, encoders)
        if encoders.reads_histories:
            sequence_promises(contract, encoders)
        else:
            output_promises(contract, encoders)
            extra_loss_promises(contract, encoders)
            sample_promises(contract, encoders)
        state_promises(contract, encoders)
        device_promises(contract, encoders)
        training_promises(contract, encoders)
