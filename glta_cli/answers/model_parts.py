"""What a fine-tuning trained, as the files other programs read: an adapter of peft, projectors, a head; and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import read_arrays, write_tensors

Tensors = Mapping[str, NDArray[np.float32]]

ADAPTER, PROJECTORS, HEAD = "adapter_model.safetensors", "projectors.safetensors", "head.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
FILES = (ADAPTER, PROJECTORS, HEAD)
HINT = "export the run again"

# As the model calls an adapter's factors, and as peft's files do, where the adapter's own name is left out.
OWN_NAME = re.compile(r"^language_module\.(?P<module>base_model\..+\.lora_[AB])\.default\.weight$")
PEFT_NAME = re.compile(r"^(?P<module>base_model\..+\.lora_[AB])\.weight$")
PEFT_PREFIX = "base_model.model."


def write_parts(tensors: Tensors, folder: Path) -> None:
    """Write each tensor of a fine-tuning into the file it belongs to; an adapter only where one was trained.

    Raises:
        OSError: it cannot be written.
    """
    files: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        factor = OWN_NAME.match(name)
        if factor:
            files.setdefault(ADAPTER, {})[f"{factor['module']}.weight"] = tensor
        else:
            files.setdefault(HEAD if name.startswith("head.") else PROJECTORS, {})[name] = tensor
    for file, held in files.items():
        write_tensors(folder / file, held)


def read_parts(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a fine-tuning under the names the model calls them by.

    Raises:
        GltaError: a file is damaged.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for file in FILES:
        if (folder / file).is_file():
            found |= {_own_name(name): held for name, held in read_arrays(folder / file, hint=HINT).items()}
    return found


def _own_name(name: str) -> str:
    factor = PEFT_NAME.match(name)
    return f"language_module.{factor['module']}.default.weight" if factor else name


def adapter_config(tensors: Tensors, lora: Mapping[str, Any], base_model: str | None) -> dict[str, Any]:
    """What peft reads of an adapter: its rank and scale, and by name the layers it is on.

    Args:
        lora: the recipe's `backbone.lora`.
    """
    from peft import LoraConfig

    modules = {m["module"].rpartition(".lora_")[0] for name in tensors if (m := OWN_NAME.match(name))}
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        # Names instead of a pattern: an early exit adapts some of the layers the base model has.
        target_modules=sorted(module.removeprefix(PEFT_PREFIX) for module in modules),
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model,
        inference_mode=True,
    )
    return _plain(config.to_dict())


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON can say it, in one order whatever the process."""
    return {
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in sorted(config.items())
    }
