"""What a model can be given, as its configuration and tokenizer say: which tokens, how many, in which direction."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from glta_backbones.refusals import say_once
from glta_cli.plugin import Demand, GltaError, InputError

# Families that transformers lists among causal models and that read in both directions unless they are told not to.
BOTH_WAYS = frozenset(
    {
        "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta",
        "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod", "bert-generation",
        "reformer",
    }
)  # fmt: skip
# Those that have no switch: their states depend on what comes after.
NEVER_CAUSAL = frozenset({"xlnet", "xlm", "flaubert", "prophetnet", "xlm-prophetnet"})
# Their angles are computed once, for as many positions as the configuration says.
TABLES_OF_ANGLES = frozenset({"codegen", "ctrl", "gptj", "mpt"})
WITHOUT_WORDS = "leave the words out: --set interests.profile=false --set interests.prediction=false"
SUGGESTION = "choose a causal language model, such as one of the families llama, qwen, gemma, mistral or gpt2"


def require_causal(config: Any) -> None:
    """Raise `GltaError` for a model that is no causal language model, as far as its configuration says."""
    kind = config.model_type
    problem = None
    if getattr(config, "is_encoder_decoder", False):
        problem = "an encoder with a decoder"
    elif type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        problem = "none that transformers runs as a causal language model"
    elif kind in NEVER_CAUSAL or (kind in BOTH_WAYS and not getattr(config, "is_decoder", False)):
        problem = "one that reads in both directions"
    if problem:
        raise GltaError(f"is no causal language model: '{kind}' is {problem}", location=where(config), hint=SUGGESTION)


def where(config: Any) -> str:
    """The model as an error names it."""
    return str(getattr(config, "name_or_path", "") or config.model_type)


def most_tokens(config: Any) -> int | None:
    """Tokens the model has positions for, or was trained with; None where its configuration names no number."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def window_of(config: Any) -> int | None:
    """The shortest window of attention a configuration names; None without one."""
    text = config.get_text_config()
    found = [value for name, value in vars(text).items() if "window" in name and type(value) is int and value > 0]
    return min(found, default=None)


def require_vocabulary(tokenizer: Any, rows: int) -> bool:
    """Settle what the tokenizer knows beyond the model's embedding, and give it a token to pad with.

    A special token beyond it, such as one to pad with that was added later, is never written by glta.

    Returns:
        Whether there are such tokens.

    Raises:
        GltaError: words are among them.
    """
    beyond = {name: number for name, number in tokenizer.get_vocab().items() if number >= rows}
    added = (str(each) for each in tokenizer.added_tokens_decoder.values() if each.special)
    special = {*tokenizer.all_special_tokens, *added}
    words = sorted(set(beyond) - special, key=beyond.__getitem__)
    if words:
        first = tokenizer.decode([beyond[words[0]]])
        more = f" and {len(words) - 1} more" if len(words) > 1 else ""
        raise GltaError(
            f"its tokenizer has {max(beyond.values()) + 1} tokens, its embedding {rows} rows: none for {first!r}{more}",
            location=str(tokenizer.name_or_path or "backbone"),
            hint="tokenizer and weights are of different models; take the tokenizer the model was saved with",
        )
    if tokenizer.pad_token is None or tokenizer.pad_token_id >= rows:
        tokenizer.pad_token = tokenizer.eos_token
    if beyond:
        names = escape(", ".join(sorted(beyond, key=beyond.__getitem__)[:3]))
        say_once(f"[yellow]warning[/]: the model has no embedding of the special tokens {names}: no text may hold them")
    return bool(beyond)


def require_known(tokenizer: Any, token_ids: Tensor, rows: int) -> None:
    """Raise `InputError` for a token beyond the embedding."""
    highest = int(token_ids.max()) if token_ids.numel() else 0
    if highest >= rows:
        raise InputError(
            f"a text holds {tokenizer.convert_ids_to_tokens(highest)!r}, a token the model has no embedding of",
            location=str(tokenizer.name_or_path or "backbone"),
            hint="take it out of the item texts and prompts",
        )


def headless(location: str) -> GltaError:
    """The refusal of a checkpoint that is to write words and has no output head."""
    return GltaError(
        "the checkpoint has no output head, so it writes no words",
        location=location,
        hint=WITHOUT_WORDS,
    )


def require_positions(config: Any, model: Any, tokenizer: Any, demand: Demand) -> None:
    """Hold the longest prompts against the positions a model has, or was trained with.

    Args:
        model: on torch's meta device.

    Raises:
        GltaError: a prompt is longer than its table of positions, beyond which it fails. Where positions are turned
            or weighted, and so can be computed for any place, it is told that the model was never trained there.
    """
    most = None if _needs_no_positions(config) else most_tokens(config)
    long = demand.longer_than(tokenizer, most)
    for prompt in long:
        problem = f"prompts of {prompt.stage} are up to {prompt.tokens} tokens long, the model has {most} positions"
        shorter = f"make them shorter: {', '.join(prompt.settings)}"
        if _computes_positions(config, model):
            say_once(f"[yellow]warning[/]: {escape(where(config))}: {problem}, trained for no more; {shorter}")
        else:
            raise GltaError(problem, location=where(config), hint=f"{shorter}; or choose a model with more positions")


def _needs_no_positions(config: Any) -> bool:
    """Whether attention is weighted by distance alone, whatever the configuration says of positions."""
    text = config.get_text_config()
    return bool(getattr(text, "alibi", False)) or text.model_type == "bloom"


def _computes_positions(config: Any, model: Any) -> bool:
    """Whether positions are computed, as rotary and sinusoidal ones are, in place of looked up in a table."""
    text = config.get_text_config()
    if text.model_type in TABLES_OF_ANGLES:
        return False
    turned = getattr(text, "rope_parameters", None) is not None or getattr(text, "rope_theta", None) is not None
    kinds = {type(module).__name__ for module in model.modules()}
    learned = any("Learned" in kind for kind in kinds) or any(name.endswith("wpe") for name, _ in model.named_modules())
    made = any("Rotary" in kind or "Sinusoidal" in kind for kind in kinds)
    return (turned or made) and not learned
