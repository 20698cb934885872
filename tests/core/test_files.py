"""Sealed JSON, files written whole, and hashes that are remembered."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from glta_cli.core.errors import GltaError
from glta_cli.core.files import (
    digest_records,
    file_crc32,
    file_sha256,
    read_json,
    read_sealed_json,
    remembered_sha256,
    set_aside,
    write_bytes,
    write_sealed_json,
)

CONTENT = {"name": "toy", "stages": {"align": "abc", "index": "é"}, "seed": 3, "share": 0.1, "best": float("-inf")}


def flipped(content: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_sealed_json_is_read_as_it_was_written_whatever_its_keys_are_made_of(tmp_path: Path) -> None:
    write_sealed_json(tmp_path / "file", {**CONTENT, "sizes": {10: 1, 9: (2, 3)}})
    assert read_sealed_json(tmp_path / "file") == {**CONTENT, "sizes": {"10": 1, "9": [2, 3]}}


def test_no_flipped_bit_of_sealed_json_is_read(tmp_path: Path) -> None:
    """Not one that changes a key, the checksum's own, a blank, or what would be JSON again."""
    path = tmp_path / "file"
    write_sealed_json(path, CONTENT)
    written = path.read_bytes()
    unnoticed = []
    for bit in range(8 * len(written)):
        path.write_bytes(flipped(written, bit))
        with suppress(GltaError):
            read_sealed_json(path, CONTENT.keys())
            unnoticed.append(bit)
    assert unnoticed == []


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"3", b'"text"', b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_named_with_the_hint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(GltaError) as caught:
        read_sealed_json(tmp_path / "file", hint="make it again")
    assert (caught.value.location, caught.value.hint) == (str(tmp_path / "file"), "make it again")


def test_what_was_written_before_there_was_a_checksum_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps({"name": "toy"}))
    assert read_sealed_json(tmp_path / "file", ["name", "recipe"]) == {"name": "toy"}
    with pytest.raises(GltaError, match="changed after it was written"):
        read_sealed_json(tmp_path / "file", ["recipe"])


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_a_file_has_the_mode_the_user_asks_for(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "file", b"a", b"b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert (tmp_path / "file").read_bytes() == b"ab"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match=str(path)) as caught:
        write_bytes(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_file_set_aside_takes_the_place_of_one_set_aside_before(tmp_path: Path, capsys: Any) -> None:
    for content in ("first", "second"):
        (tmp_path / "file").write_text(content)
        set_aside(tmp_path / "file", "is damaged", "it is made again")
    assert [path.name for path in tmp_path.iterdir()] == ["file.damaged"]
    assert (tmp_path / "file.damaged").read_text() == "second"
    line = f"warning: {tmp_path / 'file'}: is damaged, set aside as file.damaged; it is made again\n"
    assert capsys.readouterr().err == 2 * line


def test_parts_of_a_file_have_checksums_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000 + b"123456789" + b"y" * 10)
    assert file_crc32(tmp_path / "file", 3_000_000, 3_000_009) == 0xCBF43926  # the check value of CRC-32
    (tmp_path / "empty").write_bytes(b"")
    assert file_crc32(tmp_path / "empty") == 0


# ---------------------------------------------------------------------------------------- remembered hashes


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose hash is remembered."""
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    remembered_sha256(path)
    return path


DAMAGES = [b"", b"[]", b"null", b"{}", b'{"path": "", "stamp": [], "sha256": ""}', b'{"stamp": 5}', b"\x00"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_of_a_hash_is_made_anew_with_a_word(weights: Path, damage: bytes, capsys: Any) -> None:
    (record,) = digest_records().iterdir()
    whole = record.read_bytes()
    record.write_bytes(damage)
    assert remembered_sha256(weights) == file_sha256(weights)
    assert str(record) in capsys.readouterr().err or damage == b'{"path": "", "stamp": [], "sha256": ""}'
    assert record.read_bytes() == whole


def test_no_flipped_bit_of_a_record_gives_another_hash(weights: Path) -> None:
    (record,) = digest_records().iterdir()
    whole = record.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        record.write_bytes(flipped(whole, bit))
        assert remembered_sha256(weights) == file_sha256(weights)
        assert record.read_bytes() == whole


def test_a_record_of_before_there_was_a_checksum_is_used(weights: Path) -> None:
    (record,) = digest_records().iterdir()
    known = read_json(record)
    del known["checksum"]
    record.write_text(json.dumps({**known, "sha256": "as remembered"}))
    assert remembered_sha256(weights) == "as remembered"


def test_a_cache_folder_that_cannot_be_written_to_costs_a_reading_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"weights")
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    assert remembered_sha256(tmp_path / "file") == file_sha256(tmp_path / "file")
