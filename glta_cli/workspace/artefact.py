"""What a stage published: one folder with its manifest, and files whose bytes are those the manifest names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import file_sha256, read_json, stamp

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artefact:
    """One published folder."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(self.path / MANIFEST)
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise GltaError(
                f"written with layout {manifest['schema_version']}, this version reads {SCHEMA_VERSION}",
                location=str(self.path),
                hint="remove the folder; the stage is then run again",
            )
        return manifest

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def fingerprint(self) -> str:
        return self.path.name

    @property
    def details(self) -> dict[str, Any]:
        """What the stage reported: counts, metrics, times."""
        details: dict[str, Any] = self.manifest["details"]
        return details

    def parent(self, stage: str) -> Path:
        """The folder of an artefact this one was made from."""
        return self.path.parents[1] / stage / str(self.manifest["inputs"][stage])

    def file(self, name: str) -> Path:
        """A published file whose bytes are those the manifest names.

        A file with the size and the modification time it was published with was not written since, so its bytes
        are hashed only where those differ, as in a copied folder.

        Raises:
            GltaError: the file is missing or was changed after it was published.
        """
        path = self.path / name
        expected = self.manifest["outputs"].get(name)
        if expected is None or not path.is_file():
            raise GltaError("the file is missing", location=str(path), hint="remove the folder; the stage runs again")
        if stamp(path) != self.manifest.get("stamps", {}).get(name) and file_sha256(path) != expected:
            raise GltaError(
                "the file was changed after it was published",
                location=str(path),
                hint="remove the folder; the stage runs again",
            )
        return path

    def has(self, name: str) -> bool:
        return name in self.manifest["outputs"]
