"""A Hugging Face causal language model behind the `LanguageModel` protocol."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from glta_backbones.continuation import continue_greedily, keeps_all_tokens
from glta_backbones.prefix import ContextCache, PassEnded, Prefix
from glta_backbones.transformer import load_transformer, quiet_transformers
from glta_cli.plugin import BackboneSettings, InputError, attach_adapters


class CausalLanguageModel:
    """The body of a causal language model, its input embeddings and its tokenizer.

    All weights are frozen, except low-rank adapters where the settings ask for them. `module` starts in
    evaluation mode; `module.train()` switches the adapters' dropout and gradient checkpointing on, and
    nothing else: the model's own dropout is removed when it is loaded.

    Args:
        model: a `transformers.PreTrainedModel` with a language-model head.
        tokenizer: its tokenizer; a missing padding token becomes the end token.
        settings: adapters and gradient checkpointing.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: BackboneSettings) -> None:
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer = tokenizer
        self.hidden_size: int = model.config.get_text_config().hidden_size
        self._causal = model
        self._body = model.base_model
        self._embeddings = model.get_input_embeddings()
        width = self._embeddings.weight.shape[1]
        if width != self.hidden_size:
            raise InputError(
                f"its embeddings have {width} dimensions, its states {self.hidden_size}",
                location="backbone",
                hint="choose a model whose embeddings are as wide as its states",
            )
        self._takes_positions = "position_ids" in inspect.signature(self._body.forward).parameters
        self._stops = _stop_tokens(model, tokenizer)
        self._depth: int = model.config.get_text_config().num_hidden_layers
        # A layer that is run again in the backward pass would append to the keys and values a second time, and a
        # sliding window or a recurrent state cannot be continued from plain keys and values.
        self._takes_prefix = not settings.gradient_checkpointing and keeps_all_tokens(model.config)

        model.requires_grad_(False)
        # Adapters are injected into `model` in place, so `_body` and `_causal` run through them too.
        self.module: torch.nn.Module = attach_adapters(model, settings.lora) if settings.lora else model
        if settings.gradient_checkpointing:
            _checkpoint_gradients(model)
        self.module.eval()

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids [...], int64 -> input embeddings [..., hidden_size] in the model's dtype, no gradient."""
        embedded: Tensor = self._embeddings(token_ids)
        return embedded

    def prefix(self, token_ids: Tensor) -> Prefix | None:
        """Keys and values of the tokens [P] every prompt starts with; gradients flow through them to the adapters.

        Returns:
            What `extend` and `hidden` take as `prefix`; None where there are no tokens, where activations are
            recomputed, or where a layer keeps something other than keys and values.
        """
        if not self._takes_prefix or not len(token_ids):
            return None
        gradients = torch.is_grad_enabled()
        # Inference tensors could not take part in a later backward pass.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            output = self._body(inputs_embeds=self.embed(token_ids.clone())[None], use_cache=True)
        return Prefix([(layer.keys, layer.values) for layer in output.past_key_values.layers])

    def extend(self, prefix: Prefix, inputs_embeds: Tensor, attention_mask: Tensor) -> Prefix:
        """The prefix followed by tokens whose own states are not needed: the last layer ends at keys and values.

        Args:
            prefix: shared by all prompts, or of as many prompts.
            inputs_embeds: [B, L, hidden_size].
            attention_mask: [B, L], 1 = real; padding on the right, or none.

        Returns:
            What `extend` and `hidden` take as `prefix`; gradients flow through it.
        """
        cache = ContextCache(self._depth)
        with suppress(PassEnded):
            self._body(**self._continuation(prefix, inputs_embeds, cache))
        return prefix.followed_by([(layer.keys, layer.values) for layer in cache.layers], attention_mask)

    def hidden(self, inputs_embeds: Tensor, attention_mask: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Run the transformer without its output head.

        Args:
            inputs_embeds: [B, L, hidden_size]; cast to the model's dtype inside.
            attention_mask: [B, L], 1 = real; padding on the left, on the right, or none.
            prefix: tokens before `inputs_embeds`, which is then padded on the right or not at all.

        Returns:
            States after the final norm [B, L, hidden_size], in the dtype and on the device of
            `inputs_embeds`. Those at padding positions mean nothing.

        Raises:
            ValueError: left padding after a prefix.
        """
        right_padded = _is_right_padded(attention_mask)
        if prefix is not None:
            if not right_padded:
                raise ValueError("prompts that share a prefix are padded on the right")
            arguments = self._continuation(prefix, inputs_embeds, DynamicCache())
        else:
            arguments = {"inputs_embeds": self._own_dtype(inputs_embeds), "use_cache": False}
            if not right_padded:
                arguments["attention_mask"] = attention_mask
                if self._takes_positions:
                    arguments["position_ids"] = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)  # [B, L]
        states: Tensor = self._body(**arguments).last_hidden_state
        return states.to(inputs_embeds)

    def _continuation(self, prefix: Prefix, inputs_embeds: Tensor, cache: DynamicCache) -> dict[str, Any]:
        """Arguments of a pass over tokens [B, L, hidden_size] behind a prefix, which may be padded inside."""
        size, length = inputs_embeds.shape[:2]
        prefix.write_to(cache, size)
        arguments = {"inputs_embeds": self._own_dtype(inputs_embeds), "use_cache": True, "past_key_values": cache}
        if prefix.mask is not None:
            # Padding behind the last real token needs no mask: no real token looks ahead.
            arguments["attention_mask"] = torch.cat([prefix.mask, prefix.mask.new_ones(size, length)], dim=1)
            if self._takes_positions:
                steps = torch.arange(length, device=inputs_embeds.device)
                arguments["position_ids"] = prefix.mask.sum(dim=1, keepdim=True) + steps  # [B, L]
        return arguments

    def _own_dtype(self, inputs_embeds: Tensor) -> Tensor:
        return inputs_embeds.to(self._embeddings.weight.dtype)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Continue each prompt greedily by at most `max_new_tokens` tokens; the new text only.

        Args:
            prompts: final texts, chat markup and beginning-of-sequence token included.
        """
        if not prompts:
            return []
        ids: list[list[int]] = self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        training = self.module.training
        self.module.eval()
        try:
            # Where shared starts end, rows are padded: up to twice the longest prompt.
            if keeps_all_tokens(self._causal.config, 2 * max(map(len, ids)) + max_new_tokens):
                head, device = self._causal.get_output_embeddings(), self._embeddings.weight.device
                continued = continue_greedily(
                    self._body, head, ids, max_new_tokens, self._stops, depth=self._depth, device=device
                )
            else:
                continued = self._continue_apart(ids, max_new_tokens)
        finally:
            self.module.train(training)
        texts: list[str] = self.tokenizer.batch_decode(continued, skip_special_tokens=True)
        return texts

    def _continue_apart(self, prompts: list[list[int]], max_new_tokens: int) -> list[list[int]]:
        """As transformers does it: a recurrent state or a window cannot be shared or cut back like keys and values."""
        batch = self.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        batch = batch.to(self._embeddings.weight.device)
        output = self._causal.generate(
            **batch,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self._stops,
        )  # [B, L + new]
        new_tokens: list[list[int]] = output[:, batch["input_ids"].shape[1] :].tolist()
        return new_tokens


# ------------------------------------------------------------------------------------------------ loading


def load_causal_lm(
    config: Any,
    folder: Path | None,
    tokenizer: Any,
    settings: BackboneSettings,
    device: torch.device,
    *,
    full_depth: bool,
) -> CausalLanguageModel:
    """Load a checkpoint, or draw random weights, in the dtype and depth the settings ask for.

    Args:
        config: the `transformers` configuration at full depth; left unchanged.
        folder: holds the safetensors; None draws random weights, the same ones every time.
        full_depth: ignore the early exit.

    Raises:
        InputError: an early exit deeper than the model; quantisation that cannot be had here.
        GltaError: the folder holds no usable checkpoint.
    """
    model = load_transformer(AutoModelForCausalLM, config, folder, settings, device, full_depth=full_depth)
    with quiet_transformers():
        return CausalLanguageModel(model, tokenizer, settings)


def _checkpoint_gradients(model: Any) -> None:
    # The non-reentrant form follows gradients to inputs_embeds and into adapters wherever they are, so that
    # frozen token embeddings need not be made to require gradients.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end an answer: those of the checkpoint's generation settings and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    stops = set(configured if isinstance(configured, list) else [configured])
    stops.add(tokenizer.eos_token_id)
    model.generation_config = GenerationConfig()
    return sorted(stop for stop in stops if stop is not None)


def _is_right_padded(attention_mask: Tensor) -> bool:
    """Whether no row has padding before a real token.

    A causal model's states at real tokens then depend on real tokens only, whatever the mask says, and the
    default positions are right; without a mask the fastest attention kernel applies.
    """
    return bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all())
