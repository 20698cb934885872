"""What memory there is left, as the kernel and the container's limit say."""

from __future__ import annotations

from pathlib import Path

import pytest

from glta_cli.core import process_memory
from glta_cli.core.process_memory import available_memory, machine_memory


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB left, of which the files of a container may say less."""
    (tmp_path / "meminfo").write_text("MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n")
    monkeypatch.setattr(process_memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(process_memory, "CONTAINER", tmp_path)
    return tmp_path


def limited(folder: Path, limit: str) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("3000000000\n")
    (folder / "memory.stat").write_text("anon 1000000000\ninactive_file 500000000\n")


def test_without_a_container_it_is_what_the_machine_has_left(system: Path) -> None:
    assert available_memory() == 8 * 2**30


def test_a_container_has_its_limit_less_what_it_cannot_give_back(system: Path) -> None:
    limited(system, "4000000000")
    assert available_memory() == 1_500_000_000


@pytest.mark.parametrize("limit", ["max", "90000000000"])
def test_a_limit_beyond_the_machine_is_none(system: Path, limit: str) -> None:
    limited(system, limit)
    assert available_memory() == 8 * 2**30


def test_a_container_beyond_its_limit_has_nothing_left(system: Path) -> None:
    limited(system, "2000000000")
    assert available_memory() == 0


def test_where_the_system_does_not_say_nobody_knows(system: Path) -> None:
    (system / "meminfo").unlink()
    assert available_memory() is None


def test_files_read_again_and_names_the_kernel_keeps_make_room_too(system: Path) -> None:
    limited(system, "4000000000")
    (system / "memory.stat").write_text(
        "anon 1000000000\ninactive_file 500000000\nactive_file 700000000\nslab_reclaimable 100000000\n"
    )
    assert available_memory() == 2_300_000_000


@pytest.mark.parametrize(
    ("swap", "in_all"),
    [("0\n", 4_000_000_000), ("max\n", 4_000_000_000 + 2**30), (None, 2**34 + 2**30)],
)
def test_there_is_what_the_machine_or_a_smaller_container_has(system: Path, swap: str | None, in_all: int) -> None:
    (system / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\nSwapTotal: 1048576 kB\n")
    if swap is not None:
        limited(system, "4000000000")
        (system / "memory.swap.max").write_text(swap)
    assert machine_memory() == in_all
