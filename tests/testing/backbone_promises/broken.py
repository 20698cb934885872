"""Backbones that break promises of any backbone, and what a check says of one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.settings import TinyOptions
from glta_backbones.tiny import Tiny
from torch import Tensor, nn

from glta_cli.plugin import Demand, GltaError
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.testing import ContractError
from glta_cli.testing.backbone import backbone_promises
from glta_cli.testing.contract import Contract

CPU = torch.device("cpu")
OPTIONS = TinyOptions(hidden_size=16, depth=2, heads=2)
LOADS = count(1)


def report_of(
    target: Callable[..., Any],
    settings: BackboneSettings | None = None,
    *,
    options: Any = OPTIONS,
    reads_text: bool = True,
) -> str:
    """What the check of a language model says of a class; nothing where it keeps every promise."""
    settings = settings or BackboneSettings()
    return said(lambda contract: backbone_promises(contract, target, "mine", settings, options, reads_text=reads_text))


def said(check: Callable[[Contract], None]) -> str:
    """What a check says of the backbone `mine`."""
    contract = Contract("backbone 'mine'")
    try:
        check(contract)
        contract.settle()
    except ContractError as error:
        return str(error)
    return ""


class Listening(Contract):
    """Notes the text of every promise that is checked."""

    def __init__(self) -> None:
        super().__init__("backbone 'mine'")
        self.texts: set[str] = set()

    def promise(self, text: str, *, decisive: bool = False) -> Any:
        self.texts.add(text)
        return super().promise(text, decisive=decisive)


def changed(change: Callable[[Any], None]) -> type[Tiny]:
    """A backbone whose every model was changed after it was loaded."""

    class Changed(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            model = super().load(device, full_depth=full_depth)
            change(model)
            return model

    return Changed


def put(model: Any, name: str, value: Any) -> None:
    setattr(model, name, value)


# ----------------------------------------------------------------------------- before loading and while it loads


class LoadsAtOnce(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.model = self.load(CPU)


class Another(Tiny):
    """Loads as `tiny` does, whatever else it says."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        return Tiny(self.name, self.settings, self.options).load(device, full_depth=full_depth)


class WithoutConfiguration(Another):
    def architecture(self) -> Any:
        return {"hidden_size": 16}


class CutsItself(Another):
    def architecture(self) -> Any:
        config = super().architecture()
        config.num_hidden_layers = self.settings.layers or config.num_hidden_layers
        return config


class NamedByAddress(Tiny):
    instances = count()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.instance = next(self.instances)

    def identity(self) -> str:
        return f"mine-{self.instance}"


class RefusesEverything(Tiny):
    def check_demand(self, demand: Demand) -> None:
        raise GltaError("never")


class CannotLoad(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        raise RuntimeError("out of luck")


# --------------------------------------------------------------------------------------------- once it is loaded


def parameter_elsewhere(model: Any) -> None:
    model.module.register_parameter("elsewhere", nn.Parameter(torch.zeros(1, device="meta"), requires_grad=False))


def other_every_load(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1 + 0.1 * next(LOADS))


def dropout_in_training(states: Tensor, model: Any) -> Tensor:
    return nn.functional.dropout(states, 0.5, training=model.module.training)


def unfrozen(model: Any) -> None:
    model.module.get_parameter(list(dict(model.module.named_parameters()))[-1]).requires_grad_(True)
