"""Attaches low-rank adapters to a language model; the one place that speaks to peft."""

from __future__ import annotations

import warnings
from typing import Any

from glta_cli.core.errors import InputError
from glta_cli.plugin.settings import LoraSettings

# Families in which peft adapts neither the output projection nor the convolution of a state-space layer.
STATE_SPACE = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})


def attach_adapters(model: Any, settings: LoraSettings) -> Any:
    """Freeze `model` and put trainable float32 adapters into its linear layers, in place.

    Their first factor is drawn from torch's global generator, the second is zero: at first nothing changes.

    Source: Hu et al., LoRA, ICLR 2022. The output head is never adapted: GLTA reads the hidden states.

    Args:
        model: a `transformers.PreTrainedModel`, on any device, `meta` included.
        settings: rank, scale, dropout and which layers.

    Returns:
        The `peft.PeftModel` around `model`.

    Raises:
        InputError: no layer has one of the names, one of them names the output head, or the model has fewer
            layers than are to be adapted.

    Example:
        from transformers import AutoModelForCausalLM, Qwen2Config

        from glta_cli.plugin import LoraSettings, attach_adapters

        shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
        model = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=258, num_hidden_layers=2, **shape))
        adapted = attach_adapters(model, LoraSettings(rank=2))
        assert all("lora" in name for name, each in adapted.named_parameters() if each.requires_grad)
    """
    from peft import LoraConfig, get_peft_model

    modules = settings.modules if isinstance(settings.modules, str) else list(settings.modules)
    head = model.get_output_embeddings()
    head_name = next((name for name, module in model.named_modules() if module is head), "lm_head")
    if head_name in modules and not isinstance(modules, str):
        raise InputError(
            f"'{head_name}' is the output head, which GLTA does not use",
            location="backbone.lora.modules",
            hint="name layers of the transformer, or write all-linear",
        )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules,
        exclude_modules=_below_the_top(model, settings.layers),
        bias="none",
        task_type="CAUSAL_LM",
    )
    # Asked now: peft wraps the layers it finds before it refuses.
    usable = _linear_names(model, head)
    on_meta = next(model.parameters()).is_meta
    try:
        with warnings.catch_warnings():
            # peft asks transformers by an old name whether gradients are checkpointed.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            # GPT-2's layers hold their weights transposed, which peft notices and sees to.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False", category=UserWarning)
            return get_peft_model(model, config, low_cpu_mem_usage=on_meta)
    except ValueError as error:
        raise InputError(
            f"cannot be adapted: {error}",
            location="backbone.lora.modules",
            hint=f"linear layers of this model: {', '.join(usable)}",
        ) from error


def _below_the_top(model: Any, layers: int | None) -> str | None:
    """A pattern of the modules of all but the top `layers` layers; None where every layer is adapted."""
    depth: int = model.config.get_text_config().num_hidden_layers
    if layers is None or layers == depth:
        return None
    if layers > depth:
        raise InputError(
            f"{layers} layers are to be adapted, the model runs {depth}",
            location="backbone.lora.layers",
            hint=f"at most {depth}; null adapts all",
        )
    # A layer's index is the first number in the name of a module: model.layers.3.mlp.up_proj.
    lower = "|".join(map(str, range(depth - layers)))
    return rf"(?:[A-Za-z_]\w*\.)*(?:{lower})\..*"


def _linear_names(model: Any, head: Any) -> list[str]:
    """What `backbone.lora.modules` may name: linear layers, but for the output head and what peft never adapts."""
    # A state-space layer's kernel reads the weight of its own projection, past any adapter on it.
    unusable = {"out_proj", "conv1d"} if model.config.model_type in STATE_SPACE else set()
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module, head)}
    return sorted(names - unusable)


def _is_linear(module: Any, head: Any) -> bool:
    # Quantised layers and GPT-2's Conv1D are no subclasses of nn.Linear, but are named after their kind.
    return module is not head and type(module).__name__.startswith(("Linear", "Conv1D"))
