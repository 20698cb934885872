"""A failure of the system is told as what it is: where, what, and what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glta_cli.core.errors import GltaError
from glta_cli.core.failures import failure_of_system, failures_named
from glta_cli.main import report


def failing(number: int, *paths: str) -> OSError:
    return OSError(number, os.strerror(number), *paths)


class SafetensorError(Exception):
    """Like the one of safetensors: no OSError, and its number in the text alone."""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_the_room_left_and_what_to_do(tmp_path: Path, number: int) -> None:
    told = failure_of_system(failing(number, str(tmp_path / "no" / "folder" / "x.bin")))
    assert told is not None
    assert told.location == str(tmp_path)
    assert told.problem.startswith(f"{os.strerror(number)}: ")
    assert told.problem.endswith(" bytes are free")
    assert told.hint is not None
    assert "run the same command again; what was finished stays" in told.hint


@pytest.mark.parametrize(
    "hidden",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("parquet: underlying IO error: No space left on device (os error 28)"),
        failing(errno.ENOSPC),
    ],
)
def test_a_full_disk_is_seen_in_the_errors_of_libraries(tmp_path: Path, hidden: Exception) -> None:
    with pytest.raises(GltaError, match="No space left on device") as told, failures_named(tmp_path / "vectors"):
        raise hidden
    assert told.value.location == str(tmp_path)
    assert told.value.__cause__ is hidden


def test_a_path_in_the_text_of_a_librarys_error_is_the_location(tmp_path: Path) -> None:
    told = failure_of_system(FileNotFoundError(f"No such file or directory (os error 2): {tmp_path}/users.parquet"))
    assert str(told).startswith(f"{tmp_path}/users.parquet: cannot be used: No such file or directory\n  hint: ")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "ls -ld"),
        (errno.EROFS, "--data-dir"),
        (errno.EIO, "run the same command again"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_path(
    capsys: pytest.CaptureFixture[str], number: int, hint: str
) -> None:
    assert report(failing(number, "/data/x"), debug=False) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"/data/x: cannot be used: {os.strerror(number)}\n  hint: ")
    assert hint in shown
    assert "internal error" not in shown


def test_no_memory_is_told_with_what_was_asked_for() -> None:
    with pytest.raises(MemoryError) as raised:
        np.empty(10**15)
    assert str(failure_of_system(raised.value)).startswith("out of memory: 7.11 PiB were asked for at once\n  hint: ")
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as raised_by_torch:
        torch.empty(10**15)
    assert str(failure_of_system(raised_by_torch.value)).startswith("out of memory: 4000000000000000 bytes were asked")
    too_large = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    assert str(failure_of_system(too_large)).startswith("out of memory\n  hint: ")
    assert "backbone.layers" in str(failure_of_system(torch.OutOfMemoryError("CUDA out of memory.")))


@pytest.mark.parametrize(
    "bug", [KeyError("x"), RuntimeError("mat1 and mat2"), ValueError("(os error 99999)"), OSError()]
)
def test_a_bug_is_no_failure_of_the_system(tmp_path: Path, bug: Exception) -> None:
    assert failure_of_system(bug) is None
    with pytest.raises(type(bug)), failures_named(tmp_path):
        raise bug


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("MemoryError", "out of memory\n  hint: "),
        (
            "PermissionError(13, 'x', '/data/log.csv')",
            "/data/log.csv: cannot be used: Permission denied\n  hint: `ls -ld",
        ),
        ("OSError(28, 'x')", "No space left on device"),
    ],
)
def test_what_the_system_refuses_a_plugin_is_not_the_plugins_fault(error: str, told: str) -> None:
    code = f"""
from glta_cli.plugin.component import Component, Origin
from glta_cli.plugin import DatasetDeclaration
declared = DatasetDeclaration(name="x", summary="s", target="a:B", config="a:C")
try:
    with Component(declared, Origin("x", "own", "1.0")).named():
        raise {error}
except Exception as error:
    print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told in shown
    assert "own 1.0" not in shown
