"""A backbone that reads no text is told which of its own promises it breaks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from glta_backbones.none import MeanOfTokens, NoLanguageModel
from glta_backbones.settings import NoneOptions
from glta_backbones.tiny import Tiny

from tests.testing.backbone_promises.broken import put, report_of


class Heard(NoLanguageModel):
    """Loads a model in which words count."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "embed", lambda token_ids: torch.ones(*token_ids.shape, model.hidden_size))
        return model


class Talks(NoLanguageModel):
    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "generate", lambda prompts, max_new_tokens: ["drama"] * len(prompts))
        return model


class Unscaled(NoLanguageModel):
    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "token_rms", 0.0)
        return model


class Layered(NoLanguageModel):
    def architecture(self) -> Any:
        config = super().architecture()
        config.num_hidden_layers = 2
        return config


class Forgets(NoLanguageModel):
    """The graph tokens before a prompt's last place are lost."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "extend", lambda prefix, inputs_embeds, attention_mask: prefix)
        return model


@pytest.mark.parametrize(
    ("promise", "target"),
    [
        ("words change no state of a model that reads no text", Heard),
        ("generate() of a model that reads no text is refused", Talks),
        ("says by a positive `token_rms` where projected tokens start", Unscaled),
        ("its num_hidden_layers is 2, and it is declared to read no text", Layered),
        ("extend() continues a prefix", Forgets),
    ],
)
def test_a_broken_promise_of_one_that_reads_no_text_is_named(promise: str, target: type[NoLanguageModel]) -> None:
    assert promise in report_of(target, options=NoneOptions(hidden_size=16, token_rms=0.1), reads_text=False)


def test_a_language_model_is_none_that_reads_no_text() -> None:
    assert "its num_hidden_layers is 2" in report_of(Tiny, reads_text=False)
    said = report_of(NoLanguageModel, options=NoneOptions(hidden_size=16, token_rms=0.1))
    assert "its num_hidden_layers is 0" in said
