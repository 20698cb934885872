"""Fetches checkpoints from the Hugging Face hub; one that does not answer is given up within seconds."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import build_hf_headers

from glta_backbones.weight_files import shard_names
from glta_cli.plugin import GltaError

PROBE_SECONDS = 4.0
WEIGHTS = ["*.safetensors"]
DESCRIPTION = ["*.json", "*.jinja", "*.txt", "*.model"]
# Subfolders hold other formats of the same weights, `consolidated` the author's own one.
ELSEWHERE = ["*/*", "consolidated*"]


class HubError(GltaError):
    """The hub cannot be reached, or has not what is asked for."""


def fetch(model: str, revision: str | None, *, weights: bool) -> Path:
    """The local folder of a hub checkpoint: configuration and tokenizer and, where asked for, safetensors.

    A complete copy in the hub's cache is used without any request. The folder is named by the commit.

    Raises:
        HubError: neither in the cache nor to be had; raised within `PROBE_SECONDS` where nothing answers.
    """
    patterns = [*DESCRIPTION, *WEIGHTS] if weights else DESCRIPTION
    cached = _cached(model, revision, patterns)
    if cached is not None and is_complete(cached, weights=weights):
        return cached
    reason = unreachable(model, revision)
    if reason is None:
        try:
            return Path(
                huggingface_hub.snapshot_download(
                    model, revision=revision, allow_patterns=patterns, ignore_patterns=ELSEWHERE
                )
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise HubError(f"'{model}' cannot be fetched from the hub: {reason}", hint=_elsewhere(model))


def is_complete(folder: Path, *, weights: bool) -> bool:
    """Whether a folder holds a configuration, a tokenizer and, where asked for, every shard."""
    named = (folder / "config.json").is_file() and any(folder.glob("tokenizer*"))
    if not named or not weights:
        return named
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    return all((folder / shard).is_file() for shard in shard_names(index))


def unreachable(model: str, revision: str | None) -> str | None:
    """Why the hub cannot serve the model, or None when it can; asks once, for `PROBE_SECONDS` at most."""
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        address = huggingface_hub.hf_hub_url(model, "config.json", revision=revision)
    except HFValidationError as error:
        return str(error)
    answer: list[str | None] = []
    # A thread of its own, because a name server that does not answer blocks past every timeout of httpx.
    probe = threading.Thread(target=lambda: answer.append(_probe(address)), daemon=True)
    probe.start()
    probe.join(PROBE_SECONDS)
    return answer[0] if answer else f"no answer within {PROBE_SECONDS:.0f} seconds"


def _probe(address: str) -> str | None:
    try:
        response = httpx.head(address, headers=build_hf_headers(), timeout=PROBE_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if response.status_code in (401, 403):
        return f"status {response.status_code}: no such model, or one that asks you to log in (`hf auth login`)"
    return f"status {response.status_code}" if response.is_error else None


def _cached(model: str, revision: str | None, patterns: list[str]) -> Path | None:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                model,
                revision=revision,
                allow_patterns=patterns,
                ignore_patterns=ELSEWHERE,
                local_files_only=True,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _elsewhere(model: str) -> str:
    return (
        f"on a machine that reaches the hub run `hf download {model}`, copy the folder here"
        " (config.json, tokenizer files, *.safetensors) and set backbone.options.model to it"
    )
