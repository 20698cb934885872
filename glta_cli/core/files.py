"""Files: the folders they live in by default, their hashes, and the one place that writes them whole or not at all."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Hashing and writing import what they need inside the functions: `glta recommend` only reads.
from glta_cli.core.errors import GltaError
from glta_cli.core.temporary import temporary_beside

SMALL = 1 << 20  # bytes

DIGEST_KEYS: Mapping[str, type] = {"path": str, "stamp": list, "sha256": str}


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


def file_sha256(path: Path, end: int | None = None) -> str:
    """SHA-256 of a file's bytes, or of those up to `end`, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        if end is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while piece := file.read(min(SMALL, end - file.tell())):
            digest.update(piece)
        return digest.hexdigest()


def file_crc32(path: Path, start: int = 0, end: int | None = None) -> int:
    """CRC-32 of a file's bytes, or of those from `start` up to `end`: some 10 GB a second, so it costs no reader."""
    left = path.stat().st_size - start if end is None else end - start
    if left <= SMALL:
        crc32 = zlib.crc32
    else:
        from isal import isal_zlib  # four times as fast, but slow to import for a short answer

        crc32 = isal_zlib.crc32
    value, buffer = 0, memoryview(bytearray(max(0, min(left, SMALL))))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left > 0 and (count := file.readinto(buffer[: min(left, len(buffer))])):
            value = crc32(buffer[:count], value)
            left -= count
    return value


def stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds: what every later write to the file changes."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; a file not written since is not read again: weights are gigabytes.

    What was read before is remembered in the cache folder, by size and time of writing. A record that is damaged, or a
    cache folder that cannot be written to, costs another reading and nothing else.

    Example:
        from pathlib import Path

        from glta_cli.plugin import remembered_sha256

        Path("weights").write_bytes(b"abc")
        assert remembered_sha256(Path("weights")).startswith("ba7816bf")
    """
    path = path.resolve()
    record, now = digest_records() / f"{fingerprint(str(path))}.json", stamp(path)
    known = digest_record(record)
    if known is not None and known["path"] == str(path) and known["stamp"] == now:
        return str(known["sha256"])
    digest = file_sha256(path)
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        write_sealed_json(record, {"path": str(path), "stamp": now, "sha256": digest})
    return digest


def digest_records() -> Path:
    """The folder of what `remembered_sha256` remembers, a file each."""
    return cache_root() / "digests"


def digest_record(record: Path) -> dict[str, Any] | None:
    """`path`, `stamp` and `sha256` of one file; None where there is no record, or one that is damaged."""
    if not record.is_file():
        return None
    try:
        known = read_sealed_json(record, DIGEST_KEYS)
        if not all(isinstance(known.get(key), kind) for key, kind in DIGEST_KEYS.items()):
            raise GltaError("it is no record of a file", location=str(record))
    except GltaError as error:
        from rich.markup import escape

        from glta_cli.core.terminal import say

        say(f"[yellow]warning[/]: {escape(str(error))}; the file it is about is read again")
        return None
    return known


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
        reason = error.strerror if isinstance(error, OSError) else error
        raise GltaError(f"cannot be read: {reason}", location=str(path)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part.

    Example:
        from pathlib import Path

        from glta_cli.plugin import read_json, write_json

        write_json(Path("conversion.json"), {"files": ["model.safetensors"]})
        assert read_json(Path("conversion.json")) == {"files": ["model.safetensors"]}
    """
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, *chunks: bytes | memoryview) -> None:
    """Write bytes, one chunk after the other, so that a reader sees the old file or the new one, never a part.

    Raises:
        OSError: with the file's name, whatever failed.
    """
    with whole_file(path) as temporary, temporary.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file to, which takes its place on the disk when the block ends, or is removed.

    A reader sees the old file or the new one, never a part.

    Raises:
        OSError: with the file's name, whatever failed.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # A write that fails names no file, and a failed renaming one that is gone by now.
            error.filename, error.filename2 = str(path), None
        raise


def set_aside(path: Path, why: str, then: str) -> None:
    """Rename a damaged file to `NAME.damaged`, in place of one set aside before, and say so in a line on stderr.

    Args:
        why: what is wrong with it.
        then: what is done without it.
    """
    from rich.markup import escape

    from glta_cli.core.terminal import say

    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        where = f", set aside as {aside.name}"
    except OSError:
        where = ""  # nothing can be renamed in a folder that cannot be written to; nothing is read from it either
    say(f"[yellow]warning[/]: {escape(f'{path}: {why}{where}; {then}')}")


def sync(path: Path) -> None:
    """Have the system write a file, or the entries of a folder, to the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------ sealed JSON

SEAL = "checksum"


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, as `write_json` does, with a checksum of what it says under the key `checksum`."""
    write_json(path, {**content, SEAL: _seal_of(json.loads(json.dumps(content)))})


def read_sealed_json(path: Path, unsealed: Iterable[str] = (), *, hint: str | None = None) -> dict[str, Any]:
    """The content of a file of `write_sealed_json`, or of one with the keys `unsealed` alone: 0.1 wrote no checksum.

    Raises:
        GltaError: it cannot be read, is no JSON object, or was changed after it was written.
    """
    try:
        content = read_json(path)
    except GltaError as error:
        error.hint = error.hint or hint
        raise
    if not isinstance(content, dict):
        raise GltaError("is damaged: no JSON object", location=str(path), hint=hint)
    seal = content.pop(SEAL, None)
    # Without a checksum, a key that 0.1 did not write may be the checksum's own, changed.
    if seal != _seal_of(content) if seal is not None else not content.keys() <= set(unsealed):
        raise GltaError("is damaged: it was changed after it was written", location=str(path), hint=hint)
    return content


def _seal_of(content: Any) -> str:
    """CRC-32 of JSON content, whatever its order and its blanks; `hashlib` is slow to import for a short answer."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"crc32:{zlib.crc32(text.encode()):08x}"
