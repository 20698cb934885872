"""A Hugging Face causal language model behind the `LanguageModel` protocol."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from glta_backbones.batch_independence import Way, found_once, require_numbers, way_of_states, way_of_words
from glta_backbones.continuation import continue_greedily, keeps_all_tokens
from glta_backbones.generation import stop_tokens
from glta_backbones.model_limits import headless, require_causal, require_known, require_vocabulary, where
from glta_backbones.prefix import ContextCache, PassEnded, Prefix
from glta_backbones.sharding import share_layers, shares_weights
from glta_backbones.transformer import load_transformer, meta_twin, quiet_transformers
from glta_cli.plugin import BackboneSettings, InputError, attach_adapters, choose_dtype, exit_after


class CausalLanguageModel:
    """The body of a causal language model, its input embeddings and its tokenizer.

    All weights are frozen, except low-rank adapters where the settings ask for them. `module` starts in
    evaluation mode; `module.train()` switches the adapters' dropout and gradient checkpointing on, and
    nothing else: the model's own dropout is removed when it is loaded.

    Args:
        model: a `transformers.PreTrainedModel` with a language-model head.
        tokenizer: its tokenizer; a missing padding token becomes the end token.
        settings: adapters and gradient checkpointing.
        sharded: the weights of the layers are shared among processes, which run each pass together.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: BackboneSettings, *, sharded: bool = False) -> None:
        self.config = model.config
        self.title: str = model.config.name_or_path or model.config.model_type
        self.tokenizer = tokenizer
        self.hidden_size: int = model.config.get_text_config().hidden_size
        # Some families name their body otherwise than their prefix says, and are then their own base.
        self.body = model.base_model if model.base_model is not model else model.model
        self.depth: int = model.config.get_text_config().num_hidden_layers
        self._causal = model
        self._embeddings = model.get_input_embeddings()
        self.vocabulary, width = self._embeddings.weight.shape
        if width != self.hidden_size:
            raise InputError(
                f"its embeddings have {width} dimensions, its states {self.hidden_size}",
                location="backbone",
                hint="choose a model whose embeddings are as wide as its states",
            )
        self._unknown_tokens = require_vocabulary(tokenizer, self.vocabulary)
        self._takes_positions = "position_ids" in inspect.signature(self.body.forward).parameters
        self._stops = _stop_tokens(model, tokenizer)
        self._without_head: bool = getattr(model, "without_head", False)
        self.packed: bool = getattr(model, "hf_quantizer", None) is not None
        # How prompts go through the model; `load_causal_lm` tries out what keeps them apart.
        self.way = Way.SHARED
        self._way_of_words: Way | None = None
        self.sharded = sharded
        # A layer that is run again in the backward pass would append to the keys and values a second time, and a
        # sliding window or a recurrent state cannot be continued from plain keys and values. Of shared weights every
        # process asks as often as every other: once for each batch, whatever its prompts have in common.
        self.shares: bool = not settings.gradient_checkpointing and not sharded and keeps_all_tokens(model.config)

        model.requires_grad_(False)
        # Adapters are injected into `model` in place, so `_body` and `_causal` run through them too.
        self.module: torch.nn.Module = attach_adapters(model, settings.lora) if settings.lora else model
        if settings.gradient_checkpointing:
            _checkpoint_gradients(model)
        self.module.eval()

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        device: torch.device = self._embeddings.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the embeddings."""
        dtype: torch.dtype = self._embeddings.weight.dtype
        return dtype

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids [...], int64 -> input embeddings [..., hidden_size] in the model's dtype, no gradient.

        Raises:
            InputError: a token the model has no embedding of.
        """
        if self._unknown_tokens:
            require_known(self.tokenizer, token_ids, self.vocabulary)
        embedded: Tensor = self._embeddings(token_ids)
        return embedded

    def prefix(self, token_ids: Tensor) -> Prefix | None:
        """Keys and values of the tokens [P] every prompt starts with; gradients flow through them to the adapters.

        Returns:
            What `extend` and `hidden` take as `prefix`; None where there are no tokens, where activations are
            recomputed, where a layer keeps something other than keys and values, or where states would depend on
            the padding behind it.
        """
        if not self.shares or self.way is not Way.SHARED or not len(token_ids):
            return None
        return self.shared_prefix(token_ids)

    def shared_prefix(self, token_ids: Tensor) -> Prefix:
        """Keys and values of tokens [P], at least one, whatever was found about padding behind them."""
        gradients = torch.is_grad_enabled()
        # Inference tensors could not take part in a later backward pass.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            output = self.body(inputs_embeds=self.embed(token_ids.clone())[None], use_cache=True)
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
        cache = ContextCache(self.depth)
        with suppress(PassEnded):
            self.body(**self._continuation(prefix, inputs_embeds, cache))
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
        if prefix is not None and not right_padded:
            raise ValueError("prompts that share a prefix are padded on the right")
        if self.way is Way.APART or (self.way is Way.WHOLE and not right_padded):
            return self._states_apart(inputs_embeds, attention_mask)
        return self.padded_states(inputs_embeds, attention_mask, prefix)

    def padded_states(self, inputs_embeds: Tensor, attention_mask: Tensor, prefix: Prefix | None = None) -> Tensor:
        """As `hidden`, all rows in one pass, whatever was found about padding."""
        if prefix is not None:
            arguments = self._continuation(prefix, inputs_embeds, DynamicCache())
        else:
            arguments = {"inputs_embeds": self._own_dtype(inputs_embeds), "use_cache": False}
            if not _is_right_padded(attention_mask):
                arguments["attention_mask"] = attention_mask
                if self._takes_positions:
                    arguments["position_ids"] = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)  # [B, L]
        states: Tensor = self.body(**arguments).last_hidden_state
        return states.to(inputs_embeds)

    def _states_apart(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        """As `hidden`, a pass for each length among the rows, so that nothing is padded; zeros at padding."""
        real = attention_mask.bool()
        lengths = real.sum(dim=1)  # [B]
        states = inputs_embeds.new_zeros(inputs_embeds.shape)
        for length in lengths.unique().tolist():
            if length:
                chosen = real & (lengths == length)[:, None]  # [B, L]
                rows = inputs_embeds[chosen].unflatten(0, (-1, length))  # [R, length, h]
                found = self.padded_states(rows, torch.ones_like(rows[..., 0], dtype=torch.long))
                states = states.index_put((chosen,), found.flatten(0, 1))
        return states

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
        if self._without_head:
            raise headless(self.title)
        ids: list[list[int]] = self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        training = self.module.training
        self.module.eval()
        try:
            if self._way_of_words is None:
                self._way_of_words = found_once(self, "words", way_of_words)
            continued = self._continued(ids, max_new_tokens, self._way_of_words)
        finally:
            self.module.train(training)
        texts: list[str] = self.tokenizer.batch_decode(continued, skip_special_tokens=True)
        return texts

    def _continued(self, ids: list[list[int]], max_new_tokens: int, way: Way) -> list[list[int]]:
        # Where shared starts end, rows are padded: up to twice the longest prompt.
        room = 2 * max(map(len, ids)) + max_new_tokens
        if way is Way.SHARED and keeps_all_tokens(self.config, room):
            head = self._causal.get_output_embeddings()
            return continue_greedily(
                self.body, head, ids, max_new_tokens, self._stops, depth=self.depth, device=self.device
            )
        if way is not Way.APART:
            return self._continue_apart(ids, max_new_tokens)
        answers: list[list[int]] = [[] for _ in ids]
        for length in {len(prompt) for prompt in ids}:
            rows = [row for row, prompt in enumerate(ids) if len(prompt) == length]
            for row, answer in zip(rows, self._continue_apart([ids[row] for row in rows], max_new_tokens), strict=True):
                answers[row] = answer
        return answers

    def _continue_apart(self, prompts: list[list[int]], max_new_tokens: int) -> list[list[int]]:
        """As transformers does it: a recurrent state or a window cannot be shared or cut back like keys and values."""
        output = self._generated(prompts, max_new_tokens)  # [B, L + new]
        new_tokens: list[list[int]] = output.sequences[:, max(map(len, prompts)) :].tolist()
        return new_tokens

    def next_logits(self, prompts: Sequence[list[int]]) -> list[Tensor]:
        """Logits of the next two tokens, fewer where one ends it, as transformers continues a batch: [2, V] each."""
        logits = self._generated(prompts, 2, output_logits=True).logits
        return list(torch.stack(logits, dim=1))

    def read_logits(self, prompt: list[int], places: int) -> Tensor:
        """Logits at the last `places` places of one prompt, which is read in one go: [places, V]."""
        logits: Tensor = self._causal(input_ids=torch.tensor([prompt], device=self.device), use_cache=False).logits[0]
        return logits[-places:]

    def _generated(self, prompts: Sequence[list[int]], new_tokens: int, **asked: Any) -> Any:
        batch = self.tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
        return self._causal.generate(
            **batch.to(self.device),
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self._stops,
            return_dict_in_generate=True,
            **asked,
        )


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
        InputError: an early exit deeper than the model; quantisation, or weights shared among processes, that cannot
            be had here.
        GltaError: the folder holds no usable checkpoint, or one of a model that is not causal.
    """
    require_causal(config)
    sharded = shares_weights(settings, device, partial(_weight_bytes, config, settings, device, full_depth=full_depth))
    if sharded:
        # Each process keeps a part of every layer, on its device: the whole is read beside it, in `device`'s dtype.
        dtype = str(choose_dtype(settings.dtype, device)).removeprefix("torch.")
        settings = settings.model_copy(update={"dtype": dtype})
    place = torch.device("cpu") if sharded else device
    model = load_transformer(AutoModelForCausalLM, config, folder, settings, place, full_depth=full_depth)
    with quiet_transformers():
        language_model = CausalLanguageModel(model, tokenizer, settings, sharded=sharded)
        if sharded:
            share_layers(model, device)
        require_numbers(language_model)
        language_model.way = found_once(language_model, "states", way_of_states)
    if sharded and language_model.way is Way.APART:
        raise InputError(
            "padding changes this model's states, so that processes would run it unequally often",
            location="backbone.shard",
            hint="--set backbone.shard=false, or a model of another family, such as llama or qwen2",
        )
    return language_model


def _weight_bytes(config: Any, settings: BackboneSettings, device: torch.device, *, full_depth: bool) -> int:
    """Of the model as it is loaded, counted without memory for it."""
    config = copy.deepcopy(config)
    if settings.layers is not None and not full_depth:
        exit_after(config, settings.layers)
    twin = meta_twin(config, choose_dtype(settings.dtype, device), AutoModelForCausalLM)
    return sum(each.numel() * each.element_size() for each in twin.parameters())


def _checkpoint_gradients(model: Any) -> None:
    # The non-reentrant form follows gradients to inputs_embeds and into adapters wherever they are, so that
    # frozen token embeddings need not be made to require gradients.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end an answer: those of the checkpoint's generation settings and the tokenizer's own."""
    stops = stop_tokens(model.generation_config.eos_token_id, where(model.config))
    model.generation_config = GenerationConfig()
    return sorted(stops if tokenizer.eos_token_id is None else {*stops, tokenizer.eos_token_id})


def _is_right_padded(attention_mask: Tensor) -> bool:
    """Whether no row has padding before a real token.

    A causal model's states at real tokens then depend on real tokens only, whatever the mask says, and the
    default positions are right; without a mask the fastest attention kernel applies.
    """
    return bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all())
