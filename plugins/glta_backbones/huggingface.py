"""Any causal language model of the Hugging Face hub or of a local folder."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from glta_backbones.byte_tokenizer import byte_tokenizer
from glta_backbones.causal_lm import CausalLanguageModel, load_causal_lm
from glta_backbones.hub import fetch
from glta_backbones.model_limits import headless, require_causal, require_positions, require_vocabulary
from glta_backbones.quantization import require_packer
from glta_backbones.refusals import foreign_code, reason
from glta_backbones.settings import HuggingFaceOptions
from glta_backbones.sharding import require_sharing
from glta_backbones.transformer import Fit, checkpoint_fit, meta_twin, quiet_transformers
from glta_backbones.weight_files import require_no_pointer
from glta_cli.plugin import (
    BackboneSettings,
    Demand,
    GltaError,
    InputError,
    exit_after,
    fingerprint,
    remembered_sha256,
)

BYTES = "bytes"
# Of these families 0.1 read other states where prompts of several lengths shared a batch: what it published from them
# is not found again.
PADDED_OTHERWISE = {"mpt", "gpt_neo"}


class HuggingFace:
    """The `huggingface` backbone: safetensors only, and never code that comes with a checkpoint.

    Args:
        name: what the recipe calls it.
        settings: depth, dtype, placement, adapters; pretrained or random weights.
        options: which model, architecture and tokenizer.
    """

    def __init__(self, name: str, settings: BackboneSettings, options: HuggingFaceOptions) -> None:
        self.name = name
        self.settings = settings
        self.options = options

    def identity(self) -> str:
        """`hub:<id>@<commit>`, `folder:<hash of its files>` or `random:<hash of the architecture>`.

        Fetches the weights of a hub id that are not in the cache yet, since only then is the commit certain.
        """
        if self.settings.weights == "random":
            source = f"random:{fingerprint(_plain(self.architecture()))}"
        elif local_folder(self._model()) is not None:
            source = f"folder:{fingerprint(file_hashes(self.weights_folder()))}"
        else:
            source = f"hub:{self._model()}@{self.weights_folder().name}"
        if self.options.tokenizer:
            source = f"{source}+{self.options.tokenizer}"
        return f"{source}+0.2" if self.architecture().model_type in PADDED_OTHERWISE else source

    def architecture(self) -> Any:
        """The `transformers` configuration at full depth; from the recipe, else from config.json alone."""
        if self.options.architecture is not None:
            values = dict(self.options.architecture)
            try:
                return AutoConfig.for_model(values.pop("model_type"), **values)
            except Exception as error:
                raise InputError(
                    reason(error),
                    location="backbone.options.architecture",
                    hint="write the settings of a configuration of transformers, with its model_type",
                ) from error
        folder = local_folder(self._model()) or fetch(self._model(), self.options.revision, weights=False)
        with _usable("config.json", folder):
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)

    def check_demand(self, demand: Demand) -> None:
        """As far as configuration, tokenizer and the headers of the weights tell.

        Raises:
            GltaError: no causal model, weights of another model or that can be neither packed nor shared as asked,
                or prompts longer than its positions.
        """
        require_packer(self.settings)
        require_sharing(self.settings)
        config = self.architecture()
        require_causal(config)
        if self.settings.weights != "random":
            fit = self.fit(AutoModelForCausalLM, full_depth=demand.writes)
            if demand.writes and fit.without_head:
                raise headless(str(self.weights_folder()))
        tokenizer = self.tokenizer()
        require_vocabulary(tokenizer, config.get_text_config().vocab_size)
        require_positions(config, meta_twin(config, torch.float32, AutoModelForCausalLM), tokenizer, demand)

    def fit(self, family: Any, *, full_depth: bool = False) -> Fit:
        """What the headers of the weights say, at the depth they are to be loaded."""
        return checkpoint_fit(self.weights_folder(), *self._depths(full_depth=full_depth), torch.float32, family)

    def _depths(self, *, full_depth: bool) -> tuple[Any, Any]:
        """The configuration as it is loaded, and at full depth."""
        full = self.architecture()
        config = copy.deepcopy(full)
        if self.settings.layers is not None:
            # An exit deeper than the model is told even where it is not taken.
            exit_after(config, self.settings.layers)
        return (full if full_depth else config), full

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        """The model on `device`, frozen except for adapters; `full_depth` ignores the early exit."""
        folder = None if self.settings.weights == "random" else self.weights_folder()
        return load_causal_lm(
            self.architecture(), folder, self.tokenizer(), self.settings, device, full_depth=full_depth
        )

    def tokenizer(self) -> Any:
        """That of the model, or the one the recipe puts in its place."""
        source = self.options.tokenizer or self._model()
        if source == BYTES:
            return byte_tokenizer()
        revision = self.options.revision if source == self.options.model else None
        folder = local_folder(source) or fetch(source, revision, weights=False)
        with _usable("tokenizer", folder), quiet_transformers():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def weights_folder(self) -> Path:
        """Where the safetensors lie; fetched now where they are not here."""
        return local_folder(self._model()) or fetch(self._model(), self.options.revision, weights=True)

    def _model(self) -> str:
        if self.options.model is None:
            raise InputError(
                "pretrained weights need a model",
                location="backbone.options.model",
                hint="a hub id or a local folder; or set backbone.weights to random",
            )
        return self.options.model


@contextmanager
def _usable(part: str, folder: Path) -> Iterator[None]:
    """Whatever transformers raises over a part of a checkpoint becomes an error that names its folder.

    Raises:
        GltaError: with the original cause, and no advice to run a checkpoint's own code.
    """
    for path in folder.glob("*.json"):
        require_no_pointer(path)
    try:
        yield
    except Exception as error:
        raise foreign_code(error, folder) or GltaError(
            f"no usable {part}: {reason(error)}",
            location=str(folder),
            hint="fetch the checkpoint again: config.json, the tokenizer's files and the weights belong together",
        ) from error


def local_folder(model: str) -> Path | None:
    """The folder `model` names, or None for a hub id; raises `InputError` for a path that is absent."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if model.startswith((".", "/", "~")) or path.is_absolute() or model.count("/") > 1:
        raise InputError("there is no such folder", location=model)
    return None


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint folder that decides what the model computes."""
    suffixes = {".safetensors", ".json", ".jinja", ".model", ".txt"}
    return {path.name: remembered_sha256(path) for path in sorted(folder.iterdir()) if path.suffix in suffixes}


def _plain(config: Any) -> dict[str, Any]:
    values: dict[str, Any] = config.to_dict()
    # Which release read a configuration says nothing about the weights drawn from it.
    values.pop("transformers_version", None)
    return values
