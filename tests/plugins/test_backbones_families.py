"""Every causal family the installed transformers knows, as small as its configuration allows, through our backbone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from glta_backbones.byte_tokenizer import VOCABULARY_SIZE, byte_tokenizer
from glta_backbones.causal_lm import CausalLanguageModel, load_causal_lm
from glta_backbones.transformer import meta_twin, quiet_transformers
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from glta_cli.core.errors import GltaError
from glta_cli.plugin.settings import BackboneSettings

CPU = torch.device("cpu")
MOST_PARAMETERS = 8_000_000
# Under whatever name a family has it, and only where it has it.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE, "pad_token_id": 0, "bos_token_id": 257, "eos_token_id": 257,
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embedding_size": 32, "model_dim": 32,
    "word_embed_proj_dim": 32, "attention_hidden_size": 32, "rotary_dim": 8, "lru_width": 32,
    "num_hidden_layers": 2, "n_layers": 2, "n_layer": 2, "num_layers": 2, "decoder_layers": 2,
    "num_attention_heads": 2, "n_heads": 2, "n_head": 2, "decoder_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 48, "ffn_dim": 48, "decoder_ffn_dim": 48, "n_inner": 48, "moe_intermediate_size": 16,
    "ffn_hidden_size": 48, "shared_expert_intermediate_size": 16, "head_dim": 16, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    "max_position_embeddings": 128, "n_positions": 128, "max_seq_len": 128, "window_size": 16, "sliding_window": 16,
    "state_size": 8, "mamba_d_state": 8, "mamba_d_head": 16, "mamba_n_heads": 4, "mamba_expand": 2,
    "vocab_size_per_layer_input": VOCABULARY_SIZE, "hidden_size_per_layer_input": 8,
}  # fmt: skip
# Where layers of several kinds take turns, the first few are of one kind alone.
DEPTHS = (2, 4, 8)
DEPTH_NAMES = ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "decoder_layers")
OWN_VALUES: dict[str, dict[str, Any]] = {
    "codegen": {"n_head": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 4, "head_dim": 16},
}
LENGTHS = (21, 1, 9)


@dataclass
class Outcome:
    family: str
    state: str  # runs, refused, not small, not built, WRONG
    said: str


def small_config(kind: type, depth: int) -> Any:
    """A configuration of that class with the small values it knows; raises where they do not go together."""
    plain = kind()
    text = plain.get_text_config()
    values = SMALL | dict.fromkeys(DEPTH_NAMES, depth) | OWN_VALUES.get(text.model_type, {})
    if hasattr(text, "qk_rope_head_dim"):
        values["head_dim"] = values["qk_rope_head_dim"]
    known = {name: value for name, value in values.items() if hasattr(text, name) and not computed(type(text), name)}
    return kind(**known) if text is plain else kind(text_config=type(text)(**known).to_dict())


def computed(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), property)


def outcome_of(family: str, kind: type) -> Outcome:
    """At the least depth at which the family runs."""
    for depth in DEPTHS:
        outcome = outcome_at(family, kind, depth)
        if outcome.state == "runs" or "cannot be run" not in outcome.said:
            break
    return outcome


def outcome_at(family: str, kind: type, depth: int) -> Outcome:
    try:
        config = small_config(kind, depth)
        size = sum(each.numel() for each in meta_twin(config, torch.float32, AutoModelForCausalLM).parameters())
    except Exception as error:
        return Outcome(family, "not built", f"{type(error).__name__}: {' '.join(str(error).split())}")
    if size > MOST_PARAMETERS:
        return Outcome(family, "not small", f"{size:,} parameters")
    settings = BackboneSettings(weights="random")
    try:
        model = load_causal_lm(config, None, byte_tokenizer(), settings, CPU, full_depth=False)
        wrong = disagreement(model)
    except GltaError as error:
        return Outcome(family, "refused", str(error).replace("\n", ";"))
    except Exception as error:
        return Outcome(family, "WRONG", f"{type(error).__name__}: {error}")
    return Outcome(family, "WRONG" if wrong else "runs", wrong or model.way.value + " prefix" * model.shares)


@torch.no_grad()
def disagreement(model: CausalLanguageModel) -> str:
    """What differs from each prompt run alone; empty where nothing does."""
    shared = torch.tensor([5, 6, 7, 8])
    generator = torch.Generator().manual_seed(3)
    middles = [torch.randint(1, 250, (length,), generator=generator) for length in LENGTHS]
    ends = torch.tensor([9, 10, 11])
    prompts = [torch.cat([shared, middle, ends]) for middle in middles]
    alone = [model.hidden(model.embed(ids)[None], torch.ones(1, len(ids), dtype=torch.long))[0] for ids in prompts]
    together = model.hidden(*padded(model, prompts))
    for row, state in enumerate(alone):
        if not same(together[row, : len(state)], state):
            return f"states of prompt {row} in a batch"
    prefix = model.prefix(shared)
    if prefix is not None:
        behind = model.hidden(*padded(model, [ends] * 3), model.extend(prefix, *padded(model, middles)))
        for row, state in enumerate(alone):
            if not same(behind[row], state[-3:]):
                return f"states of prompt {row} behind a prefix"
    texts = ["Once upon a time there was", "Once upon a", "One"]
    apart = [model.generate([text], 3)[0] for text in texts]
    return "" if model.generate(texts, 3) == apart else "words generated in a batch"


def padded(model: CausalLanguageModel, prompts: list[Tensor]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.stack([torch.nn.functional.pad(prompt, (0, longest - len(prompt))) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return model.embed(ids), (torch.arange(longest) < lengths[:, None]).long()


def same(found: Tensor, expected: Tensor) -> bool:
    return bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())))


@pytest.mark.slow
def test_every_causal_family_runs_alike_in_any_batch_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path))
    warnings.simplefilter("ignore")
    kinds = {kind.model_type: kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING}
    with quiet_transformers():
        outcomes = [outcome_of(family, kind) for family, kind in sorted(kinds.items())]
    print(f"\n{len(outcomes)} families of {len(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)} names")
    for state in sorted({each.state for each in outcomes}):
        chosen = [each for each in outcomes if each.state == state]
        print(f"\n{state}: {len(chosen)}")
        print("\n".join(f"  {each.family:28} {each.said[:170]}" for each in chosen))
    assert [f"{each.family}: {each.said}" for each in outcomes if each.state == "WRONG"] == []
    assert sum(each.state == "runs" for each in outcomes) > len(outcomes) / 2
