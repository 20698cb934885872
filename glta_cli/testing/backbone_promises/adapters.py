"""What a language model with adapters promises: where they start, how they are trained and saved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from glta_cli.core.errors import GltaError
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.settings import LoraSettings
from glta_cli.testing.agreement import assert_other, assert_same
from glta_cli.testing.backbone_promises.gradients import loss_of
from glta_cli.testing.backbone_promises.prefix import CONTEXT, PREFIX
from glta_cli.testing.backbone_promises.sample import Sample, drawn_sample, states_of
from glta_cli.testing.backbone_promises.source import Source
from glta_cli.testing.contract import Contract
from glta_cli.training.loop import trainable


def adapter_promises(contract: Contract, source: Source, model: LanguageModel, device: torch.device) -> None:
    """They change nothing until they are trained, and then give the same states in another load."""
    lora = source.settings.lora or LoraSettings(rank=2)
    adapted: LanguageModel | None = None
    with contract.promise("adapters: `backbone.lora` is heeded, or refused by a GltaError"):
        try:
            adapted = source.made(lora=lora).load(device)
        except GltaError:
            return
        assert trainable(adapted.module), "no parameter requires a gradient"
    if adapted is None:
        return
    parameters = trainable(adapted.module)
    sample = drawn_sample(source, model, device)
    with contract.promise("adapters change nothing at first: the states are those of the frozen model"):
        assert_same(states_of(adapted, sample.inputs), states_of(model, sample.inputs))
    # As the second factor of an adapter is zero at first, so is the gradient of the first.
    _set_noise(parameters.values())
    with contract.promise("adapters: every parameter that requires a gradient gets a finite one"):
        _gradients(adapted, sample, prefix=None)
    with contract.promise("adapters: gradients through prefix() and extend() equal those through whole prompts"):
        _check_prefix_gradients(adapted, sample)
    with contract.promise("adapters that were saved and set in another load give the same states, other than at first"):
        second = source.made(lora=lora).load(device)
        first_states = states_of(second, sample.inputs)
        _copy_through_file(parameters, second.module)
        expected = states_of(adapted, sample.inputs)
        assert_other(expected, first_states, "the parameters that require a gradient have no effect on the states")
        assert_same(states_of(second, sample.inputs), expected)


def _set_noise(parameters: Iterable[nn.Parameter]) -> None:
    """What a training would leave behind."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


def _gradients(model: LanguageModel, sample: Sample, prefix: Any) -> dict[str, Tensor]:
    """Of all adapters, of a loss over the last tokens; their context is given as a prefix or with them."""
    end = PREFIX + CONTEXT
    if prefix is None:
        states = model.hidden(sample.inputs, sample.mask)[:, end:]
    else:
        extended = model.extend(prefix, sample.inputs[:, PREFIX:end], sample.mask[:, PREFIX:end])
        states = model.hidden(sample.inputs[:, end:], sample.mask[:, end:], extended)
    loss_of(states).backward()
    found: dict[str, Tensor] = {}
    for name, parameter in trainable(model.module).items():
        assert parameter.grad is not None, f"{name} gets none"
        assert parameter.grad.isfinite().all(), f"that of {name} is not finite"
        found[name] = parameter.grad
        parameter.grad = None
    return found


def _check_prefix_gradients(model: LanguageModel, sample: Sample) -> None:
    shared = Sample(*(part[:1].expand(part.shape).clone() for part in (sample.ids, sample.inputs, sample.mask)))
    prefix = model.prefix(shared.ids[0, :PREFIX])
    if prefix is None:
        return
    found, expected = _gradients(model, shared, prefix), _gradients(model, shared, None)
    names = list(expected)
    states = model.hidden(shared.inputs[:1], shared.mask[:1])
    # In the dtype of the states, whose rounding they carry.
    flat = [torch.cat([each[name].flatten().to(states.dtype) for name in names]) for each in (found, expected)]
    assert_same(flat[0], flat[1], "the gradients")


def _copy_through_file(parameters: Mapping[str, nn.Parameter], module: nn.Module) -> None:
    """Set the parameters of another load, by name, as a stage that was published does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapters.safetensors"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in parameters.items()}, path)
        others = trainable(module)
        missing = sorted(parameters.keys() ^ others.keys())
        assert not missing, f"two loads have other parameters, such as {missing[0]}"
        with torch.no_grad():
            for name, tensor in load_file(path).items():
                others[name].copy_(tensor)
