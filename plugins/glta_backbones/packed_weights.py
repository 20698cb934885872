"""Checkpoints whose weights are packed, as a quantization_config says: what can be told before they are loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from glta_backbones.tensor_names import difference, head_names, listed
from glta_backbones.weight_files import Shapes
from glta_cli.plugin import GltaError

HINT = "fetch the weights as they were trained; backbone.quantization packs them"


def require_known_packing(config: Any, folder: Path) -> None:
    """Raise `GltaError` for a way to pack weights that transformers does not know, and would pass over."""
    packing = config.quantization_config
    values = packing if isinstance(packing, dict) else getattr(packing, "__dict__", {})
    method = getattr(values.get("quant_method"), "value", values.get("quant_method"))
    bitsandbytes = method == "bitsandbytes" or values.get("load_in_8bit") or values.get("load_in_4bit")
    if not bitsandbytes and method not in {*AUTO_QUANTIZATION_CONFIG_MAPPING}:
        raise GltaError(
            f"no usable checkpoint: transformers knows no packing of weights called quant_method {method!r}",
            location=str(folder / "config.json"),
            hint=HINT,
        )


def without_packing(config: Any) -> Any:
    """The configuration of the model before its weights were packed."""
    plain = copy.deepcopy(config)
    for part in (plain, plain.get_text_config()):
        if hasattr(part, "quantization_config"):
            del part.quantization_config
    return plain


def require_packed_weights(shapes: Shapes, model: Any, folder: Path) -> None:
    """Refuse a checkpoint that has nothing at all of some part of its model.

    Packed tensors have names of their own, beside which the plain one stands: `q_proj.qweight` for `q_proj.weight`.
    Where less than half of the model is found that way, its names tell nothing, and only the load does.

    Args:
        model: without its packing, on torch's meta device.

    Raises:
        GltaError: parts are missing that would be drawn at random.
    """
    head = head_names(model)
    found = difference(shapes, model)
    missing = _without_any([name for name in found.missing if name not in head], shapes, model.base_model_prefix)
    whole = len(model.state_dict())
    if missing and 2 * len(missing) <= whole:
        raise GltaError(
            f"no usable checkpoint: {len(missing)} of {whole} tensors are missing, packed and plain: {listed(missing)}",
            location=str(folder),
            hint="fetch it again; weights: random runs without a checkpoint",
        )


def _without_any(missing: Sequence[str], names: Iterable[str], prefix: str) -> list[str]:
    """Those of whose module the file has no tensor."""
    modules = {parent for name in names for parent in _parents(name.removeprefix(f"{prefix}."))}
    return [name for name in missing if name.removeprefix(f"{prefix}.").rpartition(".")[0] not in modules]


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
