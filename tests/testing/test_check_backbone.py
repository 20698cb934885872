"""Backbones that keep every promise, and for each promise one that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.none import MeanOfTokens, NoLanguageModel
from glta_backbones.settings import NoneOptions, TinyOptions
from glta_backbones.tiny import Tiny
from torch import Tensor, nn
from transformers import CLIPTextConfig

from glta_cli.errors import InputError, InputErrors
from glta_cli.recipe import BackboneSettings, LoraSettings
from glta_cli.testing import ContractError, check_backbone
from glta_cli.testing.backbone import backbone_promises, sentence_encoder_promises
from glta_cli.testing.contract import Contract

CPU = torch.device("cpu")
OPTIONS = TinyOptions(hidden_size=16, depth=2, heads=2)
GPT2 = {"model_type": "gpt2", "vocab_size": 258, "n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 128}
GPT2 |= {"bos_token_id": None, "eos_token_id": 257}
WINDOWS = {
    "model_type": "mistral", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 32, "sliding_window": 8,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ promises kept


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"layers": 1},
        {"weights": "random"},
        {"gradient_checkpointing": True},
        {"lora": {"rank": 4, "dropout": 0.5, "layers": 1}},
    ],
    ids=str,
)
def test_tiny_keeps_every_promise(settings: dict[str, Any]) -> None:
    check_backbone("tiny", options={"hidden_size": 16, "depth": 3}, settings=settings)


def test_a_local_folder_keeps_every_promise(tmp_path: Path) -> None:
    model = Tiny("tiny", BackboneSettings(), OPTIONS).load(CPU)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1.5)
    model.module.save_pretrained(tmp_path)  # type: ignore[operator]
    model.tokenizer.save_pretrained(tmp_path)
    check_backbone("huggingface", options={"model": str(tmp_path)})


@pytest.mark.parametrize("architecture", [GPT2, WINDOWS], ids=["learned positions", "windows"])
def test_other_architectures_keep_every_promise(architecture: dict[str, Any]) -> None:
    options = {"architecture": architecture, "tokenizer": "bytes"}
    check_backbone("huggingface", options=options, settings={"weights": "random"})


@pytest.mark.smollm2
def test_smollm2_keeps_every_promise() -> None:
    check_backbone("smollm2", settings={"layers": 2})


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"lora": {"rank": 2}}], ids=str)
def test_no_language_model_keeps_every_promise(settings: dict[str, Any]) -> None:
    check_backbone("none", options={"hidden_size": 16}, settings=settings)


def test_one_that_refuses_adapters_and_early_exits_keeps_every_promise() -> None:
    class Plain(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            if self.settings.lora or (self.settings.layers and not full_depth):
                raise InputError("neither adapters nor early exits")
            return super().load(device, full_depth=full_depth)

    assert report_of(Plain) == ""


def test_one_without_prefixes_keeps_every_promise() -> None:
    assert report_of(changed(lambda model: put(model, "prefix", lambda token_ids: None))) == ""


def test_a_check_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    report_of(Tiny)
    assert torch.equal(torch.rand(1), expected)


# ---------------------------------------------------------------------------------------------- promises broken


def report_of(
    target: Callable[..., Any],
    settings: BackboneSettings | None = None,
    *,
    options: Any = OPTIONS,
    reads_text: bool = True,
) -> str:
    """What the check says of a class; nothing where it keeps every promise."""
    contract = Contract("backbone 'mine'")
    try:
        backbone_promises(contract, target, "mine", settings or BackboneSettings(), options, reads_text=reads_text)
        contract.settle()
    except ContractError as error:
        return str(error)
    return ""


def changed(change: Callable[[Any], None]) -> type[Tiny]:
    """A backbone whose every model was changed after it was loaded."""

    class Changed(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            model = super().load(device, full_depth=full_depth)
            change(model)
            return model

    return Changed


def put(model: Any, name: str, value: Any) -> None:
    setattr(model, name, value)


def states_changed(change: Callable[[Tensor, Tensor, Tensor, Any], Tensor]) -> type[Tiny]:
    """A backbone whose states become `change(states, inputs_embeds, attention_mask, prefix)`."""

    def wrap(model: Any) -> None:
        hidden = model.hidden
        put(model, "hidden", lambda x, mask, prefix=None: change(hidden(x, mask, prefix), x, mask, prefix))

    return changed(wrap)


class LoadsAtOnce(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.model = self.load(CPU)


class Another(Tiny):
    """Loads as `tiny` does, whatever else it says."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        return Tiny(self.name, self.settings, self.options).load(device, full_depth=full_depth)


class WithoutConfiguration(Another):
    def architecture(self) -> Any:
        return {"hidden_size": 16}


class CutsItself(Another):
    def architecture(self) -> Any:
        config = super().architecture()
        config.num_hidden_layers = self.settings.layers or config.num_hidden_layers
        return config


class NoCausalModel(Another):
    def architecture(self) -> Any:
        return CLIPTextConfig(hidden_size=16)


class NamedByAddress(Tiny):
    instances = count()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.instance = next(self.instances)

    def identity(self) -> str:
        return f"mine-{self.instance}"


class MistakenForRandom(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        model = super().load(device, full_depth=full_depth)
        if self.settings.weights == "pretrained":
            with torch.no_grad():
                for parameter in model.module.parameters():
                    parameter.add_(0.1 * parameter.roll(1))
        return model


class CannotLoad(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        raise RuntimeError("out of luck")


class IgnoresAdapters(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        settings = self.settings.model_copy(update={"lora": None})
        return Tiny(self.name, settings, self.options).load(device, full_depth=full_depth)


class FallsOverAdapters(Tiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        if self.settings.lora:
            raise NotImplementedError("adapters")
        return super().load(device, full_depth=full_depth)


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


def parameter_elsewhere(model: Any) -> None:
    model.module.register_parameter("elsewhere", nn.Parameter(torch.zeros(1, device="meta"), requires_grad=False))


def flat_embeddings(model: Any) -> None:
    embed = model.embed
    put(model, "embed", lambda ids: embed(ids.flatten()))


def ignored_mask(model: Any) -> None:
    hidden = model.hidden
    put(model, "hidden", lambda x, mask, prefix=None: hidden(x, torch.ones_like(mask), prefix))


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


LOADS = count(1)


def other_every_load(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1 + 0.1 * next(LOADS))


def dropout_in_training(states: Tensor, model: Any) -> Tensor:
    return nn.functional.dropout(states, 0.5, training=model.module.training)


def with_dropout(model: Any) -> None:
    hidden = model.hidden
    put(model, "hidden", lambda *arguments: dropout_in_training(hidden(*arguments), model))


def unfrozen(model: Any) -> None:
    model.module.get_parameter(list(dict(model.module.named_parameters()))[-1]).requires_grad_(True)


def without_gradient(model: Any) -> None:
    put(model, "hidden", torch.no_grad()(model.hidden))


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


CALLS = count()

BROKEN: list[tuple[str, Callable[..., Any]]] = [
    ("constructing one is given name, settings and options", lambda name: None),
    ("no weights are loaded before load()", LoadsAtOnce),
    ("architecture() is a transformers configuration", WithoutConfiguration),
    ("architecture() is that of full depth", CutsItself),
    ("a model without weights can be made of architecture()", NoCausalModel),
    ("identity() is a text, the same for another instance", NamedByAddress),
    ("identity() changes with the weights", MistakenForRandom),
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
    texts: list[str] = []

    class Listening(Contract):
        def promise(self, text: str, *, decisive: bool = False) -> Any:
            texts.append(text)
            return super().promise(text, decisive=decisive)

    backbone_promises(Listening("backbone 'tiny'"), Tiny, "tiny", BackboneSettings(), OPTIONS)
    named = tuple(promise for promise, _ in BROKEN)
    unbroken = {text for text in texts if not text.startswith(named)}
    # Nothing but the early exit differs from the load before.
    assert unbroken == {"load() at full depth works"}


def test_the_adapters_of_the_settings_are_those_that_are_tried() -> None:
    ranks = set()

    class Noting(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            ranks.add(self.settings.lora and self.settings.lora.rank)
            return super().load(device, full_depth=full_depth)

    assert report_of(Noting, BackboneSettings(lora=LoraSettings(rank=5))) == ""
    assert ranks == {None, 5}


def test_settings_that_no_recipe_may_have_are_the_testers_mistake() -> None:
    with pytest.raises(InputErrors, match="rnak"):
        check_backbone("tiny", settings={"lora": {"rnak": 2}})


def test_an_unknown_backbone_is_a_broken_promise() -> None:
    with pytest.raises(ContractError, match="no backbone is called 'tinny'"):
        check_backbone("tinny")


# ------------------------------------------------------------------------------------- what reads texts, no more


class PooledTiny(Tiny):
    """Reads by the byte tokenizer and the mean of the states; refuses adapters."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        if self.settings.lora:
            raise InputError("never trained")
        return Pooled(super().load(device, full_depth=full_depth))


class Pooled:
    def __init__(self, model: CausalLanguageModel) -> None:
        self.model, self.hidden_size, self.tokenizer, self.module = (
            model, model.hidden_size, model.tokenizer, model.module,
        )  # fmt: skip

    def token_ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        return [self.tokenizer.encode(text or " ")[:most] for text in texts]

    def sentence_vectors(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model.hidden(self.model.embed(token_ids), attention_mask) * attention_mask[:, :, None]
        return states.sum(1) / attention_mask.sum(1, keepdim=True)


def reading(change: Callable[[Any], None]) -> type[PooledTiny]:
    class Changed(PooledTiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
            reader = super().load(device, full_depth=full_depth)
            change(reader)
            return reader

    return Changed


def tokens_changed(change: Callable[[list[list[int]], int], Any]) -> type[PooledTiny]:
    def wrap(reader: Any) -> None:
        token_ids = reader.token_ids
        put(reader, "token_ids", lambda texts, most: change(token_ids(texts, most), most))

    return reading(wrap)


def vectors_changed(change: Callable[[Tensor, Tensor, Tensor, Any], Tensor]) -> type[PooledTiny]:
    """Vectors become `change(vectors, token_ids, attention_mask, reader)`."""

    def wrap(reader: Any) -> None:
        vectors = reader.sentence_vectors
        put(reader, "sentence_vectors", lambda ids, mask: change(vectors(ids, mask), ids, mask, reader))

    return reading(wrap)


class TakesAdapters(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return Pooled(Tiny.load(self, device, full_depth=full_depth))


class ReaderMistakenForRandom(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        reader = super().load(device, full_depth=full_depth)
        if self.settings.weights == "pretrained":
            with torch.no_grad():
                for parameter in reader.module.parameters():
                    parameter.add_(0.1 * parameter.roll(1))
        return reader


class ReaderNeverExits(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return super().load(device, full_depth=True)


class ReaderAlwaysExits(PooledTiny):
    def load(self, device: torch.device, *, full_depth: bool = False) -> Any:
        return super().load(device)


class ReaderWithoutBody(PooledTiny):
    def architecture(self) -> Any:
        text = super().architecture()
        return SimpleNamespace(get_text_config=lambda: text)


def keyed_tokens(reader: Any) -> None:
    token_ids = reader.token_ids
    put(
        reader,
        "token_ids",
        lambda texts, most: [ids[:: 1 if len(texts) == 1 else -1] for ids in token_ids(texts, most)],
    )


BROKEN_READERS: list[tuple[str, Callable[..., Any]]] = [
    ("constructing one is given name, settings and options", lambda name: None),
    ("no weights are loaded before load()", LoadsAtOnce),
    ("architecture() is a transformers configuration", WithoutConfiguration),
    ("architecture() is that of full depth", CutsItself),
    ("a model without weights can be made of architecture()", ReaderWithoutBody),
    ("identity() is a text, the same for another instance", NamedByAddress),
    ("identity() changes with the weights", ReaderMistakenForRandom),
    ("load() gives a model on cpu", CannotLoad),
    ("hidden_size is that of the architecture", reading(lambda reader: put(reader, "hidden_size", 17))),
    ("every parameter is on the device asked for", reading(parameter_elsewhere)),
    ("token_ids() gives a list of ids a text", tokens_changed(lambda rows, most: rows[1:])),
    ("token_ids() gives a list of ids a text", tokens_changed(lambda rows, most: [*rows[:-1], []])),
    ("token_ids() gives at most as many ids", tokens_changed(lambda rows, most: [[*row, 1] for row in rows])),
    ("token_ids() gives at most as many ids", tokens_changed(lambda rows, most: [row[:4] for row in rows])),
    ("token_ids() reads a text alike whatever stands", reading(keyed_tokens)),
    ("sentence_vectors() gives finite vectors", vectors_changed(lambda vectors, *_: vectors / 0)),
    ("sentence_vectors() gives finite vectors", vectors_changed(lambda vectors, *_: vectors[:, :3])),
    ("texts read alone have the vectors", vectors_changed(lambda vectors, *_: vectors + vectors.mean(0))),
    ("what stands under a mask of 0", vectors_changed(lambda v, ids, *_: v + ids[:, -1:])),
    ("a vector depends on the whole text", vectors_changed(lambda v, ids, m, r: r.model.embed(ids)[:, 0])),
    ("load() gives the same model again", reading(other_every_load)),
    ("a loaded model is one function", vectors_changed(lambda v, ids, m, reader: dropout_in_training(v, reader))),
    ("it is frozen", reading(unfrozen)),
    ("`backbone.lora` is refused", TakesAdapters),
    ("early exit: `backbone.layers: 1` gives other vectors", ReaderNeverExits),
    ("early exit: load(full_depth=True) ignores", ReaderAlwaysExits),
]


def report_of_reader(target: Callable[..., Any]) -> str:
    contract = Contract("backbone 'mine'")
    try:
        sentence_encoder_promises(contract, target, "mine", BackboneSettings(), OPTIONS)
        contract.settle()
    except ContractError as error:
        return str(error)
    return ""


def test_what_only_reads_keeps_every_promise() -> None:
    assert report_of_reader(PooledTiny) == ""


@pytest.mark.parametrize(
    ("promise", "target"), BROKEN_READERS, ids=[f"{n}-{text[:40]}" for n, (text, _) in enumerate(BROKEN_READERS)]
)
def test_a_broken_promise_of_what_only_reads_is_named(promise: str, target: Callable[..., Any]) -> None:
    assert f"\n  - {promise}" in report_of_reader(target)


def test_every_promise_of_what_only_reads_can_be_broken() -> None:
    texts: list[str] = []

    class Listening(Contract):
        def promise(self, text: str, *, decisive: bool = False) -> Any:
            texts.append(text)
            return super().promise(text, decisive=decisive)

    sentence_encoder_promises(Listening("backbone 'mine'"), PooledTiny, "mine", BackboneSettings(), OPTIONS)
    named = tuple(promise for promise, _ in BROKEN_READERS)
    assert {text for text in texts if not text.startswith(named)} == {"load() at full depth works"}


def test_only_the_declaration_spares_a_backbone_the_promises_of_a_language_model() -> None:
    """One that reads and does not say so is held to all of them."""
    assert "tokenizer" not in report_of_reader(PooledTiny)
    assert "\n  - embed() takes token ids of any shape" in report_of(PooledTiny)


# ------------------------------------------------------------------------------------ one that reads no text


class Heard(NoLanguageModel):
    """Loads a model in which words count."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "embed", lambda token_ids: torch.ones(*token_ids.shape, model.hidden_size))
        return model


class Talks(NoLanguageModel):
    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "generate", lambda prompts, max_new_tokens: ["drama"] * len(prompts))
        return model


class Unscaled(NoLanguageModel):
    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "token_rms", 0.0)
        return model


class Layered(NoLanguageModel):
    def architecture(self) -> Any:
        config = super().architecture()
        config.num_hidden_layers = 2
        return config


class Forgets(NoLanguageModel):
    """The graph tokens before a prompt's last place are lost."""

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        model = super().load(device, full_depth=full_depth)
        put(model, "extend", lambda prefix, inputs_embeds, attention_mask: prefix)
        return model


@pytest.mark.parametrize(
    ("promise", "target"),
    [
        ("words change no state of a model that reads no text", Heard),
        ("generate() of a model that reads no text is refused", Talks),
        ("says by a positive `token_rms` where projected tokens start", Unscaled),
        ("its num_hidden_layers is 2, and it is declared to read no text", Layered),
        ("extend() continues a prefix", Forgets),
    ],
)
def test_a_broken_promise_of_one_that_reads_no_text_is_named(promise: str, target: type[NoLanguageModel]) -> None:
    assert promise in report_of(target, options=NoneOptions(hidden_size=16, token_rms=0.1), reads_text=False)


def test_a_language_model_is_none_that_reads_no_text() -> None:
    assert "its num_hidden_layers is 2" in report_of(Tiny, reads_text=False)
    said = report_of(NoLanguageModel, options=NoneOptions(hidden_size=16, token_rms=0.1))
    assert "its num_hidden_layers is 0" in said
