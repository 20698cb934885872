"""Shares the weights of a language model's layers among processes, which gather one layer at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from glta_cli.plugin import BackboneSettings, InputError, decided_together, processes_started, processes_together

LOCATION = "backbone.shard"
# Of a device's memory, beyond which weights are shared where that is left to the machine: activations need the rest.
ROOM_FOR_WEIGHTS = 0.6
# Settings beside which weights are not shared, and what to do.
OTHERWISE = {
    "device_map": "device_map spreads the layers of one process over its devices: leave out one of the two",
    "quantization": "packed weights cannot be gathered: leave out one of the two",
}


def require_sharing(settings: BackboneSettings) -> None:
    """Refuse weights that cannot be shared, before anything is trained.

    Raises:
        InputError: there is one process only, or something else places the weights.
    """
    if settings.shard is not True:
        return
    if processes_started() == 1:
        raise InputError(
            "there is one process, and nothing to share the weights with",
            location=LOCATION,
            hint="start several (--processes 2, or torchrun), or --set backbone.shard=false: results stay found",
        )
    other = _other_placement(settings)
    if other is not None:
        raise InputError(f"does not go with backbone.{other}", location=LOCATION, hint=OTHERWISE[other])


def shares_weights(settings: BackboneSettings, device: torch.device, weight_bytes: Callable[[], int]) -> bool:
    """Whether each process is to hold a part of the weights alone.

    What the first process does while the others wait it does with the whole model.

    Args:
        device: where this process computes.
        weight_bytes: counts those of the whole model.

    Raises:
        InputError: as `require_sharing`.
    """
    require_sharing(settings)
    if settings.shard is False or processes_together() == 1:
        return False
    if settings.shard is True:
        return True
    large = _other_placement(settings) is None and weight_bytes() > ROOM_FOR_WEIGHTS * _memory_of(device)
    return decided_together(large)


def _other_placement(settings: BackboneSettings) -> str | None:
    """The setting that decides otherwise where the weights lie, or in what form."""
    if settings.device_map is not None:
        return "device_map"
    return "quantization" if settings.quantization != "none" else None


def _memory_of(device: torch.device) -> int:
    """Bytes of the GPU; of a machine without one what each process has, were all of them on it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // processes_together()


def share_layers(model: Any, device: torch.device) -> None:
    """Leave each process its part of every transformer layer, in place; embeddings, head and adapters stay whole.

    From then on a pass through a layer is something that all processes do together: every process runs the model as
    often as every other. Weights are frozen, so that nothing is reduced backwards; the gradients of the adapters are
    those of this process, to be averaged as those of other replicated parameters.

    Source: Zhao et al., PyTorch FSDP, VLDB 2023; `fully_shard` is its second form, a parameter at a time.

    Args:
        model: a `transformers.PreTrainedModel`, whole, in the memory of the processor.
        device: where this process computes.

    Raises:
        InputError: the family does not say what its layers are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes_together(),))
    layers = _layers(model)
    # A parameter that is trained here, an adapter's, is the same on all processes, as projectors and head are.
    trained = {each for each in model.parameters() if each.requires_grad}
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=trained & set(layer.parameters()))
    inside = {each for layer in layers for each in layer.parameters()}
    body = model.base_model if model.base_model is not model else model.model
    # A root without weights of its own, so that one layer is gathered while the one before it computes.
    fully_shard(body, mesh=mesh, ignored_params={*trained, *(set(body.parameters()) - inside)})
    model.to(device)


def _layers(model: Any) -> list[nn.Module]:
    """The transformer layers, which a family names by their classes."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        raise InputError(
            f"{model.config.model_type} does not say what its layers are, by which weights are shared",
            location=LOCATION,
            hint="--set backbone.shard=false, or a model of another family, such as llama or qwen2",
        )
    return found
