"""What a backbone promises before its weights are loaded, of its identity, and of `load()` itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from glta_cli.core.errors import GltaError
from glta_cli.language.model_memory import meta_model
from glta_cli.plugin import CheckedBackbone, Demand, LongPrompt
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract

# Elements of tensors that constructing may make: fewer than the smallest of matrices.
FEW_ELEMENTS = 1000


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


def description_promises(contract: Contract, source: Source, *, generates: bool = True) -> int:
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
    if isinstance(backbone, CheckedBackbone):
        with contract.promise("check_demand(), where there is one, has nothing against a model that is asked little"):
            _ask_for_little(backbone)
    with contract.promise("no weights are loaded before load(): constructing, identity() and architecture() are cheap"):
        assert elements.count < FEW_ELEMENTS, f"tensors of {elements.count:,} elements are made"
    return int(text.hidden_size)


def _ask_for_little(backbone: CheckedBackbone) -> None:
    asked: list[Any] = []

    def longer_than(tokenizer: Any, most: int | None) -> list[LongPrompt]:
        asked.append(tokenizer)
        return []

    backbone.check_demand(Demand(longer_than, writes=False))
    assert all(hasattr(tokenizer, "encode") for tokenizer in asked), "it hands on something that is no tokenizer"


def load_promises(contract: Contract, source: Source, device: torch.device, hidden_size: int) -> Any:
    """Load a model without adapters and return it; `hidden_size` is the architecture's."""
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


def told_apart_promise(contract: Contract, source: Source, difference: Callable[[], None]) -> None:
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
