"""Loads a model of `transformers`, or draws one, at the depth and in the dtype a recipe asks for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from glta_cli.plugin import BackboneSettings, GltaError, InputError, choose_dtype, exit_after

RANDOM_SEED = 0


def load_transformer(
    family: Any,
    config: Any,
    folder: Path | None,
    settings: BackboneSettings,
    device: torch.device,
    *,
    full_depth: bool,
) -> Any:
    """A `transformers` model without dropout; of `load_causal_lm`, which says what is raised, all but the wrapping.

    Args:
        family: the auto class that picks the model's class, such as `AutoModel`.
    """
    config = _without_dropout(copy.deepcopy(config))
    if settings.layers is not None and not full_depth:
        exit_after(config, settings.layers)
    dtype = choose_dtype(settings.dtype, device)
    quantization = _quantization(settings, device, dtype)
    with quiet_transformers():
        if folder is None:
            return random_model(config, dtype, family).to(device)
        return _pretrained(folder, config, dtype, settings.device_map, quantization, device, family)


def random_model(config: Any, dtype: torch.dtype, family: Any = AutoModelForCausalLM) -> Any:
    """A model of that configuration with freshly drawn weights, on the CPU, the same ones at every call.

    It is built from the configuration alone: transformers 5 skips the initialisation of any parameter that
    was loaded from a file, so that re-initialising a pretrained model would leave it pretrained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return family.from_config(config, dtype=dtype)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' loading bars and remarks, such as that an early exit left weights unused."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _pretrained(
    folder: Path,
    config: Any,
    dtype: torch.dtype,
    device_map: str | None,
    quantization: Any,
    device: torch.device,
    family: Any,
) -> Any:
    # Quantised weights are packed while they are loaded, which has to happen on the GPU itself.
    placement = device_map if device_map or quantization is None else {"": device}
    try:
        model = family.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            device_map=placement,
            quantization_config=quantization,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise GltaError(
            f"no usable checkpoint: {error}",
            location=str(folder),
            hint="the folder needs config.json and the weights as safetensors",
        ) from error
    return model.to(device) if placement is None else model


def _quantization(settings: BackboneSettings, device: torch.device, dtype: torch.dtype) -> Any:
    if settings.quantization == "none":
        return None
    problem, hint = None, None
    if settings.weights == "random":
        problem, hint = "random weights cannot be quantised", "leave out backbone.quantization"
    elif device.type != "cuda":
        problem, hint = f"needs a GPU, not {device.type}", "leave out backbone.quantization, or run on a GPU"
    elif find_spec("bitsandbytes") is None:
        problem, hint = "needs bitsandbytes, which is not installed", "pip install 'glta[quantization]'"
    if problem:
        raise InputError(problem, location="backbone.quantization", hint=hint)
    if settings.quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _without_dropout(config: Any) -> Any:
    """Zero the dropout the model was pretrained with: a frozen model is a fixed function, in training too."""
    text = config.get_text_config()
    for name, value in vars(text).items():
        if isinstance(value, float) and name.endswith(("dropout", "pdrop", "dropout_prob")):
            setattr(text, name, 0.0)
    return config
