"""A backbone under test: how it is made, where it runs, and the text it is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel

from glta_cli.plugin import Backbone, LanguageModel, SentenceEncoder
from glta_cli.plugin.settings import BackboneSettings

TEXT = "A user liked a film about space, a book about gardens and a long walk by the sea."


@dataclass(frozen=True)
class Source:
    """How to make the backbone under test."""

    target: Callable[..., Backbone]
    name: str
    settings: BackboneSettings
    options: BaseModel
    reads_text: bool = True

    def made(self, **changes: Any) -> Backbone:
        """A backbone without adapters, or with other settings."""
        return self.target(self.name, self.settings.model_copy(update={"lora": None, **changes}), self.options)


def devices_of(settings: BackboneSettings) -> list[torch.device]:
    """The CPU and, where there is one, a GPU; quantised weights are tried on the GPU alone."""
    gpu = [torch.device("cuda")] if torch.cuda.is_available() else []
    needs_gpu = settings.quantization != "none"
    return gpu if gpu and needs_gpu else [torch.device("cpu"), *gpu]


def device_of(model: LanguageModel | SentenceEncoder) -> torch.device:
    """Where a loaded model is."""
    return next(model.module.parameters()).device
