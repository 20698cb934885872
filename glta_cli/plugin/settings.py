"""The base of every settings model, and what a recipe asks of the language model: a backbone is given both.

The section `backbone` stands here, and not beside the other sections in `glta_cli.recipe.schema`, because a plugin
is handed it whole.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_COUNT = 2**31 - 1  # of what is counted, and the size of what is not: no machine holds more


class Settings(BaseModel):
    """Base of every settings model: strict types, finite numbers, no unknown keys, immutable once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class LoraSettings(Settings):
    """Low-rank adapters on the language model, trained in stage 3 (Hu et al., ICLR 2022; through peft)."""

    rank: int = Field(8, ge=1, le=MOST_COUNT, description="of every adapter")
    alpha: float = Field(16.0, gt=0, description="scale: alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the adapter's input")
    modules: tuple[str, ...] | Literal["all-linear"] = Field("all-linear", description="names of adapted layers")
    layers: int | None = Field(
        None,
        ge=1,
        le=MOST_COUNT,
        description="adapt this many transformer layers, counted from the top; null adapts all",
    )


class BackboneSettings(Settings):
    """The language model."""

    name: str = Field("smollm2", description="a backbone of `glta plugins`")
    layers: int | None = Field(
        None,
        ge=1,
        le=MOST_COUNT,
        description="early exit after this many layers; null runs all; auto, a recipe's default: all on a GPU, the "
        "first 4 without one",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random is the control: the same architecture, untrained"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="auto: float32 on a CPU, bfloat16 on a GPU that has it; float16 trains without loss scaling, "
        "so gradients may underflow",
    )
    device_map: str | None = Field(None, description="accelerate's placement over several devices, such as auto")
    quantization: Literal["none", "8bit", "4bit"] = Field("none", description="through bitsandbytes; 4bit is NF4")
    shard: bool | Literal["auto"] = Field(
        False,
        description="with several processes each holds a part of every layer's weights, gathered a layer at a time "
        "(FSDP2); auto: where the weights would fill a device",
    )
    gradient_checkpointing: bool = Field(False, description="recompute activations to save memory")
    lora: LoraSettings | None = Field(None, description="adapters to train in stage 3; null keeps the model frozen")
    options: dict[str, Any] = Field({}, description="the backbone's own settings")
