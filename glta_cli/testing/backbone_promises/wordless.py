"""What a language model promises that is declared to read no text, but tokens of the graph alone."""

from __future__ import annotations

import torch

from glta_cli.core.errors import GltaError
from glta_cli.plugin import LanguageModel
from glta_cli.testing.agreement import assert_same
from glta_cli.testing.backbone_promises.generation import NEW_TOKENS, PROMPTS
from glta_cli.testing.backbone_promises.sample import LENGTH, drawn_sample, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract


def wordless_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """Words change none of its states, and it generates none."""
    with contract.promise("a model that reads no text says by a positive `token_rms` where projected tokens start"):
        rms = getattr(model, "token_rms", None)
        assert isinstance(rms, float), f"it is {rms!r}"
        assert 0 < rms < float("inf"), f"it is {rms}"
    with contract.promise("words change no state of a model that reads no text"):
        sample = drawn_sample(source, model, device)
        with torch.no_grad():
            words = model.embed(sample.ids)
        behind = states_of(model, torch.cat([words, sample.inputs], dim=1))
        assert_same(behind[:, LENGTH:], states_of(model, sample.inputs))
        before = states_of(model, torch.cat([sample.inputs, words], dim=1))
        assert_same(before[:, LENGTH:], before[:, LENGTH - 1 : LENGTH].expand_as(words), "states at words")
    with contract.promise("generate() of a model that reads no text is refused by a GltaError"):
        try:
            answers = model.generate(list(PROMPTS), NEW_TOKENS)
        except GltaError:
            return
        raise AssertionError(f"it answers {answers!r}")
