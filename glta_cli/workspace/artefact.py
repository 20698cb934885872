"""What a stage published: one folder with its manifest, and files whose bytes are those the manifest names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import file_crc32, file_sha256, read_sealed_json, stamp

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
AGAIN = "remove the folder; the stage runs again"
# A file that is read in parts is checked as a whole up to this size: two milliseconds.
LARGEST_CHECKED = 16 << 20
CHANGED = "the file was changed after it was published"

# What every manifest says, and what 0.1 wrote without a checksum.
REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "schema_version": int,
    "stage": str,
    "settings": dict,
    "inputs": dict,
    "outputs": dict,
    "details": dict,
    "seconds": (int, float),
    "environment": dict,
}
UNSEALED = (*REQUIRED, "stamps", "seed", "started", "peak_memory")


class _Details(dict[str, Any]):
    """Details of a manifest; what they lack is a damage of the file, and named so."""

    def __init__(self, details: Mapping[str, Any], manifest: Path) -> None:
        super().__init__(details)
        self._manifest = manifest

    def __missing__(self, name: str) -> Any:
        raise GltaError(f"is damaged: its details lack {name}", location=str(self._manifest), hint=AGAIN)


@dataclass(frozen=True)
class Artefact:
    """One published folder."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the stage said of itself.

        Raises:
            GltaError: it is damaged, or was written by a version that this one does not read.
        """
        path, hint = self.path / MANIFEST, f"remove the folder {self.path}; the stage runs again"
        manifest = read_sealed_json(path, UNSEALED, hint=hint)
        version = manifest.get("schema_version")
        if isinstance(version, int) and version != SCHEMA_VERSION:
            raise GltaError(
                f"written with layout {version}, this version reads {SCHEMA_VERSION}",
                location=str(self.path),
                hint="remove the folder; the stage is then run again",
            )
        for key, kind in REQUIRED.items():
            if not isinstance(manifest.get(key), kind):
                raise GltaError(f"is damaged: it does not say its {key}", location=str(path), hint=hint)
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
        return _Details(self.manifest["details"], self.path / MANIFEST)

    def parent(self, stage: str) -> Path:
        """The folder of an artefact this one was made from."""
        return self.path.parents[1] / stage / str(self.manifest["inputs"][stage])

    def file(self, name: str) -> Path:
        """A published file whose bytes are those the manifest names.

        A file with the size and the modification time it was published with is taken for the one that was hashed once
        its CRC-32 is the same, which takes no time beside reading it; only where those differ, as in a copied folder,
        are its bytes hashed.

        Raises:
            GltaError: the file is missing or was changed after it was published.
        """
        return self._file(name, lambda path: self._says("crc32", name, file_crc32, path))

    def mapped_file(self, name: str) -> Path:
        """As `file`, for a safetensors file of which little is read: of a large one, the header alone is checked.

        `glta runs verify` looks at the rest.
        """
        from glta_cli.core.tensors import header_crc32

        if (self.path / name).is_file() and (self.path / name).stat().st_size <= LARGEST_CHECKED:
            return self.file(name)
        return self._file(name, lambda path: self._says("headers", name, header_crc32, path))

    def _file(self, name: str, unchanged: Callable[[Path], bool]) -> Path:
        path = self.path / name
        expected = self.manifest["outputs"].get(name)
        if expected is None or not path.is_file():
            raise GltaError("the file is missing", location=str(path), hint=AGAIN)
        stamped = stamp(path) == self.manifest.get("stamps", {}).get(name)
        if not (unchanged(path) if stamped else file_sha256(path) == expected):
            raise GltaError(CHANGED, location=str(path), hint=AGAIN)
        return path

    def _says(self, key: str, name: str, check: Callable[[Path], int], path: Path) -> bool:
        """Whether a check gives what the manifest has for it; what 0.1 published has none."""
        known = self.manifest.get(key, {}).get(name)
        return known is None or check(path) == known

    def has(self, name: str) -> bool:
        return name in self.manifest["outputs"]
