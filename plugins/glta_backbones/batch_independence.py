"""Whether a prompt's states depend on what shares its batch, tried out once for each model, and what is done then."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
import transformers
from rich.markup import escape
from torch import Tensor

from glta_backbones.continuation import Rows, keeps_all_tokens
from glta_backbones.model_limits import WITHOUT_WORDS, most_tokens, window_of
from glta_backbones.refusals import errors_told, memory_error, reason, say_once
from glta_cli.plugin import GltaError, cache_root, fingerprint, out_of_memory, read_json, write_json

if TYPE_CHECKING:
    from glta_backbones.causal_lm import CausalLanguageModel

# To be raised when something else is tried out: what was found before is then found again.
FORM = 1
# Largest difference of two states, relative to their length, that rounding explains.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
PACKED_TOLERANCE = 0.2
PREFIX, ENDS = 3, 2
MIDDLES = (7, 0, 4)
# A window is passed by one long prompt, unless that would take longer than what is learnt is worth.
LONGEST_WINDOW = 1024
ANOTHER_MODEL = "choose another model, such as one of the families llama, qwen or gpt2"


class Way(StrEnum):
    """How prompts go through a model, the fastest first."""

    SHARED = "shared"  # what prompts share is run once, and rows are padded wherever a piece ends
    WHOLE = "whole"  # every prompt is run whole, padded at one end
    APART = "apart"  # only prompts of one length share a pass: nothing is padded


def found_once(model: CausalLanguageModel, kind: str, find: Callable[[CausalLanguageModel], Way]) -> Way:
    """What `find` finds, or found before for a model that computes alike on such a device, whatever its weights.

    Raises:
        GltaError: no way gives a prompt the states it has alone.
    """
    if model.sharded:
        return find(model)  # by all processes together, of which none may know it from before
    path = cache_root() / "batching" / f"{_key(model, kind)}.json"
    with suppress(GltaError, OSError, KeyError, TypeError, ValueError):
        if path.is_file():
            return Way(read_json(path)["way"])
    way = find(model)
    with suppress(OSError):  # found again at the next load, where the cache cannot be written
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"model": model.title, "what": kind, "way": way.value})
    return way


def _key(model: CausalLanguageModel, kind: str) -> str:
    config = json.loads(model.config.to_json_string(use_diff=False))
    for name in ("_name_or_path", "name_or_path", "transformers_version"):
        config.pop(name, None)
    device, dtype = model.device.type, str(model.dtype)
    releases = [transformers.__version__, torch.__version__]
    return fingerprint([FORM, kind, config, device, dtype, model.packed, model.shares, releases])


@torch.no_grad()
def way_of_states(model: CausalLanguageModel) -> Way:
    """The fastest way that gives the last states of prompts whatever shares their batch; told where it is slower.

    Raises:
        GltaError: the model cannot be run; a state depends on later tokens; even rows of one length differ.
    """
    prompts = _prompts(model)
    with _running(model):
        alone = [_whole(model, [ids])[0] for ids in prompts]
    # All start alike and go on otherwise.
    if not all(_same(each[:PREFIX], alone[0][:PREFIX], model) for each in alone):
        raise _refusal(model, "is no causal language model: the state at a token changes with the tokens after it")
    if _agrees(lambda: _whole(model, prompts), alone, model):
        if not model.shares or _agrees(lambda: _shared(model, prompts), [each[-ENDS:] for each in alone], model):
            return Way.SHARED
        say_once(_told(model, "behind a shared start a prompt has other states", "every prompt is run whole"))
        return Way.WHOLE
    if _agrees(lambda: _whole(model, [prompts[0]] * 2), [alone[0]] * 2, model):
        say_once(_told(model, "padding changes a prompt's states", "only prompts of one length share a pass"))
        return Way.APART
    raise _refusal(model, "gives a prompt other states beside another one of the same length")


@torch.no_grad()
def require_numbers(model: CausalLanguageModel) -> None:
    """Raise `GltaError` where weights, or a dtype too narrow for them, make no numbers of a short prompt.

    Or states of another width than its configuration says.
    """
    with _running(model):
        [states] = _whole(model, [_prompts(model)[1]])
    if states.shape[-1] != model.hidden_size:
        problem = f"its states have {states.shape[-1]} dimensions, its configuration says {model.hidden_size}"
        raise _refusal(model, problem)
    if not bool(states.isfinite().all()):
        raise _refusal(
            model,
            f"its states are no numbers in {str(model.dtype).removeprefix('torch.')}",
            "the weights are damaged: fetch it again; or they need more range: backbone.dtype=float32 or bfloat16",
        )


def _told(model: CausalLanguageModel, found: str, done: str) -> str:
    return f"[yellow]warning[/]: {escape(model.title)}: {found}, so {done}, which is slower"


@torch.no_grad()
def way_of_words(model: CausalLanguageModel) -> Way:
    """The fastest way to continue prompts whose logits, or states, are those of each prompt alone.

    Raises:
        GltaError: there is none.
    """
    prompts = _prompts(model)
    with _running(model):
        alone = [_whole(model, [ids])[0][-1:] for ids in prompts]
    longest = 2 * max(map(len, prompts))
    if keeps_all_tokens(model.config, longest) and _agrees(lambda: _as_tree(model, prompts), alone, model):
        return Way.SHARED
    with _running(model):
        logits = [model.next_logits([ids])[0] for ids in prompts]
        first = prompts[0] + [int(logits[0][0].argmax())]
        read = model.read_logits(first[: len(prompts[0]) + len(logits[0]) - 1], len(logits[0]))
    if not _same(logits[0], read, model):
        raise _refusal(model, "continues a prompt otherwise than it reads it", WITHOUT_WORDS)
    if _agrees(lambda: model.next_logits(prompts), logits, model):
        return Way.WHOLE
    if _agrees(lambda: model.next_logits([prompts[0]] * 2), [logits[0]] * 2, model):
        say_once(_told(model, "padding changes what is written", "only prompts of one length are continued together"))
        return Way.APART
    raise _refusal(model, "continues a prompt otherwise beside another one of the same length", WITHOUT_WORDS)


def _prompts(model: CausalLanguageModel) -> list[list[int]]:
    """Three prompts with a common start and common ends, of unequal lengths, within what the model takes."""
    longest = MIDDLES[0]
    window, most = window_of(model.config), most_tokens(model.config)
    if window is not None and window <= LONGEST_WINDOW:
        longest = window + MIDDLES[0]
    if most is not None:
        longest = max(1, min(longest, most - PREFIX - ENDS))
    ids = [(11 * place + 5) % model.vocabulary for place in range(PREFIX + longest + ENDS)]
    start, rest, end = ids[:PREFIX], ids[PREFIX:-ENDS], ids[-ENDS:]
    return [start + rest[: min(length, longest)] + end for length in (longest, *MIDDLES[1:])]


def _whole(model: CausalLanguageModel, prompts: Sequence[list[int]]) -> list[Tensor]:
    """States of prompts padded on the right: [L, h] each."""
    inputs, mask = _padded(model, prompts)
    states = model.padded_states(inputs, mask)
    return [state[: len(ids)] for state, ids in zip(states, prompts, strict=True)]


def _shared(model: CausalLanguageModel, prompts: Sequence[list[int]]) -> list[Tensor]:
    """States of the last tokens behind a shared start and middles of unequal lengths: [ENDS, h] each."""
    prefix = model.shared_prefix(torch.tensor(prompts[0][:PREFIX], device=model.device))
    middles = [ids[PREFIX:-ENDS] for ids in prompts]
    extended = model.extend(prefix, *_padded(model, middles))
    return list(model.padded_states(*_padded(model, [ids[-ENDS:] for ids in prompts]), extended))


def _as_tree(model: CausalLanguageModel, prompts: Sequence[list[int]]) -> list[Tensor]:
    """States after the last token as `continue_greedily` runs prompts: [1, h] each."""
    rows = Rows(model.body, model.depth, 2 * max(map(len, prompts)), model.device)
    rows.run([prompts[0][:PREFIX]])
    rows.branch([0] * len(prompts))
    rows.run([ids[PREFIX:-1] for ids in prompts])
    return list(rows.run([ids[-1:] for ids in prompts])[:, None])


def _padded(model: CausalLanguageModel, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts], device=model.device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    return model.embed(ids), (torch.arange(longest, device=model.device) < lengths[:, None]).long()


def _agrees(run: Callable[[], Sequence[Tensor]], alone: Sequence[Tensor], model: CausalLanguageModel) -> bool:
    """Whether a way runs at all, and gives each prompt what it gives it alone."""
    try:
        found = run()
    except Exception as error:
        if out_of_memory(error):
            raise memory_error(error, model.title) from error
        return False
    return all(_same(one, other, model) for one, other in zip(found, alone, strict=True))


def _same(found: Tensor, expected: Tensor, model: CausalLanguageModel) -> bool:
    tolerance = PACKED_TOLERANCE if model.packed else TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
    found, expected = found.float(), expected.float()
    distance = (found - expected).norm(dim=-1)
    return not bool((distance > tolerance * expected.norm(dim=-1)).any())


def _running(model: CausalLanguageModel) -> AbstractContextManager[None]:
    """Whatever a model raises when it is run alone becomes an error that names it."""
    return errors_told(model.title, lambda error: _refusal(model, f"cannot be run on embeddings: {reason(error)}"))


def _refusal(model: CausalLanguageModel, problem: str, hint: str = ANOTHER_MODEL) -> GltaError:
    return GltaError(problem, location=model.title, hint=hint)
