"""Loads a model of `transformers`, or draws one, at the depth and in the dtype a recipe asks for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.markup import escape
from transformers import AutoModelForCausalLM

from glta_backbones.generation import GENERATION, require_stops
from glta_backbones.packed_weights import require_known_packing, require_packed_weights, without_packing
from glta_backbones.quantization import keep_gradients, packing
from glta_backbones.refusals import errors_told, foreign_code, reason, say_once
from glta_backbones.tensor_names import (
    Difference,
    difference,
    head_names,
    listed,
    named_tensors,
    removed_prefix,
    require_real_numbers,
    require_weights,
    without_wrappers,
)
from glta_backbones.weight_files import tensor_dtypes, tensor_shapes, weight_files
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
    full = _without_dropout(copy.deepcopy(config))
    config = copy.deepcopy(full)
    if settings.layers is not None and not full_depth:
        exit_after(config, settings.layers)
    dtype = choose_dtype(settings.dtype, device)
    quantization = packing(settings, device, dtype)
    with quiet_transformers():
        if folder is None:
            with drawable(config):
                return random_model(config, dtype, family).to(device)
        return _pretrained(folder, config, full, dtype, settings.device_map, quantization, device, family)


def random_model(config: Any, dtype: torch.dtype, family: Any = AutoModelForCausalLM) -> Any:
    """A model of that configuration with freshly drawn weights, on the CPU, the same ones at every call.

    It is built from the configuration alone: transformers 5 skips the initialisation of any parameter that
    was loaded from a file, so that re-initialising a pretrained model would leave it pretrained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return family.from_config(config, dtype=dtype)


def drawable(config: Any) -> AbstractContextManager[None]:
    """What keeps a model from being made of its configuration becomes an error about that configuration.

    Raises:
        InputError: with the original cause.
        GltaError: memory ran out.
    """

    def told(error: Exception) -> GltaError:
        return InputError(
            f"no model can be made of this architecture: {reason(error)}",
            location=config.model_type,
            hint="its settings must fit together; it has to be a causal language model that transformers knows",
        )

    return errors_told(config.model_type, told)


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
    full: Any,
    dtype: torch.dtype,
    device_map: str | None,
    quantization: Any,
    device: torch.device,
    family: Any,
) -> Any:
    # Quantised weights are packed while they are loaded, which has to happen where they stay.
    placement = device_map if device_map or quantization is None else {"": device}
    arguments: dict[str, Any] = {
        "config": config,
        "dtype": dtype,
        "device_map": placement,
        "quantization_config": quantization,
        "output_loading_info": True,
    }
    fit = checkpoint_fit(folder, config, full, dtype, family)
    # transformers draws what a file lacks, such as a head that is tied or not needed: what is drawn after a load does
    # not depend on it.
    devices = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with readable(folder), torch.random.fork_rng(devices=devices):
        if fit.plain:
            model, info = _unwrapped(folder, fit, family, arguments)
        else:
            model, info = family.from_pretrained(folder, use_safetensors=True, local_files_only=True, **arguments)
    # What only a load shows: adapters beside the weights, and packed weights.
    left = [name for name in Difference.reported(info).missing if name not in fit.head]
    if left:
        raise GltaError(
            f"no usable checkpoint: {len(left)} tensors are missing: {listed(left)}",
            location=str(folder),
            hint="fetch it again; weights: random runs without a checkpoint",
        )
    model.without_head = fit.without_head
    keep_gradients(model)
    return model.to(device) if placement is None else model


@dataclass(frozen=True)
class Fit:
    """What the headers of a checkpoint say about the model it is loaded into.

    Attributes:
        files: that hold it.
        plain: names in the files -> names in the model, where a wrapper left its prefix; else empty.
        head: parameters of the output head, which states do without.
        without_head: the checkpoint has none of its own, and none that is tied.
    """

    files: list[Path]
    plain: dict[str, str]
    head: frozenset[str] = frozenset()
    without_head: bool = False


def checkpoint_fit(folder: Path, config: Any, full: Any, dtype: torch.dtype, family: Any) -> Fit:
    """Compare a checkpoint with its model, name by name and shape by shape, without reading a weight.

    Args:
        config: at the depth that is loaded.
        full: at full depth: layers an early exit drops are no surplus.

    Raises:
        GltaError: a file is missing, damaged or a pointer; the model would run on random numbers, or not as trained.
    """
    require_stops(folder)
    files = weight_files(folder, getattr(config, "transformers_weights", None))
    shapes = tensor_shapes(files)
    plain = without_wrappers(shapes, folder)
    shapes = {plain.get(name, name): shape for name, shape in shapes.items()}
    if getattr(config, "quantization_config", None) is not None:
        require_known_packing(config, folder)
        with readable(folder), quiet_transformers():
            require_packed_weights(shapes, meta_twin(without_packing(config), dtype, family), folder)
        return Fit(files, plain)  # packed under names of their own, of which only the load itself knows the shapes
    with readable(folder), quiet_transformers():
        model = meta_twin(config, dtype, family)
        found = difference(shapes, model)
        if found.surplus and full.get_text_config().num_hidden_layers != config.get_text_config().num_hidden_layers:
            found = replace(found, surplus=difference(shapes, meta_twin(full, dtype, family)).surplus)
    unused = require_weights(found, shapes, model, folder)
    dtypes = {plain.get(name, name): dtype for name, dtype in tensor_dtypes(files).items()}
    require_real_numbers(dtypes, found, shapes, model, folder)
    if plain:
        say_once(
            f"[yellow]warning[/]: {escape(str(folder))}: the names of its tensors carry a wrapper's prefix, "
            f"{escape(removed_prefix(plain))}, which is missing from the model's own names: it is taken off"
        )
    if unused:
        say_once(
            f"[yellow]warning[/]: {escape(str(folder))}: not used, since no state depends on them: "
            f"{escape(listed(unused))}"
        )
    head = head_names(model)
    return Fit(files, plain, head, without_head=any(name in head for name in found.missing))


def meta_twin(config: Any, dtype: torch.dtype, family: Any) -> Any:
    """The model without memory for its weights, on torch's meta device."""
    with torch.device("meta"):
        return family.from_config(copy.deepcopy(config), dtype=dtype)


def readable(folder: Path) -> AbstractContextManager[None]:
    """Whatever transformers raises over a checkpoint becomes an error that names its folder.

    Raises:
        GltaError: with the original cause.
    """

    def told(error: Exception) -> GltaError:
        return foreign_code(error, folder) or GltaError(
            f"no usable checkpoint: {reason(error)}",
            location=str(folder),
            hint="the folder needs config.json and the weights as safetensors, of one model",
        )

    return errors_told(str(folder), told)


def _unwrapped(folder: Path, fit: Fit, family: Any, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Load under names without a wrapper's prefix; the settings of generation lie in the folder beside them."""
    model_class = type(meta_twin(arguments["config"], arguments["dtype"], family))
    model, info = model_class.from_pretrained(None, state_dict=named_tensors(fit.files, fit.plain), **arguments)
    if (folder / GENERATION).is_file():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model, info


def _without_dropout(config: Any) -> Any:
    """Zero the dropout the model was pretrained with: a frozen model is a fixed function, in training too."""
    text = config.get_text_config()
    for name, value in vars(text).items():
        if isinstance(value, float) and name.endswith(("dropout", "pdrop", "dropout_prob")):
            setattr(text, name, 0.0)
    return config
