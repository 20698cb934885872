"""Whether the tensors of a checkpoint are those of its model: none missing, none of another shape, none left over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glta_backbones.weight_files import ADAPTER, Shapes, opened
from glta_cli.plugin import GltaError

# What wrappers leave in the names of what they wrap: torch.compile, FSDP, checkpointed activations, Lightning, peft.
WRAPPERS = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "base_layer"}
)
FRONTS = ("module.", "base_model.model.")
# Constants that older releases of transformers stored beside the weights.
CONSTANTS = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|token_type_ids)$")
ADAPTER_TENSOR = re.compile(r"\.(lora_\w+|modules_to_save|original_module)\b")
NAMED = 3


@dataclass(frozen=True)
class Difference:
    """How the tensors of a checkpoint differ from those of its model, by the model's names.

    Attributes:
        missing: would be drawn at random.
        misshapen: name, shape in the file, shape in the model.
        surplus: have no place in the model.
    """

    missing: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    surplus: tuple[str, ...]

    @classmethod
    def reported(cls, info: dict[str, Any]) -> Difference:
        """What transformers says of a load; tied weights and what a family leaves out are not in it."""
        wrong = sorted((name, tuple(there), tuple(here)) for name, there, here in info["mismatched_keys"])
        return cls(tuple(sorted(info["missing_keys"])), tuple(wrong), tuple(sorted(info["unexpected_keys"])))


def difference(shapes: Shapes, model: Any) -> Difference:
    """Ask transformers what of `model` it would find among tensors of these names and shapes; reads no weight.

    Args:
        model: on torch's meta device, of the very class that is to be loaded.
    """
    # Its own rules apply: renamed, merged and tied weights of all families are known there alone.
    _, info = type(model).from_pretrained(
        None,
        config=model.config,
        state_dict={name: torch.empty(shape, device="meta") for name, shape in shapes.items()},
        device_map={"": "meta"},
        dtype=next(model.parameters()).dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return Difference.reported(info)


def unwrapped(name: str) -> str:
    """A tensor's name without what wrappers put into it."""
    plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    while front := next((each for each in FRONTS if plain.startswith(each)), None):
        plain = plain.removeprefix(front)
    return plain


def without_wrappers(names: Iterable[str], folder: Path) -> dict[str, str]:
    """Names in the files -> names in the model; empty where no wrapper left anything in them.

    Raises:
        GltaError: adapters lie among the weights, or two names become one.
    """
    names = list(names)
    plain = {name: unwrapped(name) for name in names}
    if all(name == given for given, name in plain.items()):
        return {}
    if any(map(ADAPTER_TENSOR.search, names)) or (folder / ADAPTER).is_file():
        raise GltaError(
            "no usable checkpoint: adapters lie unmerged among its weights",
            location=str(folder),
            hint="merge them (peft: model.merge_and_unload()), and save what that returns",
        )
    if len({*plain.values()}) < len(plain):
        raise GltaError(
            "no usable checkpoint: it holds some tensors twice, with a wrapper's prefix and without",
            location=str(folder),
            hint="save the model without its wrapper: model.module or model._orig_mod",
        )
    return plain


def removed_prefix(plain: dict[str, str]) -> str:
    """What wrappers left in the first name that was changed, to be told."""
    given, name = next((given, name) for given, name in plain.items() if given != name)
    return given.removesuffix(name) if given.endswith(name) else f"{given} (now {name})"


def named_tensors(files: Sequence[Path], plain: dict[str, str]) -> dict[str, Tensor]:
    """All tensors of the files, mapped into memory, by their names without wrappers."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        with opened(path) as file:
            tensors |= {plain[name]: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    return tensors


def head_names(model: Any) -> frozenset[str]:
    """Parameters of the output head: no state depends on them."""
    head = model.get_output_embeddings()
    name = next((name for name, module in model.named_modules() if module is head), None)
    return frozenset() if name is None else frozenset(f"{name}.{each}" for each, _ in head.named_parameters())


def require_weights(found: Difference, shapes: Shapes, model: Any, folder: Path) -> tuple[str, ...]:
    """Refuse a checkpoint in place of running on random numbers; a missing output head is for whoever writes text.

    Returns:
        Tensors no state depends on and that are not used: those of other heads.

    Raises:
        GltaError: a tensor of the body is missing, has another shape or has no place.
    """
    head = head_names(model)
    missing = [name for name in found.missing if name not in head]
    if missing:
        whole = len(model.state_dict())
        raise GltaError(
            f"no usable checkpoint: {len(missing)} of {whole} tensors are missing: {listed(missing)}",
            location=str(folder),
            hint=_where_else(found.surplus) or "fetch it again; weights: random runs without a checkpoint",
        )
    if found.misshapen:
        wrong = [f"{name} {list(there)} instead of {list(here)}" for name, there, here in found.misshapen]
        raise GltaError(
            f"no usable checkpoint: {len(wrong)} tensors have another shape than config.json says: {listed(wrong)}",
            location=str(folder),
            hint="config.json and the weights are of different models; fetch both again",
        )
    buffers = {name for name, _ in model.named_buffers()}
    surplus = [name for name in found.surplus if not _constant(name, shapes, buffers, model.base_model_prefix)]
    body = [name for name in surplus if _in_body(name, model)]
    if body:
        raise GltaError(
            f"no usable checkpoint: {len(body)} tensors have no place in the model config.json describes:"
            f" {listed(body)}",
            location=str(folder),
            hint="config.json and the weights are of different models; fetch both again",
        )
    return tuple(surplus)


def require_real_numbers(dtypes: dict[str, str], found: Difference, shapes: Shapes, model: Any, folder: Path) -> None:
    """Refuse weights that were rounded to integers, or to yes and no, where no quantization_config says how.

    Args:
        dtypes: as safetensors calls them, by the model's names.

    Raises:
        GltaError: they would be read as if they were the numbers the model was trained with.
    """
    whole = {name for name, buffer in model.named_buffers() if not buffer.is_floating_point()}
    wrong = [
        f"{name} ({dtype})"
        for name, dtype in sorted(dtypes.items())
        if not dtype.startswith(("F", "BF"))
        and name not in found.surplus
        and not _constant(name, shapes, whole, model.base_model_prefix)
    ]
    if wrong:
        raise GltaError(
            f"no usable checkpoint: {len(wrong)} of its weights are no floating-point numbers: {listed(wrong)}",
            location=str(folder),
            hint="they were quantised, and no quantization_config in config.json says how: fetch the weights as they"
            " were trained; backbone.quantization packs them",
        )


def listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _where_else(surplus: Sequence[str]) -> str | None:
    return f"the file calls its tensors otherwise, such as {surplus[0]}: save the model itself" if surplus else None


def _constant(name: str, shapes: Shapes, buffers: set[str], prefix: str) -> bool:
    """Whether a tensor is one the model computes by itself, such as a causal mask [1, 1, n, n]."""
    shape = shapes.get(name) or shapes.get(name.removeprefix(f"{prefix}.")) or ()
    mask = len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
    return bool(CONSTANTS.search(name)) or mask or name in buffers or f"{prefix}.{name}" in buffers


def _in_body(name: str, model: Any) -> bool:
    children = {child for child, _ in model.base_model.named_children()}
    prefix = f"{model.base_model_prefix}."
    return name.startswith(prefix) or name.partition(".")[0] in children
