"""What a recipe may write under `backbone.options`, per backbone."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from glta_cli.plugin import Settings


class HuggingFaceOptions(Settings):
    """Which checkpoint, and what stands in for the parts that are not to be fetched."""

    model: str | None = Field(None, description="hub id or local folder with safetensors, config and tokenizer")
    revision: str | None = Field(None, description="branch, tag or commit of the hub id")
    architecture: dict[str, Any] | None = Field(
        None, description="the transformers configuration with its model_type; spares fetching config.json"
    )
    tokenizer: str | None = Field(
        None, description="hub id, local folder, or `bytes` for the built-in one; null takes the model's"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.model is None and (self.architecture is None or self.tokenizer is None):
            raise ValueError("without a model, both architecture and tokenizer are needed")
        if self.architecture is not None and "model_type" not in self.architecture:
            raise ValueError("architecture needs a model_type, such as llama")
        return self


class CheckpointOptions(Settings):
    """Where the weights are, if not where glta looks by itself."""

    folder: str | None = Field(None, description="local copy of the checkpoint: safetensors, config and tokenizer")


class NoneOptions(Settings):
    """What the language model left out had: by default SmolLM2, so that projectors and head are the same."""

    hidden_size: int = Field(576, ge=1, le=65_536, description="width of the projected tokens")
    token_rms: float = Field(
        0.122, gt=0, description="root mean square the projected tokens start at, as if among the model's words"
    )


class SmolLM2Options(CheckpointOptions):
    """Of SmolLM2."""


class MiniLMOptions(CheckpointOptions):
    """Of MiniLM."""


class TinyOptions(Settings):
    """The shape of the random Llama."""

    hidden_size: int = Field(32, ge=4, le=65_536, description="width of states and embeddings")
    depth: int = Field(2, ge=1, le=1_000, description="transformer layers")
    heads: int = Field(2, ge=1, le=1_000, description="attention heads")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        # Rotary position embeddings turn the two halves of a head against each other.
        if self.hidden_size % (2 * self.heads):
            raise ValueError("hidden_size must be a multiple of twice the heads")
        return self
