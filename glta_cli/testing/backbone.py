"""What every backbone promises: `check_backbone` loads a language model and tries it out."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from glta_cli.errors import GltaError
from glta_cli.language.chat import chat_text
from glta_cli.language.memory_plan import meta_model
from glta_cli.language.prompts import encode
from glta_cli.plugin import Backbone, BackboneDeclaration, LanguageModel, SentenceEncoder
from glta_cli.recipe import BackboneSettings, LoraSettings
from glta_cli.selection import generates
from glta_cli.testing.contract import Contract, declared
from glta_cli.validation import validated

TEXT = "A user liked a film about space, a book about gardens and a long walk by the sea."
PROMPTS = ("A user liked films about space.", "Once", "Name three words for a garden, please:")
NEW_TOKENS = 6
TEXTS = (TEXT, "Once", "A garden by the sea, and a book about it.")
MOST_TOKENS = 48

ROWS, LENGTH = 3, 12
PREFIX, CONTEXT = 4, 5  # tokens of a prompt that are its prefix, and that extend it

# Elements of tensors that constructing may make: fewer than the smallest of matrices.
FEW_ELEMENTS = 1000

# Largest difference of two ways to one state, as a share of the largest state.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def check_backbone(
    name: str, *, options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Check what a backbone promises, on the CPU and, where there is one, on a GPU.

    One that is declared with `generates=False` is checked as what reads texts into vectors.

    The model is loaded some ten times, at the depth of `settings` and, for the early exit, at full depth: give
    options that make it small.

    Args:
        name: as a recipe would select it by `backbone.name` or `text.backbone`.
        options: the backbone's own settings, such as `backbone.options` of a recipe.
        settings: other keys of a recipe's section `backbone`, such as `{"layers": 2}`.

    Raises:
        ContractError: a promise is broken; names all that are.
        InputErrors: `settings` are none of a recipe.
    """
    contract = Contract(f"backbone '{name}'")
    component, own = declared(contract, "backbone", name, options)
    values = {**(settings or {}), "name": name, "options": dict(options or {})}
    assert isinstance(component.declaration, BackboneDeclaration)
    checked = validated(BackboneSettings, values, ("backbone",), {})
    if generates(component.declaration):
        reads = component.declaration.reads_text
        backbone_promises(contract, component.target(), name, checked, own, reads_text=reads)
    else:
        sentence_encoder_promises(contract, component.target(), name, checked, own)
    contract.settle()


def sentence_encoder_promises(
    contract: Contract, target: Callable[..., Backbone], name: str, settings: BackboneSettings, options: BaseModel
) -> None:
    """As `backbone_promises`, of a class whose declaration says `generates=False`."""
    source = _Source(target, name, settings.model_copy(update={"lora": None}), options)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        hidden_size = _description_promises(contract, source, generates=False)
        devices = _devices(settings)
        for device in devices:
            encoder = _load_promises(contract, source, device, hidden_size)
            _reading_promises(contract, encoder)
            _vector_promises(contract, encoder)
            _frozen_reader_promises(contract, source, encoder, device)
        _reader_identity_promises(contract, source, encoder, devices[-1])
        _reader_exit_promises(contract, source, devices[-1])


def backbone_promises(
    contract: Contract,
    target: Callable[..., Backbone],
    name: str,
    settings: BackboneSettings,
    options: BaseModel,
    *,
    reads_text: bool = True,
) -> None:
    """Check a class that need not be installed; what is broken is collected in `contract`.

    Args:
        target: the class, called with `name`, `settings` and `options`.
        settings: its adapters, if any, are those that are tried; rank 2 otherwise.
        reads_text: as it would be declared.
    """
    source = _Source(target, name, settings, options, reads_text)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        hidden_size = _description_promises(contract, source)
        devices = _devices(settings)
        for device in devices:
            model = _load_promises(contract, source, device, hidden_size)
            _token_promises(contract, model, device)
            _state_promises(contract, source, model, device)
            _prefix_promises(contract, source, model, device)
            _frozen_promises(contract, source, model, device)
            if reads_text:
                _generation_promises(contract, model)
            else:
                _wordless_promises(contract, source, model, device)
        _identity_promises(contract, source, model, devices[-1])
        _adapter_promises(contract, source, model, devices[-1])
        _exit_promises(contract, source, devices[-1])


# ---------------------------------------------------------------------------------------- loading and trying


@dataclass(frozen=True)
class _Source:
    """How to make the backbone under test."""

    target: Callable[..., Backbone]
    name: str
    settings: BackboneSettings
    options: BaseModel
    reads_text: bool = True

    def made(self, **changes: Any) -> Backbone:
        """A backbone without adapters, or with other settings."""
        return self.target(self.name, self.settings.model_copy(update={"lora": None, **changes}), self.options)


@dataclass(frozen=True)
class _Sample:
    """Three pieces of one text or, for a model that reads none, three rows of graph tokens.

    Attributes:
        ids: [B, L], int64.
        inputs: their embeddings, or those of graph tokens in their places, [B, L, h].
        mask: [B, L], all ones.
    """

    ids: Tensor
    inputs: Tensor
    mask: Tensor


def _devices(settings: BackboneSettings) -> list[torch.device]:
    gpu = [torch.device("cuda")] if torch.cuda.is_available() else []
    needs_gpu = settings.quantization != "none"
    return gpu if gpu and needs_gpu else [torch.device("cpu"), *gpu]


def _sample(source: _Source, model: LanguageModel, device: torch.device) -> _Sample:
    ids = encode(model.tokenizer, TEXT)
    while len(ids) < ROWS + LENGTH:
        ids = ids + ids
    rows = torch.tensor([ids[row : row + LENGTH] for row in range(ROWS)], device=device)
    with torch.no_grad():
        inputs = model.embed(rows).detach()
    if not source.reads_text:
        # Words would leave every state the same.
        generator = torch.Generator().manual_seed(2)
        inputs = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
    return _Sample(rows, inputs, torch.ones_like(rows))


def _states(model: LanguageModel, inputs: Tensor, mask: Tensor | None = None, prefix: Any = None) -> Tensor:
    """[B, L, h] -> [B, L, h], in evaluation mode and without gradients."""
    if mask is None:
        mask = torch.ones(inputs.shape[:2], dtype=torch.int64, device=inputs.device)
    model.module.eval()
    with torch.no_grad():
        return model.hidden(inputs, mask, prefix)


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest element expected and in units of what its dtype allows."""
    assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
    largest = expected.detach().float().abs().max().clamp(min=1e-30)
    difference = (found.detach().float() - expected.detach().float()).abs().max()
    return float(difference / largest) / TOLERANCES[expected.dtype]


def _assert_same(found: Tensor, expected: Tensor, what: str = "the states") -> None:
    difference = _difference(found, expected)
    # Not a number is no agreement either.
    assert difference <= 1, f"{what} differ, by {difference:.3g} times what rounding explains"


def _assert_other(found: Tensor, expected: Tensor, what: str) -> None:
    # Of one shape, so bit for bit the same if they were computed alike; random weights may leave them close.
    assert not torch.equal(found, expected), what


def _loss(states: Tensor) -> Tensor:
    """A scalar whose gradient is nowhere zero by a norm's symmetry, as that of a sum is."""
    weights = torch.linspace(-1, 1, states.shape[-1], device=states.device).sin()
    return (states.float() * weights).square().mean()


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _set_noise(parameters: Iterable[nn.Parameter]) -> None:
    """What a training would leave behind."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


# --------------------------------------------------------------------------------------------- not yet loaded


class _CountedElements(TorchFunctionMode):
    """Counts the elements of all tensors made meanwhile; those on torch's meta device have no memory."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result.is_meta:
            self.count += result.numel()
        return result


def _description_promises(contract: Contract, source: _Source, *, generates: bool = True) -> int:
    """What is promised before any weights are loaded; returns the hidden size the architecture names."""
    elements = _CountedElements()
    with contract.promise("constructing one is given name, settings and options", decisive=True), elements:
        backbone = source.made()
    with contract.promise(
        "architecture() is a transformers configuration with a hidden size and layers", decisive=True
    ):
        with elements:
            text = backbone.architecture().get_text_config()
        for attribute in ("hidden_size", "num_hidden_layers", "vocab_size"):
            value = getattr(text, attribute, None)
            assert isinstance(value, int), f"its {attribute} is {value!r}"
            if attribute == "num_hidden_layers" and not source.reads_text:
                assert value == 0, f"its {attribute} is {value}, and it is declared to read no text"
            else:
                assert value > 0, f"its {attribute} is {value}"
    with contract.promise("architecture() is that of full depth, whatever `backbone.layers` says: who asks cuts it"):
        cut = source.made(layers=1).architecture().get_text_config().num_hidden_layers
        whole = source.made(layers=None).architecture().get_text_config().num_hidden_layers
        assert cut == whole, f"{cut} layers with `layers: 1`, {whole} without"
    if source.reads_text:
        with contract.promise("a model without weights can be made of architecture(), for --dry-run"):
            meta_model(backbone.architecture(), torch.float32, generates=generates)
    with contract.promise("identity() is a text, the same for another instance"):
        with elements:
            identity = backbone.identity()
        assert isinstance(identity, str), f"it is {identity!r}"
        assert identity, "it is empty"
        again = source.made().identity()
        assert again == identity, f"'{identity}', then '{again}'"
    with contract.promise("no weights are loaded before load(): constructing, identity() and architecture() are cheap"):
        assert elements.count < FEW_ELEMENTS, f"tensors of {elements.count:,} elements are made"
    return int(text.hidden_size)


def _identity_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    def difference() -> None:
        sample = _sample(source, model, device)
        random = source.made(weights="random").load(device)
        found = _states(random, _sample(source, random, device).inputs)
        _assert_same(found, _states(model, sample.inputs), "one identity, and the states")

    _told_apart_promise(contract, source, difference)


def _told_apart_promise(contract: Contract, source: _Source, difference: Callable[[], None]) -> None:
    """Where random weights have the identity of the pretrained ones, `difference` has to find none."""
    if source.settings.weights == "random":
        return
    with contract.promise("identity() changes with the weights: random ones are told apart, unless all are random"):
        try:
            told_apart = source.made(weights="random").identity() != source.made().identity()
        except GltaError:
            told_apart = True  # refused: there are no random weights to be mistaken
        if not told_apart:
            difference()


# -------------------------------------------------------------------------------------------------- loading


def _load_promises(contract: Contract, source: _Source, device: torch.device, hidden_size: int) -> Any:
    with contract.promise(f"load() gives a model on {device}", decisive=True):
        model = source.made().load(device)
        assert isinstance(model.module, nn.Module), f"its module is {model.module!r}"
    with contract.promise("hidden_size is that of the architecture"):
        assert model.hidden_size == hidden_size, f"{model.hidden_size!r}, the architecture's is {hidden_size}"
    if source.settings.device_map is None:
        with contract.promise(f"every parameter is on the device asked for, {device}"):
            tensors = model.module.named_parameters()
            elsewhere = sorted({tensor.device.type for _, tensor in tensors} - {device.type})
            assert not elsewhere, f"some are on {', '.join(elsewhere)}"
    return model


def _token_promises(contract: Contract, model: LanguageModel, device: torch.device) -> None:
    tokenizer = model.tokenizer
    with contract.promise("tokenizer is one of transformers: it encodes a text and decodes the very text back"):
        ids = encode(tokenizer, TEXT)
        [decoded] = tokenizer.batch_decode([ids], skip_special_tokens=True)
        # Some vocabularies begin a text with a space.
        assert decoded.strip() == TEXT, f"{TEXT!r} becomes {decoded!r}"
        [called] = tokenizer([TEXT], add_special_tokens=False)["input_ids"]
        assert called == ids, "encode() and calling it differ"
        message = chat_text(tokenizer, "", TEXT)
        assert TEXT in message, f"its chat template leaves the message out: {message!r}"
    with contract.promise("embed() takes token ids of any shape [...] and gives [..., hidden_size] on the device"):
        six = torch.tensor(encode(tokenizer, TEXT)[:6], device=device)
        expected = None
        for shape in ((6,), (2, 3), (1, 3, 2)):
            found = model.embed(six.view(shape))
            assert found.shape == (*shape, model.hidden_size), f"ids {list(shape)} give {list(found.shape)}"
            assert found.is_floating_point(), f"they are {found.dtype}"
            assert found.device.type == device.type, f"they are on {found.device}"
            expected = found if expected is None else expected
            assert torch.equal(found.flatten(), expected.flatten()), "a token's embedding depends on the shape"
    with contract.promise("every id of the tokenizer has an embedding"):
        last = len(tokenizer) - 1
        found = model.embed(torch.tensor([0, last], device=device))
        assert found.isfinite().all(), f"those of 0 and {last} are not finite"


# --------------------------------------------------------------------------------------------------- states


def _state_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    with contract.promise("hidden() gives finite states [B, L, hidden_size] of a floating dtype", decisive=True):
        sample = _sample(source, model, device)
        whole = _states(model, sample.inputs)
        assert whole.shape == sample.inputs.shape, f"{list(sample.inputs.shape)} become {list(whole.shape)}"
        assert whole.is_floating_point(), f"they are {whole.dtype}"
        assert whole.device.type == device.type, f"they are on {whole.device}"
        assert whole.isfinite().all(), "some are not finite"
        assert whole.dtype in TOLERANCES, f"they are {whole.dtype}"
    with contract.promise("a batch of one equals a batch of many"):
        for row in range(ROWS):
            _assert_same(_states(model, sample.inputs[row : row + 1])[0], whole[row])
    for side in ("left", "right"):
        with contract.promise(f"padding on the {side} changes no state of a real token"):
            inputs, mask = _padded(sample, side)
            padded = _states(model, inputs, mask)
            for row in range(ROWS):
                alone = _states(model, sample.inputs[row : row + 1, : int(mask[row].sum())])
                _assert_same(padded[row, mask[row] == 1], alone[0])
    with contract.promise("states are causal: a later token changes no earlier state, or targets would be read"):
        changed = sample.inputs.clone()
        changed[:, -2:] = sample.inputs[:, :2]
        _assert_same(_states(model, changed)[:, :-2], whole[:, :-2], "earlier states")
    with contract.promise("a state depends on its own token and on those before it"):
        # One at a time: swapped, they may have the same mean.
        last, first = sample.inputs.clone(), sample.inputs.clone()
        last[:, -1], first[:, 0] = sample.inputs[:, 0], sample.inputs[:, -1]
        found = _states(model, last)[:, -1]
        _assert_other(found, whole[:, -1], "another last token leaves the last state as it is")
        found = _states(model, first)[:, -2]
        _assert_other(found, whole[:, -2], "another first token leaves later states as they are")


def _padded(sample: _Sample, side: str) -> tuple[Tensor, Tensor]:
    """The first L - 2b tokens of row b, on one side other tokens as padding: embeddings [B, L, h], mask [B, L]."""
    inputs, mask = sample.inputs.flip(1), sample.mask.clone()
    for row in range(ROWS):
        real = LENGTH - 2 * row
        places = slice(LENGTH - real, None) if side == "left" else slice(0, real)
        mask[row] = 0
        mask[row, places] = 1
        inputs[row, places] = sample.inputs[row, :real]
    return inputs, mask


# --------------------------------------------------------------------------------------------------- prefix


def _prefix_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    sample = _sample(source, model, device)
    ids, inputs = sample.ids, sample.inputs.clone()
    # All rows begin with the tokens of the first, which are words: nothing else is common to all prompts.
    with torch.no_grad():
        inputs[:, :PREFIX] = model.embed(ids[0, :PREFIX])
    whole = _states(model, inputs)
    prefix = None
    with contract.promise("prefix() gives None or what hidden() continues: the states equal those of whole prompts"):
        with torch.no_grad():
            prefix = model.prefix(ids[0, :PREFIX])
        if prefix is not None:
            _assert_same(_states(model, inputs[:, PREFIX:], prefix=prefix), whole[:, PREFIX:])
    if prefix is None:
        return
    with contract.promise("a prefix is not used up: it is computed once for all batches"):
        again = _states(model, inputs[:1, PREFIX:], prefix=prefix)
        _assert_same(again, whole[:1, PREFIX:], "states of a second batch")
    with contract.promise("after a prefix, padding on the right changes no state of a real token"):
        mask = sample.mask[:, PREFIX:].clone()
        mask[1, -3:] = 0
        padded = torch.where(mask[..., None] == 1, inputs[:, PREFIX:], inputs[:, :1])
        found = _states(model, padded, mask, prefix)
        _assert_same(found[mask == 1], whole[:, PREFIX:][mask == 1])
    with contract.promise(
        "extend() continues a prefix by tokens, padded on the right, that hidden() continues in turn"
    ):
        _check_extended(model, inputs, prefix)
    with contract.promise("a prefix made in inference mode serves a backward pass later"):
        with torch.inference_mode():
            kept = model.prefix(ids[0, :PREFIX].clone())
        after = inputs[:, PREFIX:].clone().requires_grad_(True)
        _loss(model.hidden(after, sample.mask[:, PREFIX:], kept)).backward()
        _assert_gradient(after)


def _check_extended(model: LanguageModel, inputs: Tensor, prefix: Any) -> None:
    """Row b of the extension lacks b tokens: prefix, context and rest are compared with the row run whole."""
    end = PREFIX + CONTEXT
    mask = torch.ones(ROWS, CONTEXT, dtype=torch.int64, device=inputs.device)
    for row in range(ROWS):
        mask[row, CONTEXT - row :] = 0
    context = torch.where(mask[..., None] == 1, inputs[:, PREFIX:end], inputs[:, :1])
    with torch.no_grad():
        extended = model.extend(prefix, context, mask)
    found = _states(model, inputs[:, end:], prefix=extended)
    for row in range(ROWS):
        alone = torch.cat([inputs[row, : end - row], inputs[row, end:]])[None]
        _assert_same(found[row], _states(model, alone)[0, end - row :])


# ------------------------------------------------------------------------------------------- frozen, adapted


def _frozen_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    sample = _sample(source, model, device)
    expected = _states(model, sample.inputs)
    with contract.promise("load() gives the same model again"):
        other = source.made().load(device)
        _assert_same(_states(other, _sample(source, other, device).inputs), expected, "states of two loads")
    with contract.promise("a frozen model is one function: every pass gives the same states, in training mode too"):
        _assert_same(_states(model, sample.inputs), expected, "states of two passes")
        model.module.train()
        try:
            with torch.no_grad():
                trained = model.hidden(sample.inputs, sample.mask)
        finally:
            model.module.eval()
        _assert_same(trained, expected, "states in training and in evaluation mode")
    with contract.promise("without `backbone.lora` the model is frozen: no parameter requires a gradient"):
        free = sorted(_trainable(model.module))
        assert not free, f"{len(free)} do, such as {free[0]}"
    with contract.promise("gradients reach the embeddings given to hidden(), finite and not all zero"):
        for inputs, mask in ((sample.inputs, sample.mask), _padded(sample, "left")):
            inputs = inputs.clone().requires_grad_(True)
            _loss(model.hidden(inputs, mask)[mask == 1]).backward()
            _assert_gradient(inputs)


def _assert_gradient(inputs: Tensor) -> None:
    assert inputs.grad is not None, "there is none"
    assert inputs.grad.isfinite().all(), "it is not finite"
    assert inputs.grad.any(), "it is zero everywhere"


def _adapter_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    lora = source.settings.lora or LoraSettings(rank=2)
    adapted: LanguageModel | None = None
    with contract.promise("adapters: `backbone.lora` is heeded, or refused by a GltaError"):
        try:
            adapted = source.made(lora=lora).load(device)
        except GltaError:
            return
        assert _trainable(adapted.module), "no parameter requires a gradient"
    if adapted is None:
        return
    parameters = _trainable(adapted.module)
    sample = _sample(source, model, device)
    with contract.promise("adapters change nothing at first: the states are those of the frozen model"):
        _assert_same(_states(adapted, sample.inputs), _states(model, sample.inputs))
    # As the second factor of an adapter is zero at first, so is the gradient of the first.
    _set_noise(parameters.values())
    with contract.promise("adapters: every parameter that requires a gradient gets a finite one"):
        _gradients(adapted, sample, prefix=None)
    with contract.promise("adapters: gradients through prefix() and extend() equal those through whole prompts"):
        _check_prefix_gradients(adapted, sample)
    with contract.promise("adapters that were saved and set in another load give the same states, other than at first"):
        second = source.made(lora=lora).load(device)
        first_states = _states(second, sample.inputs)
        _copy_through_file(parameters, second.module)
        expected = _states(adapted, sample.inputs)
        _assert_other(expected, first_states, "the parameters that require a gradient have no effect on the states")
        _assert_same(_states(second, sample.inputs), expected)


def _gradients(model: LanguageModel, sample: _Sample, prefix: Any) -> dict[str, Tensor]:
    """Of all adapters, of a loss over the last tokens; their context is given as a prefix or with them."""
    end = PREFIX + CONTEXT
    if prefix is None:
        states = model.hidden(sample.inputs, sample.mask)[:, end:]
    else:
        extended = model.extend(prefix, sample.inputs[:, PREFIX:end], sample.mask[:, PREFIX:end])
        states = model.hidden(sample.inputs[:, end:], sample.mask[:, end:], extended)
    _loss(states).backward()
    found: dict[str, Tensor] = {}
    for name, parameter in _trainable(model.module).items():
        assert parameter.grad is not None, f"{name} gets none"
        assert parameter.grad.isfinite().all(), f"that of {name} is not finite"
        found[name] = parameter.grad
        parameter.grad = None
    return found


def _check_prefix_gradients(model: LanguageModel, sample: _Sample) -> None:
    shared = _Sample(*(part[:1].expand(part.shape).clone() for part in (sample.ids, sample.inputs, sample.mask)))
    prefix = model.prefix(shared.ids[0, :PREFIX])
    if prefix is None:
        return
    found, expected = _gradients(model, shared, prefix), _gradients(model, shared, None)
    names = list(expected)
    states = model.hidden(shared.inputs[:1], shared.mask[:1])
    # In the dtype of the states, whose rounding they carry.
    flat = [torch.cat([each[name].flatten().to(states.dtype) for name in names]) for each in (found, expected)]
    _assert_same(flat[0], flat[1], "the gradients")


def _copy_through_file(parameters: Mapping[str, nn.Parameter], module: nn.Module) -> None:
    """Set the parameters of another load, by name, as a stage that was published does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapters.safetensors"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in parameters.items()}, path)
        others = _trainable(module)
        missing = sorted(parameters.keys() ^ others.keys())
        assert not missing, f"two loads have other parameters, such as {missing[0]}"
        with torch.no_grad():
            for name, tensor in load_file(path).items():
                others[name].copy_(tensor)


# ------------------------------------------------------------------------------------------------- early exit


def _exit_promises(contract: Contract, source: _Source, device: torch.device) -> None:
    with contract.promise("load() at full depth works", decisive=True):
        whole = source.made(layers=None).load(device)
        sample = _sample(source, whole, device)
        expected = _states(whole, sample.inputs)
    with contract.promise("early exit: `backbone.layers: 1` gives other states of the same shape, or is refused"):
        try:
            early = source.made(layers=1).load(device)
        except GltaError:
            return
        found = _states(early, sample.inputs)
        assert early.hidden_size == whole.hidden_size, f"hidden_size {early.hidden_size}, not {whole.hidden_size}"
        assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
        if source.made().architecture().get_text_config().num_hidden_layers > 1:
            _assert_other(found, expected, "the states are those of full depth")
    del whole
    gc.collect()  # a whole model may be large
    with contract.promise("early exit: load(full_depth=True) ignores `backbone.layers`"):
        deep = source.made(layers=1).load(device, full_depth=True)
        _assert_same(_states(deep, sample.inputs), expected)


# ------------------------------------------------------------------------------------------------- generation


def _generation_promises(contract: Contract, model: LanguageModel) -> None:
    answers: list[str] = []
    with contract.promise("generate() gives one text a prompt, and an empty list for none"):
        answers = model.generate(list(PROMPTS), NEW_TOKENS)
        assert len(answers) == len(PROMPTS), f"{len(answers)} for {len(PROMPTS)} prompts"
        assert all(isinstance(answer, str) for answer in answers), f"{answers!r}"
        nothing = model.generate([], NEW_TOKENS)
        assert nothing == [], f"{nothing!r} for no prompts"
    if not answers:
        return
    with contract.promise("generate() gives the new text only"):
        assert not all(a.startswith(p) for a, p in zip(answers, PROMPTS, strict=True)), (
            f"the prompt is in {answers[0]!r}"
        )
    with contract.promise("generate() continues a prompt by at most `max_new_tokens` tokens"):
        for answer in answers:
            # Bytes that are no text decode to a mark of several bytes, and a text may be cut into tokens otherwise
            # than it was generated: not so much that it would be twice as many.
            tokens = len(encode(model.tokenizer, answer.replace("\ufffd", "")))
            assert tokens <= 2 * NEW_TOKENS, f"some {tokens} where {NEW_TOKENS} are asked for: {answer!r}"
    with contract.promise("generate() is greedy: it gives the same again, and changes no mode of the module"):
        model.module.train()
        try:
            again = model.generate(list(PROMPTS), NEW_TOKENS)
            assert model.module.training, "the module has left training mode"
        finally:
            model.module.eval()
        assert again == answers, f"{answers}, then {again}"
    if model.embed(torch.tensor([0], device=_device_of(model))).dtype != torch.float32:
        return  # rounding may decide between two tokens
    with contract.promise("generate() gives each prompt what it gives the prompt alone"):
        alone = [text for prompt in PROMPTS for text in model.generate([prompt], NEW_TOKENS)]
        assert alone == answers, f"alone {alone}, together {answers}"


def _wordless_promises(contract: Contract, source: _Source, model: LanguageModel, device: torch.device) -> None:
    with contract.promise("a model that reads no text says by a positive `token_rms` where projected tokens start"):
        rms = getattr(model, "token_rms", None)
        assert isinstance(rms, float), f"it is {rms!r}"
        assert 0 < rms < float("inf"), f"it is {rms}"
    with contract.promise("words change no state of a model that reads no text"):
        sample = _sample(source, model, device)
        with torch.no_grad():
            words = model.embed(sample.ids)
        behind = _states(model, torch.cat([words, sample.inputs], dim=1))
        _assert_same(behind[:, LENGTH:], _states(model, sample.inputs))
        before = _states(model, torch.cat([sample.inputs, words], dim=1))
        _assert_same(before[:, LENGTH:], before[:, LENGTH - 1 : LENGTH].expand_as(words), "states at words")
    with contract.promise("generate() of a model that reads no text is refused by a GltaError"):
        try:
            answers = model.generate(list(PROMPTS), NEW_TOKENS)
        except GltaError:
            return
        raise AssertionError(f"it answers {answers!r}")


def _device_of(model: LanguageModel | SentenceEncoder) -> torch.device:
    return next(model.module.parameters()).device


# ------------------------------------------------------------------------------ what reads texts and nothing else


def _vectors(encoder: SentenceEncoder, rows: Sequence[Sequence[int]], padding: int = 0) -> Tensor:
    """Vectors of texts given as ids, padded on the right: [B] -> [B, h], without gradients."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows], device=_device_of(encoder))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=ids.device)
    with torch.no_grad():
        return encoder.sentence_vectors(ids, mask)


def _read(encoder: SentenceEncoder) -> list[list[int]]:
    return encoder.token_ids(list(TEXTS), MOST_TOKENS)


def _reading_promises(contract: Contract, encoder: SentenceEncoder) -> None:
    with contract.promise("token_ids() gives a list of ids a text, none of them empty", decisive=True):
        rows = encoder.token_ids([*TEXTS, ""], MOST_TOKENS)
        assert len(rows) == len(TEXTS) + 1, f"{len(rows)} for {len(TEXTS) + 1} texts"
        for row in rows:
            assert len(row) > 0, "a text has no ids"
            assert all(isinstance(token, int) for token in row), f"{row!r}"
    with contract.promise("token_ids() gives at most as many ids as are asked for, and as many where a text is long"):
        for most in (4, 7, 11):
            lengths = {len(row) for row in encoder.token_ids([TEXT * 3, TEXT * 3 + TEXT], most)}
            assert lengths == {most}, f"{sorted(lengths)} where {most} are asked for"
    with contract.promise("token_ids() reads a text alike whatever stands beside it"):
        alone = [row for text in TEXTS for row in encoder.token_ids([text], MOST_TOKENS)]
        assert alone == _read(encoder), "alone and together differ"


def _vector_promises(contract: Contract, encoder: SentenceEncoder) -> None:
    with contract.promise(
        "sentence_vectors() gives finite vectors [B, hidden_size] of a floating dtype", decisive=True
    ):
        rows = _read(encoder)
        whole = _vectors(encoder, rows)
        assert whole.shape == (len(rows), encoder.hidden_size), f"shape {list(whole.shape)}"
        assert whole.is_floating_point(), f"they are {whole.dtype}"
        assert whole.isfinite().all(), "some are not finite"
    with contract.promise("texts read alone have the vectors they have in a batch, in whatever order"):
        _assert_same(torch.cat([_vectors(encoder, [row]) for row in rows]), whole, "the vectors")
        _assert_same(_vectors(encoder, rows[::-1]).flip(0), whole, "the vectors")
    with contract.promise("what stands under a mask of 0 changes no vector"):
        _assert_same(_vectors(encoder, rows, padding=rows[0][1]), whole, "the vectors")
    with contract.promise("a vector depends on the whole text, its first words and its last"):
        found = _vectors(encoder, encoder.token_ids([f"{word} {TEXT}" for word in ("Rain", "Gold")], 4 * MOST_TOKENS))
        _assert_other(found[0], found[1], "other first words leave it as it is")
        found = _vectors(encoder, encoder.token_ids([f"{TEXT} {word}" for word in ("Rain", "Gold")], 4 * MOST_TOKENS))
        _assert_other(found[0], found[1], "other last words leave it as it is")


def _frozen_reader_promises(
    contract: Contract, source: _Source, encoder: SentenceEncoder, device: torch.device
) -> None:
    rows = _read(encoder)
    expected = _vectors(encoder, rows)
    with contract.promise("load() gives the same model again"):
        _assert_same(_vectors(_loaded_reader(source, device), rows), expected, "vectors of two loads")
    with contract.promise("a loaded model is one function: every pass gives the same vectors, in training mode too"):
        encoder.module.train()
        try:
            trained = _vectors(encoder, rows)
        finally:
            encoder.module.eval()
        _assert_same(trained, expected, "vectors in training and in evaluation mode")
    with contract.promise("it is frozen: no parameter requires a gradient"):
        free = sorted(_trainable(encoder.module))
        assert not free, f"{len(free)} do, such as {free[0]}"
    with contract.promise("`backbone.lora` is refused by a GltaError: what only reads is never trained"):
        try:
            source.made(lora=LoraSettings(rank=2)).load(device)
        except GltaError:
            return
        raise AssertionError("it is taken without a word")


def _loaded_reader(source: _Source, device: torch.device, **changes: Any) -> SentenceEncoder:
    model: Any = source.made(**changes).load(device)
    reader: SentenceEncoder = model
    return reader


def _reader_identity_promises(
    contract: Contract, source: _Source, encoder: SentenceEncoder, device: torch.device
) -> None:
    def difference(other: SentenceEncoder) -> None:
        rows = _read(encoder)
        _assert_same(_vectors(other, rows), _vectors(encoder, rows), "one identity, and the vectors")

    _told_apart_promise(contract, source, lambda: difference(_loaded_reader(source, device, weights="random")))


def _reader_exit_promises(contract: Contract, source: _Source, device: torch.device) -> None:
    with contract.promise("load() at full depth works", decisive=True):
        whole = _loaded_reader(source, device, layers=None)
        rows = _read(whole)
        expected = _vectors(whole, rows)
    with contract.promise("early exit: `backbone.layers: 1` gives other vectors of the same shape, or is refused"):
        try:
            found = _vectors(_loaded_reader(source, device, layers=1), rows)
        except GltaError:
            return
        assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
        if source.made().architecture().get_text_config().num_hidden_layers > 1:
            _assert_other(found, expected, "the vectors are those of full depth")
    with contract.promise("early exit: load(full_depth=True) ignores `backbone.layers`"):
        deep: Any = source.made(layers=1).load(device, full_depth=True)
        _assert_same(_vectors(deep, rows), expected, "the vectors")
