"""For each promise of what reads texts and generates nothing, one that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.tiny import Tiny
from torch import Tensor

from glta_cli.core.errors import InputError
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.testing.backbone import sentence_encoder_promises
from tests.testing.backbone_promises.broken import (
    OPTIONS,
    CannotLoad,
    CutsItself,
    Listening,
    LoadsAtOnce,
    NamedByAddress,
    RefusesEverything,
    WithoutConfiguration,
    dropout_in_training,
    other_every_load,
    parameter_elsewhere,
    put,
    report_of,
    said,
    unfrozen,
)


class PooledTiny(Tiny):
    """Reads by the byte tokenizer and the mean of the states; refuses adapters."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        if self.settings.lora:
            raise InputError("never trained")
        return Pooled(super().load(device, full_depth=full_depth))


class Pooled:
    def __init__(self, model: CausalLanguageModel) -> None:
        self.model, self.hidden_size, self.tokenizer, self.module = (
            model, model.hidden_size, model.tokenizer, model.module,
        )  # fmt: skip

    def token_ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        return [self.tokenizer.encode(text or " ")[:most] for text in texts]

    def sentence_vectors(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model.hidden(self.model.embed(token_ids), attention_mask) * attention_mask[:, :, None]
        return states.sum(1) / attention_mask.sum(1, keepdim=True)


def report_of_reader(target: Callable[..., Any]) -> str:
    return said(lambda contract: sentence_encoder_promises(contract, target, "mine", BackboneSettings(), OPTIONS))


def reading(change: Callable[[Any], None]) -> type[PooledTiny]:
    class Changed(PooledTiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
            reader = super().load(device, full_depth=full_depth)
            change(reader)
            return reader

    return Changed


def tokens_changed(change: Callable[[list[list[int]], int], Any]) -> type[PooledTiny]:
    def wrap(reader: Any) -> None:
        token_ids = reader.token_ids
        put(reader, "token_ids", lambda texts, most: change(token_ids(texts, most), most))

    return reading(wrap)


def vectors_changed(change: Callable[[Tensor, Tensor, Tensor, Any], Tensor]) -> type[PooledTiny]:
    """Vectors become `change(vectors, token_ids, attention_mask, reader)`."""

    def wrap(reader: Any) -> None:
        vectors = reader.sentence_vectors
        put(reader, "sentence_vectors", lambda ids, mask: change(vectors(ids, mask), ids, mask, reader))

    return reading(wrap)


class TakesAdapters(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return Pooled(Tiny.load(self, device, full_depth=full_depth))


class ReaderMistakenForRandom(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        reader = super().load(device, full_depth=full_depth)
        if self.settings.weights == "pretrained":
            with torch.no_grad():
                for parameter in reader.module.parameters():
                    parameter.add_(0.1 * parameter.roll(1))
        return reader


class ReaderNeverExits(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return super().load(device, full_depth=True)


class ReaderAlwaysExits(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return super().load(device)


class ReaderWithoutBody(PooledTiny):
    def architecture(self) -> Any:
        text = super().architecture()
        return SimpleNamespace(get_text_config=lambda: text)


def keyed_tokens(reader: Any) -> None:
    token_ids = reader.token_ids
    put(
        reader,
        "token_ids",
        lambda texts, most: [ids[:: 1 if len(texts) == 1 else -1] for ids in token_ids(texts, most)],
    )


BROKEN_READERS: list[tuple[str, Callable[..., Any]]] = [
    ("constructing one is given name, settings and options", lambda name: None),
    ("no weights are loaded before load()", LoadsAtOnce),
    ("architecture() is a transformers configuration", WithoutConfiguration),
    ("architecture() is that of full depth", CutsItself),
    ("a model without weights can be made of architecture()", ReaderWithoutBody),
    ("identity() is a text, the same for another instance", NamedByAddress),
    ("identity() changes with the weights", ReaderMistakenForRandom),
    ("check_demand(), where there is one", RefusesEverything),
    ("load() gives a model on cpu", CannotLoad),
    ("hidden_size is that of the architecture", reading(lambda reader: put(reader, "hidden_size", 17))),
    ("every parameter is on the device asked for", reading(parameter_elsewhere)),
    ("token_ids() gives a list of ids a text", tokens_changed(lambda rows, most: rows[1:])),
    ("token_ids() gives a list of ids a text", tokens_changed(lambda rows, most: [*rows[:-1], []])),
    ("token_ids() gives at most as many ids", tokens_changed(lambda rows, most: [[*row, 1] for row in rows])),
    ("token_ids() gives at most as many ids", tokens_changed(lambda rows, most: [row[:4] for row in rows])),
    ("token_ids() reads a text alike whatever stands", reading(keyed_tokens)),
    ("sentence_vectors() gives finite vectors", vectors_changed(lambda vectors, *_: vectors / 0)),
    ("sentence_vectors() gives finite vectors", vectors_changed(lambda vectors, *_: vectors[:, :3])),
    ("texts read alone have the vectors", vectors_changed(lambda vectors, *_: vectors + vectors.mean(0))),
    ("what stands under a mask of 0", vectors_changed(lambda v, ids, *_: v + ids[:, -1:])),
    ("a vector depends on the whole text", vectors_changed(lambda v, ids, m, r: r.model.embed(ids)[:, 0])),
    ("load() gives the same model again", reading(other_every_load)),
    ("a loaded model is one function", vectors_changed(lambda v, ids, m, reader: dropout_in_training(v, reader))),
    ("it is frozen", reading(unfrozen)),
    ("`backbone.lora` is refused", TakesAdapters),
    ("early exit: `backbone.layers: 1` gives other vectors", ReaderNeverExits),
    ("early exit: load(full_depth=True) ignores", ReaderAlwaysExits),
]


def test_what_only_reads_keeps_every_promise() -> None:
    assert report_of_reader(PooledTiny) == ""


@pytest.mark.parametrize(
    ("promise", "target"), BROKEN_READERS, ids=[f"{n}-{text[:40]}" for n, (text, _) in enumerate(BROKEN_READERS)]
)
def test_a_broken_promise_of_what_only_reads_is_named(promise: str, target: Callable[..., Any]) -> None:
    assert f"\n  - {promise}" in report_of_reader(target)


def test_every_promise_of_what_only_reads_can_be_broken() -> None:
    contract = Listening()
    sentence_encoder_promises(contract, PooledTiny, "mine", BackboneSettings(), OPTIONS)
    named = tuple(promise for promise, _ in BROKEN_READERS)
    assert {text for text in contract.texts if not text.startswith(named)} == {"load() at full depth works"}


def test_only_the_declaration_spares_a_backbone_the_promises_of_a_language_model() -> None:
    """One that reads and does not say so is held to all of them."""
    assert "tokenizer" not in report_of_reader(PooledTiny)
    assert "\n  - embed() takes token ids of any shape" in report_of(PooledTiny)
