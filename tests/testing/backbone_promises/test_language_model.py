"""For each promise of a language model, one that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.tiny import Tiny
from torch import Tensor, nn
from transformers import CLIPTextConfig

from glta_cli.plugin.settings import BackboneSettings
from glta_cli.testing.backbone import backbone_promises
from tests.testing.backbone_promises.broken import (
    LOADS,
    OPTIONS,
    Another,
    CannotLoad,
    CutsItself,
    Listening,
    LoadsAtOnce,
    NamedByAddress,
    RefusesEverything,
    WithoutConfiguration,
    changed,
    dropout_in_training,
    other_every_load,
    parameter_elsewhere,
    put,
    report_of,
    unfrozen,
)

CALLS = count()


# -------------------------------------------------------------------------------------- description and identity


class NoCausalModel(Another):
    def architecture(self) -> Any:
        return CLIPTextConfig(hidden_size=16)


class MistakenForRandom(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        model = super().load(device, full_depth=full_depth)
        if self.settings.weights == "pretrained":
            with torch.no_grad():
                for parameter in model.module.parameters():
                    parameter.add_(0.1 * parameter.roll(1))
        return model


# --------------------------------------------------------------------------------------------- tokens and states


class Shouting:
    """A tokenizer that decodes in capitals."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.tokenizer(*arguments, **options)

    def batch_decode(self, *arguments: Any, **options: Any) -> list[str]:
        return [text.upper() for text in self.tokenizer.batch_decode(*arguments, **options)]


def flat_embeddings(model: Any) -> None:
    embed = model.embed
    put(model, "embed", lambda ids: embed(ids.flatten()))


def states_changed(change: Callable[[Tensor, Tensor, Tensor, Any], Tensor]) -> type[Tiny]:
    """A backbone whose states become `change(states, inputs_embeds, attention_mask, prefix)`."""

    def wrap(model: Any) -> None:
        hidden = model.hidden
        put(model, "hidden", lambda x, mask, prefix=None: change(hidden(x, mask, prefix), x, mask, prefix))

    return changed(wrap)


def ignored_mask(model: Any) -> None:
    hidden = model.hidden
    put(model, "hidden", lambda x, mask, prefix=None: hidden(x, torch.ones_like(mask), prefix))


# -------------------------------------------------------------------------------------------------------- prefix


def ignored_prefix(model: Any) -> None:
    hidden = model.hidden
    put(model, "hidden", lambda x, mask, prefix=None: hidden(x, mask))


def prefix_for_one_pass(model: Any) -> None:
    hidden, passes = model.hidden, count()

    def use(x: Tensor, mask: Tensor, prefix: Any = None) -> Tensor:
        states: Tensor = hidden(x, mask, prefix)
        return states if prefix is None or next(passes) == 0 else states.flip(-1)

    put(model, "hidden", use)


def prefix_of_inference(model: Any) -> None:
    """What was made in inference mode takes part in no product that has a gradient."""
    prefix, hidden = model.prefix, model.hidden
    made: list[Tensor] = []

    def keep(token_ids: Tensor) -> Any:
        made[:] = [torch.ones(model.hidden_size)]
        return prefix(token_ids)

    put(model, "prefix", keep)
    put(model, "hidden", lambda x, mask, prefix=None: hidden(x, mask, prefix) * (made[0] if prefix else 1))


def prefix_without_gradient(model: Any) -> None:
    put(model, "prefix", torch.no_grad()(model.prefix))


# -------------------------------------------------------------------------------------------------------- frozen


def with_dropout(model: Any) -> None:
    hidden = model.hidden
    put(model, "hidden", lambda *arguments: dropout_in_training(hidden(*arguments), model))


def without_gradient(model: Any) -> None:
    put(model, "hidden", torch.no_grad()(model.hidden))


# ------------------------------------------------------------------------------------------------------ adapters


class IgnoresAdapters(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        settings = self.settings.model_copy(update={"lora": None})
        return Tiny(self.name, settings, self.options).load(device, full_depth=full_depth)


class FallsOverAdapters(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        if self.settings.lora:
            raise NotImplementedError("adapters")
        return super().load(device, full_depth=full_depth)


def adapters(model: Any, kind: str) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.module.named_parameters() if kind in name]


def adapters_that_change_something(model: Any) -> None:
    with torch.no_grad():
        for parameter in adapters(model, "lora_B"):
            parameter.fill_(0.1)


def adapter_that_is_not_used(model: Any) -> None:
    if adapters(model, "lora_B"):
        model.module.register_parameter("unused", nn.Parameter(torch.zeros(2)))


def adapters_switched_off(model: Any) -> None:
    hidden = model.hidden

    def switched_off(*arguments: Any) -> Tensor:
        if not adapters(model, "lora_B"):
            return hidden(*arguments)
        with model.module.disable_adapter():
            return hidden(*arguments)

    put(model, "hidden", switched_off)


def adapters_named_by_load(model: Any) -> None:
    if adapters(model, "lora_B"):
        scale = nn.Parameter(torch.ones(1))
        model.module.register_parameter(f"scale{next(LOADS)}", scale)
        hidden = model.hidden
        put(model, "hidden", lambda *arguments: hidden(*arguments) * scale)


# ---------------------------------------------------------------------------------------------------- early exit


class NeverExits(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        return super().load(device, full_depth=True)


class AlwaysExits(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        return super().load(device)


class FallsOverExits(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        if self.settings.layers and not full_depth:
            raise ValueError("layers")
        return super().load(device, full_depth=full_depth)


# ---------------------------------------------------------------------------------------------------- generation


def generating(change: Callable[[list[str], list[str], int, Callable[..., list[str]]], Any]) -> type[Tiny]:
    """A backbone whose answers become `change(answers, prompts, max_new_tokens, generate)`."""

    def wrap(model: Any) -> None:
        generate = model.generate
        put(model, "generate", lambda p, n: change(generate(p, n), list(p), n, generate))

    return changed(wrap)


def generating_in_evaluation_mode(model: Any) -> None:
    generate = model.generate

    def leave(prompts: list[str], max_new_tokens: int) -> list[str]:
        model.module.eval()
        texts: list[str] = generate(prompts, max_new_tokens)
        return texts

    put(model, "generate", leave)


# -------------------------------------------------------------------------------------------------- each is told

BROKEN: list[tuple[str, Callable[..., Any]]] = [
    ("constructing one is given name, settings and options", lambda name: None),
    ("no weights are loaded before load()", LoadsAtOnce),
    ("architecture() is a transformers configuration", WithoutConfiguration),
    ("architecture() is that of full depth", CutsItself),
    ("a model without weights can be made of architecture()", NoCausalModel),
    ("identity() is a text, the same for another instance", NamedByAddress),
    ("identity() changes with the weights", MistakenForRandom),
    ("check_demand(), where there is one", RefusesEverything),
    ("load() gives a model on cpu", CannotLoad),
    ("hidden_size is that of the architecture", changed(lambda model: put(model, "hidden_size", 17))),
    ("every parameter is on the device asked for", changed(parameter_elsewhere)),
    ("tokenizer is one of transformers", changed(lambda m: put(m, "tokenizer", Shouting(m.tokenizer)))),
    ("embed() takes token ids of any shape", changed(flat_embeddings)),
    ("every id of the tokenizer has an embedding", changed(lambda model: model.tokenizer.add_tokens(["<new>"]))),
    ("hidden() gives finite states", states_changed(lambda states, *_: states / 0)),
    ("hidden() gives finite states", states_changed(lambda states, *_: states[:, -1])),
    ("a batch of one equals a batch of many", states_changed(lambda states, *_: states + states.mean(0))),
    ("padding on the left changes no state", changed(ignored_mask)),
    ("padding on the right changes no state", states_changed(lambda states, x, *_: states + x[:, -1:])),
    ("states are causal", states_changed(lambda states, x, *_: states + 0.1 * x.mean(1, keepdim=True))),
    ("a state depends on its own token and on those before it", states_changed(lambda states, x, *_: 1 * x)),
    ("prefix() gives None or what hidden() continues", changed(ignored_prefix)),
    ("a prefix is not used up", changed(prefix_for_one_pass)),
    (
        "after a prefix, padding on the right changes no state",
        states_changed(lambda states, x, mask, prefix: states if prefix is None else states * mask.float().mean()),
    ),
    ("extend() continues a prefix", changed(lambda model: put(model, "extend", lambda prefix, x, mask: prefix))),
    ("a prefix made in inference mode serves a backward pass", changed(prefix_of_inference)),
    ("load() gives the same model again", changed(other_every_load)),
    ("a frozen model is one function", changed(with_dropout)),
    ("without `backbone.lora` the model is frozen", changed(unfrozen)),
    ("gradients reach the embeddings given to hidden()", changed(without_gradient)),
    ("adapters: `backbone.lora` is heeded", IgnoresAdapters),
    ("adapters: `backbone.lora` is heeded", FallsOverAdapters),
    ("adapters change nothing at first", changed(adapters_that_change_something)),
    ("adapters: every parameter that requires a gradient gets", changed(adapter_that_is_not_used)),
    ("adapters: gradients through prefix() and extend()", changed(prefix_without_gradient)),
    ("adapters that were saved and set in another load", changed(adapters_switched_off)),
    ("adapters that were saved and set in another load", changed(adapters_named_by_load)),
    ("early exit: `backbone.layers: 1` gives other states", NeverExits),
    ("early exit: `backbone.layers: 1` gives other states", FallsOverExits),
    ("early exit: load(full_depth=True) ignores", AlwaysExits),
    ("generate() gives one text a prompt", generating(lambda answers, *_: answers[:2])),
    ("generate() gives one text a prompt", generating(lambda answers, *_: answers or None)),
    ("generate() gives the new text only", generating(lambda a, p, *_: [x + y for x, y in zip(p, a, strict=True)])),
    ("generate() continues a prompt by at most", generating(lambda a, p, n, generate: generate(p, 4 * n))),
    ("generate() is greedy", generating(lambda answers, *_: [text + str(next(CALLS)) for text in answers])),
    ("generate() is greedy", changed(generating_in_evaluation_mode)),
    ("generate() gives each prompt what it gives the prompt alone", generating(lambda a, *_: [f"{len(a)}"] * len(a))),
]


@pytest.mark.parametrize(("promise", "target"), BROKEN, ids=[f"{n}-{text[:40]}" for n, (text, _) in enumerate(BROKEN)])
def test_a_broken_promise_is_named(promise: str, target: Callable[..., Any]) -> None:
    report = report_of(target)
    assert report.startswith("backbone 'mine' breaks ")
    assert f"\n  - {promise}" in report


def test_the_report_says_what_was_seen() -> None:
    assert report_of(NeverExits) == (
        "backbone 'mine' breaks 1 promise of its kind\n"
        "  - early exit: `backbone.layers: 1` gives other states of the same shape, or is refused\n"
        "      the states are those of full depth"
    )
    assert "\n      1 do, such as model.norm.weight" in report_of(changed(unfrozen))
    assert "\n      RuntimeError: out of luck" in report_of(CannotLoad)


def test_every_promise_can_be_broken() -> None:
    """A promise that nothing above breaks would be one that is never checked."""
    contract = Listening()
    backbone_promises(contract, Tiny, "mine", BackboneSettings(), OPTIONS)
    named = tuple(promise for promise, _ in BROKEN)
    unbroken = {text for text in contract.texts if not text.startswith(named)}
    # Nothing but the early exit differs from the load before.
    assert unbroken == {"load() at full depth works"}
