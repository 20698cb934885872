"""Files: the folders they live in by default, their hashes, and the one place that writes them whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Hashing and writing import what they need inside the functions: `glta recommend` only reads.
from glta_cli.core.errors import GltaError


def default_root() -> Path:
    """`GLTA_DATA_DIR`, or the platform's folder for user data."""
    named = os.environ.get("GLTA_DATA_DIR")
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("glta")


def cache_root() -> Path:
    """`GLTA_CACHE_DIR`, or the platform's cache folder: converted weights, shared by all workspaces.

    Example:
        from glta_cli.plugin import cache_root

        folder = cache_root() / "models" / "small-qwen"
        folder.mkdir(parents=True, exist_ok=True)
    """
    named = os.environ.get("GLTA_CACHE_DIR")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("glta")


# ------------------------------------------------------------------------------------------------- hashes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds: what every later write to the file changes."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; a file not written since is not read again: weights are gigabytes.

    What was read before is remembered in the cache folder, by size and time of writing.

    Example:
        from pathlib import Path

        from glta_cli.plugin import remembered_sha256

        Path("weights").write_bytes(b"abc")
        assert remembered_sha256(Path("weights")).startswith("ba7816bf")
    """
    path = path.resolve()
    record, now = cache_root() / "digests" / f"{fingerprint(str(path))}.json", stamp(path)
    known = read_json(record) if record.is_file() else {}
    if known.get("stamp") == now:
        return str(known["sha256"])
    digest = file_sha256(path)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"path": str(path), "stamp": now, "sha256": digest})
    return digest


def fingerprint(content: Any) -> str:
    """20 hexadecimal digits that name JSON-like content; equal content, equal digits.

    Example:
        from glta_cli.plugin import fingerprint

        assert fingerprint({"layers": 2, "heads": 4}) == fingerprint({"heads": 4, "layers": 2})
    """
    import hashlib

    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# -------------------------------------------------------------------------------------------------- files


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises `GltaError` naming a file that is damaged.

    Example:
        from pathlib import Path

        from glta_cli.plugin import GltaError, read_json

        Path("half.json").write_text('{"files": [')
        try:
            read_json(Path("half.json"))
        except GltaError as error:
            assert error.location == "half.json"
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise GltaError(f"cannot be read: {error}", location=str(path)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part.

    Example:
        from pathlib import Path

        from glta_cli.plugin import read_json, write_json

        write_json(Path("conversion.json"), {"files": ["model.safetensors"]})
        assert read_json(Path("conversion.json")) == {"files": ["model.safetensors"]}
    """
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """A name beside `path` that nothing has; what is made under it gets the user's own permissions."""
    import secrets

    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def sync(path: Path) -> None:
    """Have the system write a file, or the entries of a folder, to the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
