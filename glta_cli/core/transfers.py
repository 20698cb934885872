"""One file over HTTP, as it is or not at all: what cannot be the file is refused, and nothing of it stays."""

from __future__ import annotations

import json
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from rich.markup import escape

from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.core.terminal import say

# An unreachable host must not keep anyone waiting; a slow one may.
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
ATTEMPTS: Final = 3
# A server that sends a byte now and then would never time out.
PATIENCE: Final = 60.0  # seconds
FEWEST_BYTES: Final = 6000  # within the patience
DECOMPRESSED_AT_ONCE: Final = 1 << 20  # bytes
# Of an endless body the disk keeps a tenth of what was free.
SHARE_OF_FREE: Final = 0.9

STRONG_VALIDATOR = re.compile(r'"[\x21\x23-\x7e]*"|[A-Z][a-z]{2}, [\x20-\x7e]{20,30}')
HTML_TYPES = {"text/html", "application/xhtml+xml"}
HTML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE)
HTML_NAMES = (".html", ".htm", ".xhtml")


class NotTheFileError(GltaError):
    """What the server sends can never be the file: nothing of it is kept."""


class _StartOverError(Exception):
    """The server does not go on where the part ends: what is there is of no use."""


def fetch(url: str, part: Path, *, size: int | None, limit: int) -> None:
    """Fetch `url` into `part`, going on where an earlier attempt stopped.

    Args:
        size: of the file in bytes, where it is known.
        limit: bytes it may have at most.

    Raises:
        NotTheFileError: what arrives is not the file; the part is removed.
        httpx.HTTPError, httpx.InvalidURL, OSError: it does not arrive; what is there is kept for the next attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = length(part)
        try:
            _stream(url, part, size=size, limit=limit)
            return
        except NotTheFileError:
            discard(part)
            raise
        except _StartOverError as error:
            discard(part)
            say(f"{error}: starting over")
            if attempt == ATTEMPTS:
                raise NotTheFileError(f"{error}, {ATTEMPTS} times") from error
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
            # Only a transfer that moves is worth another request.
            if attempt == ATTEMPTS or length(part) <= before:
                raise
            say(f"interrupted ({escape(str(error) or type(error).__name__)}), resuming")


def discard(part: Path) -> None:
    """Remove a part and what is known of it."""
    part.unlink(missing_ok=True)
    edition_file(part).unlink(missing_ok=True)


def length(part: Path) -> int:
    """Bytes of a part; none where there is none."""
    return part.stat().st_size if part.is_file() else 0


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is HTML."""
    return HTML_START.match(start) is not None


def may_be_web_page(url: str) -> bool:
    """Whether an address names a web page, so that HTML is what is asked for."""
    return urlsplit(url).path.lower().endswith(HTML_NAMES)


def _stream(url: str, part: Path, *, size: int | None, limit: int) -> None:
    have = length(part)
    validator, known = read_edition(part) if have else (None, None)
    headers = {"Accept-Encoding": "identity"}
    if validator:
        # The server then sends the rest only if the file is still the one the first part is of.
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and validator:
            # The part is as long as the file or longer: start over, or there would be no end to it.
            raise _StartOverError("the server has nothing beyond the part that is here")
        response.raise_for_status()
        start = _first_byte(response, have if validator else None, known)
        decode = _is_compressed(response, url)
        total = None if decode else _total(response, start)
        if start and None not in (total, known) and total != known:
            raise _StartOverError(f"the file had {known:,} bytes and now has {total:,}")
        _require_fitting(response, url, start=start, total=total, size=size, limit=limit)
        if total is not None:
            _require_room(part.parent, total - start)
        # The tag of what was compressed does not promise the bytes of the file.
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        _write_edition(part, None if decode else tag, total)
        most = size if size is not None else limit
        if total is None:
            most = min(most, start + int(shutil.disk_usage(part.parent).free * SHARE_OF_FREE))
        raw = _steady(response.iter_raw())
        _write(_decompressed(raw) if decode else raw, part, url, start=start, total=total, most=most, size=size)


def _write(
    chunks: Iterator[bytes], part: Path, url: str, *, start: int, total: int | None, most: int, size: int | None
) -> None:
    """Append chunks to a part of `start` bytes, or write a new one; stops at the first byte too many."""
    written = start
    with (
        part.open("ab" if start else "wb") as file,
        progress_bar(
            total or 0,
            part.name.removesuffix(".part"),
            "B",
            step="this piece",
            kept="what has arrived is kept, and the download goes on from there where the server allows it",
        ) as bar,
    ):
        bar.unit_scale = True
        bar.update(start)
        opening = b""
        for chunk in chunks:
            if not start and len(opening) < 512:
                opening += chunk[:512]
                if is_web_page(opening) and not may_be_web_page(url):
                    raise NotTheFileError(WEB_PAGE)
            written += len(chunk)
            if written > most:
                wanted = f"instead of {size:,}" if size is not None else f"and {most:,} is the most that is taken"
                raise NotTheFileError(f"the server sends {written:,} bytes or more {wanted}")
            file.write(chunk)
            bar.update(len(chunk))
    if not written and size != 0:
        raise NotTheFileError("the server sends an empty file")
    if total is not None and written < total:
        raise httpx.ReadError(f"{written:,} of {total:,} bytes arrived")


WEB_PAGE = "the server sends a web page (HTML) and not the file: a login, perhaps, or a page that leads to it"


def _first_byte(response: httpx.Response, asked: int | None, total: int | None) -> int:
    """Where in the file the body starts.

    Args:
        asked: where it was to start; None where the whole file was asked for.
        total: bytes of the file as an earlier answer had them; None where it did not say.
    """
    if response.status_code == httpx.codes.OK:
        return 0
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        raise NotTheFileError(f"the server answered {response.status_code} {response.reason_phrase}, without a file")
    if asked is None:
        raise NotTheFileError("the server sends a part of the file where all of it was asked for")
    said = response.headers.get("Content-Range", "")
    if not said and total is not None and response.headers.get("Content-Length") == str(total - asked):
        return asked  # it says nothing, and sends as much as is left
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", said.strip())
    if found is None or int(found[1]) != asked:
        raise _StartOverError(f"the server sends another part of the file than from byte {asked:,} on")
    return asked


def _total(response: httpx.Response, start: int) -> int | None:
    """Bytes of the whole file, where the server says."""
    said = response.headers.get("Content-Length", "")
    by_length = start + int(said) if re.fullmatch(r"\d{1,18}", said) else None
    if not start:
        return by_length
    named = response.headers.get("Content-Range", "").rpartition("/")[2]
    by_range = int(named) if named.isdigit() else None
    if by_length is not None and by_range is not None and by_length > by_range:
        raise _StartOverError("the server contradicts itself on how long the file is")
    return by_range or by_length


def _require_fitting(
    response: httpx.Response, url: str, *, start: int, total: int | None, size: int | None, limit: int
) -> None:
    """Raise where the headers tell that what comes is not the file."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in HTML_TYPES and not may_be_web_page(url):
        raise NotTheFileError(WEB_PAGE)
    if total is None:
        return
    if size is not None and total != size:
        if start:
            raise _StartOverError(f"the server says the file has {total:,} bytes and not {size:,}")
        raise NotTheFileError(f"not the expected file: {total:,} bytes instead of {size:,}")
    if total > limit:
        raise NotTheFileError(f"has {total:,} bytes, and {limit:,} is the most that is taken")


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        problem = f"no room for the download: {needed:,} bytes are needed and {free:,} are free"
        hint = "free some, or choose another folder with --data-dir, and run the same command again"
        raise GltaError(problem, location=str(folder), hint=hint)


# ------------------------------------------------------------------------------------------- bodies


def _steady(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Chunks as they come; raises `httpx.ReadTimeout` where they all but stop."""
    since, arrived = time.monotonic(), 0
    for chunk in chunks:
        arrived += len(chunk)
        waited = time.monotonic() - since
        if waited > PATIENCE:
            if arrived < FEWEST_BYTES:
                raise httpx.ReadTimeout(f"{arrived:,} bytes in {waited:.0f} seconds")
            since, arrived = time.monotonic(), 0
        yield chunk


def _is_compressed(response: httpx.Response, url: str) -> bool:
    """Whether the body is the file compressed for the way, which nobody asked for."""
    codings = [each.strip().lower() for each in response.headers.get("Content-Encoding", "").split(",")]
    codings = [each for each in codings if each not in {"", "identity"}]
    if not codings:
        return False
    if codings in (["gzip"], ["x-gzip"]):
        # Servers say so of files that are gzip by themselves.
        return not urlsplit(url).path.lower().endswith((".gz", ".tgz"))
    raise NotTheFileError(f"the server sends it compressed as {', '.join(codings)[:60]}, which was not asked for")


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a gzip stream, in pieces of limited size: a few bytes may stand for gigabytes."""
    stream = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                yield stream.decompress(left, DECOMPRESSED_AT_ONCE)
                left = stream.unconsumed_tail
                if stream.eof and stream.unused_data:
                    # Several gzip members make one file.
                    left, stream = stream.unused_data, zlib.decompressobj(wbits=31)
    except zlib.error as error:
        raise NotTheFileError(f"what the server calls gzip cannot be decompressed: {error}") from error
    if not stream.eof:
        raise NotTheFileError("the compressed body ends early")


# ----------------------------------------------------------------------------------------- editions


def edition_file(part: Path) -> Path:
    """Where it is kept which edition of the file a part is of."""
    return part.with_name(f"{part.name}.json")


def read_edition(part: Path) -> tuple[str | None, int | None]:
    """Tag or date of the edition, and its bytes; None where that is not known, or what is there is damaged."""
    try:
        stored = json.loads(edition_file(part).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None, None
    validator = stored.get("validator") if isinstance(stored, dict) else None
    if not isinstance(validator, str) or not STRONG_VALIDATOR.fullmatch(validator):
        return None, None
    total = stored.get("total")
    return validator, total if type(total) is int else None


def _write_edition(part: Path, validator: str | None, total: int | None) -> None:
    if validator is None or not STRONG_VALIDATOR.fullmatch(validator):
        # A weak tag does not promise equal bytes; without a promise the next attempt starts over.
        edition_file(part).unlink(missing_ok=True)
    else:
        edition_file(part).write_text(json.dumps({"validator": validator, "total": total}), encoding="utf-8")
