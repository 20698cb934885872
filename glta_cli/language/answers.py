"""The file of generated answers: a line of JSON each, with a checksum, added to as they come."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from glta_cli.core.errors import BusyError
from glta_cli.core.files import set_aside, write_bytes
from glta_cli.core.storage import storage_errors


@dataclass(frozen=True)
class StoredAnswers:
    """What a file of answers holds.

    Attributes:
        answers: by key.
        damaged: the numbers of the lines that are no answer, or another than was written; from 1.
        torn: whether the last line is cut, as a killed process leaves it.
    """

    answers: dict[str, str]
    damaged: list[int]
    torn: bool


def read_answers(path: Path) -> StoredAnswers:
    """Every answer of a file; none where there is no file."""
    if not path.is_file():
        return StoredAnswers({}, [], torn=False)
    *lines, rest = path.read_bytes().split(b"\n")
    answers: dict[str, str] = {}
    damaged = []
    for number, line in enumerate(lines, start=1):
        row = _answer(line)
        if row is None:
            damaged.append(number)
        else:
            answers[row[0]] = row[1]
    return StoredAnswers(answers, damaged, torn=bool(rest))


def _answer(line: bytes) -> tuple[str, str] | None:
    try:
        row = json.loads(line)
        key, text = row["key"], row["text"]
        # 0.1 wrote no checksum; any other key may be the checksum's, changed.
        whole = row.keys() == {"key", "text"} or (len(row) == 3 and row["sha256"] == _checksum(key, text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (key, text) if whole and isinstance(text, str) else None


def repaired_answers(path: Path) -> dict[str, str]:
    """The answers of a file that is about to be added to, which is left with nothing else in it.

    A torn last line is cut off. Where other lines are damaged, the file is set aside and what is whole written anew;
    a line on stderr says so. To be called under `alone`.
    """
    stored = read_answers(path)
    if stored.damaged:
        lines = ", ".join(map(str, stored.damaged[:10])) + (", ..." if len(stored.damaged) > 10 else "")
        set_aside(path, f"damaged in line {lines}", "what is missing is generated again")
    if stored.damaged or stored.torn:
        with storage_errors(path.parent):
            write_bytes(path, b"".join(_line(key, text) for key, text in stored.answers.items()))
    return stored.answers


def append_answers(path: Path, answers: Mapping[str, str]) -> None:
    """Add answers to the file and wait until they are on the disk.

    Raises:
        GltaError: the disk is full or broken.
    """
    with storage_errors(path.parent), path.open("ab") as file:
        file.write(b"".join(_line(key, text) for key, text in answers.items()))
        file.flush()
        os.fsync(file.fileno())


def _line(key: str, text: str) -> bytes:
    return (json.dumps({"key": key, "text": text, "sha256": _checksum(key, text)}) + "\n").encode()


def _checksum(key: str, text: str) -> str:
    """The first 16 digits of the SHA-256 of a key and its answer, in hexadecimal."""
    return hashlib.sha256(json.dumps([key, text]).encode()).hexdigest()[:16]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one that adds to a file of answers.

    Raises:
        BusyError: another process does.
        GltaError: the folder is read-only, or its disk is full.
    """
    lock = FileLock(path.with_suffix(".lock"), timeout=0)
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                "another process is generating with this model", location=str(path), hint="wait for it to end"
            ) from error
    try:
        yield
    finally:
        lock.release()
