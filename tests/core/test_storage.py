"""Disks that are full, broken or read-only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.storage import ReadOnlyError, free_bytes, require_room, shown_bytes, storage_errors

FULL = os.strerror(errno.ENOSPC)


def raised(error: Exception, folder: Path, needed: int = 0) -> Exception:
    with pytest.raises(Exception) as caught, storage_errors(folder, needed):  # noqa: PT011 (any is the point)
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("parquet: File out of specification: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_the_folder_what_is_needed_and_what_is_free(tmp_path: Path, error: Exception) -> None:
    told = raised(error, tmp_path, 3_400_000)
    assert isinstance(told, GltaError)
    assert told.location == str(tmp_path)
    assert "about 3.4 MB are needed" in told.problem
    assert "are free" in told.problem
    assert "run the same command again when there is room" in str(told.hint)


def test_a_failing_disk_names_the_file(tmp_path: Path) -> None:
    told = raised(OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path / "runs" / "toy.json")), tmp_path)
    assert isinstance(told, GltaError)
    assert "toy.json" in told.problem


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_is_read_only_is_named_with_the_way_out(tmp_path: Path, number: int) -> None:
    told = raised(OSError(number, os.strerror(number), str(tmp_path / "locks" / "a.lock")), tmp_path)
    assert isinstance(told, ReadOnlyError)
    assert told.location == str(tmp_path)
    assert "--data-dir" in str(told.hint)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/elsewhere/of/the/user.csv"),
        FileNotFoundError(errno.ENOENT, "No such file", "here"),
        ValueError("no error of the disk"),
        InputError("wrong recipe"),
    ],
)
def test_errors_that_are_not_of_this_disk_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    assert raised(error, tmp_path) is error


def test_what_is_free_is_asked_where_the_folder_will_be(tmp_path: Path) -> None:
    free = free_bytes(tmp_path / "not" / "yet")
    assert free is not None
    require_room(tmp_path / "not" / "yet", free // 2)
    with pytest.raises(GltaError, match=r"no space left on the disk: about .* are needed, .* are free"):
        require_room(tmp_path / "not" / "yet", 2 * free + 10**15)


@pytest.mark.parametrize(("count", "shown"), [(512, "512 bytes"), (3_400_000, "3.4 MB"), (2_000, "2.0 kB")])
def test_bytes_as_people_say_them(count: int, shown: str) -> None:
    assert shown_bytes(count) == shown
