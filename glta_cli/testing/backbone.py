"""What every backbone promises: `check_backbone` loads a language model and tries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel

from glta_cli.plugin import Backbone, BackboneDeclaration
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.selection import generates
from glta_cli.recipe.validation import validated
from glta_cli.testing.backbone_promises.adapters import adapter_promises
from glta_cli.testing.backbone_promises.early_exit import exit_promises
from glta_cli.testing.backbone_promises.frozen import frozen_promises, identity_promises
from glta_cli.testing.backbone_promises.generation import generation_promises
from glta_cli.testing.backbone_promises.loading import description_promises, load_promises
from glta_cli.testing.backbone_promises.prefix import prefix_promises
from glta_cli.testing.backbone_promises.sentence_encoder import (
    frozen_reader_promises,
    reader_exit_promises,
    reader_identity_promises,
    reading_promises,
    vector_promises,
)
from glta_cli.testing.backbone_promises.source import Source, devices_of
from glta_cli.testing.backbone_promises.states import state_promises
from glta_cli.testing.backbone_promises.tokens import token_promises
from glta_cli.testing.backbone_promises.wordless import wordless_promises
from glta_cli.testing.contract import Contract, declared


def check_backbone(
    name: str, *, options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Check what a backbone promises, on the CPU and, where there is one, on a GPU.

    One that is declared with `generates=False` is checked as what reads texts into vectors.

    The model is loaded some ten times, at the depth of `settings` and, for the early exit, at full depth: give
    options that make it small.

    Args:
        name: as a recipe would select it by `backbone.name` or `text.backbone`.
        options: the backbone's own settings, such as `backbone.options` of a recipe.
        settings: other keys of a recipe's section `backbone`, such as `{"layers": 2}`.

    Raises:
        ContractError: a promise is broken; names all that are.
        InputErrors: `settings` are none of a recipe.
    """
    contract = Contract(f"backbone '{name}'")
    component, own = declared(contract, "backbone", name, options)
    values = {**(settings or {}), "name": name, "options": dict(options or {})}
    assert isinstance(component.declaration, BackboneDeclaration)
    checked = validated(BackboneSettings, values, ("backbone",), {})
    if generates(component.declaration):
        reads = component.declaration.reads_text
        backbone_promises(contract, component.target(), name, checked, own, reads_text=reads)
    else:
        sentence_encoder_promises(contract, component.target(), name, checked, own)
    contract.settle()


def backbone_promises(
    contract: Contract,
    target: Callable[..., Backbone],
    name: str,
    settings: BackboneSettings,
    options: BaseModel,
    *,
    reads_text: bool = True,
) -> None:
    """Check a class that need not be installed; what is broken is collected in `contract`.

    Args:
        target: the class, called with `name`, `settings` and `options`.
        settings: its adapters, if any, are those that are tried; rank 2 otherwise.
        reads_text: as it would be declared.
    """
    source = Source(target, name, settings, options, reads_text)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        hidden_size = description_promises(contract, source)
        devices = devices_of(settings)
        for device in devices:
            model = load_promises(contract, source, device, hidden_size)
            token_promises(contract, model, device)
            state_promises(contract, source, model, device)
            prefix_promises(contract, source, model, device)
            frozen_promises(contract, source, model, device)
            if reads_text:
                generation_promises(contract, model)
            else:
                wordless_promises(contract, source, model, device)
        identity_promises(contract, source, model, devices[-1])
        adapter_promises(contract, source, model, devices[-1])
        exit_promises(contract, source, devices[-1])


def sentence_encoder_promises(
    contract: Contract, target: Callable[..., Backbone], name: str, settings: BackboneSettings, options: BaseModel
) -> None:
    """As `backbone_promises`, of a class whose declaration says `generates=False`."""
    source = Source(target, name, settings.model_copy(update={"lora": None}), options)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        hidden_size = description_promises(contract, source, generates=False)
        devices = devices_of(settings)
        for device in devices:
            encoder = load_promises(contract, source, device, hidden_size)
            reading_promises(contract, encoder)
            vector_promises(contract, encoder)
            frozen_reader_promises(contract, source, encoder, device)
        reader_identity_promises(contract, source, encoder, devices[-1])
        reader_exit_promises(contract, source, devices[-1])
