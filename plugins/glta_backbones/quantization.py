"""Packs weights into 4 or 8 bits while they are loaded, through bitsandbytes."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import torch
import transformers

from glta_cli.plugin import BackboneSettings, InputError

# Where bitsandbytes has kernels of its own: a CUDA or ROCm GPU, an Intel one, and since 0.47 any processor.
PACKS_ON = ("cuda", "xpu", "cpu")
REARRANGES = "support_avx512bf16_for_cpu"  # of bitsandbytes' Linear4bit


def require_packer(settings: BackboneSettings) -> None:
    """Refuse what can be packed on no device of this machine, before anything is fetched or trained.

    Raises:
        InputError: random weights, or no bitsandbytes.
    """
    if settings.quantization == "none":
        return
    problem, hint = None, None
    if settings.weights == "random":
        problem, hint = "random weights cannot be quantised", "leave out backbone.quantization"
    elif find_spec("bitsandbytes") is None:
        problem, hint = "needs bitsandbytes, which is not installed", "pip install 'glta[quantization]'"
    if problem:
        raise InputError(problem, location="backbone.quantization", hint=hint)


def packing(settings: BackboneSettings, device: torch.device, dtype: torch.dtype) -> Any:
    """What `from_pretrained` takes as `quantization_config`; None where weights stay as they are.

    4bit is NF4 with its scales quantised a second time, multiplied in `dtype`; the output head and the embeddings stay
    as they are.

    Source: Dettmers et al., QLoRA, NeurIPS 2023 (4bit); Dettmers et al., LLM.int8(), NeurIPS 2022 (8bit).

    Raises:
        InputError: random weights, no bitsandbytes, or a device it has no kernels for.
    """
    if settings.quantization == "none":
        return None
    require_packer(settings)
    if device.type not in PACKS_ON:
        raise InputError(
            f"needs a CUDA GPU or a processor, not {device.type}",
            location="backbone.quantization",
            hint="leave out backbone.quantization, or --device cpu",
        )
    # It says at every layer of every pass in which dtype it multiplies.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if settings.quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_gradients(model: Any) -> None:
    """Let gradients through packed layers on a processor too, in place; tokens are learnt through the frozen model.

    Where a processor has AVX512-BF16, bitsandbytes rearranges the weights at the first pass without gradients, and from
    then on multiplies them by a kernel that has no backward pass, without a word.
    """
    for layer in model.modules():
        if hasattr(layer, REARRANGES):
            setattr(layer, REARRANGES, False)
