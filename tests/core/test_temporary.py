"""Temporary names: what a dead process left is removed, what a living one writes is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glta_cli.core import temporary
from glta_cli.core.temporary import remove_leftovers, temporary_beside, whole_folder

LEAVE = """
import sys
from pathlib import Path
from glta_cli.core.temporary import temporary_beside
folder = temporary_beside(Path(sys.argv[1]) / "abc")
folder.mkdir()
(folder / "half").write_text("written")
temporary_beside(Path(sys.argv[1]) / "file").write_text("half")
print(folder, flush=True)
sys.stdin.read()
"""
DAY = 86_400


def test_what_a_killed_process_left_is_removed_and_not_before_it_is_dead(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    left = Path(owner.stdout.readline().strip())
    assert remove_leftovers([tmp_path]) == []
    assert left.is_dir()
    owner.kill()
    # Dead, and not yet buried by its parent: what it had half written is nobody's already.
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    assert left in remove_leftovers([tmp_path, tmp_path / "not there"])
    assert list(tmp_path.iterdir()) == []
    owner.communicate()


def test_a_number_given_to_another_process_protects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = temporary_beside(tmp_path / "abc")
    mine.mkdir()
    assert remove_leftovers([tmp_path]) == []
    started = temporary._start_of(os.getpid())
    assert started is not None
    monkeypatch.setattr(temporary, "_start_of", lambda process: started + 1)
    assert remove_leftovers([tmp_path]) == [mine]


def aged(path: Path, seconds: float) -> Path:
    path.mkdir()
    os.utime(path, times=(time.time() - seconds,) * 2)
    return path


def test_what_names_no_owner_here_goes_once_nobody_wrote_to_it_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = aged(tmp_path / ".c9d4b487bc4e8d88e09c-0a1b2c3d", 2 * DAY)
    converted = aged(tmp_path / ".smollm2-135m-k3_x9abc", 2 * DAY)
    young = aged(tmp_path / ".c9d4b487bc4e8d88e09c-4e5f6071", DAY / 2)
    written = aged(tmp_path / ".c9d4b487bc4e8d88e09c-99999999", 2 * DAY)
    (written / "file").write_text("now")
    with monkeypatch.context() as patch:
        patch.setattr(temporary, "_machine", lambda: "00000000")
        theirs, theirs_old = temporary_beside(tmp_path / "a"), temporary_beside(tmp_path / "b")
    aged(theirs, 60)
    aged(theirs_old, 2 * DAY)
    assert set(remove_leftovers([tmp_path])) == {old, converted, theirs_old}
    assert {path.name for path in tmp_path.iterdir()} == {young.name, written.name, theirs.name}


@pytest.mark.parametrize("name", [".hidden", ".gitignore", "abc-0a1b2c3d", ".lock-file", ".a.lock"])
def test_other_files_stay_however_old(tmp_path: Path, name: str) -> None:
    aged(tmp_path / name, 400 * DAY)
    assert remove_leftovers([tmp_path]) == []


@pytest.mark.parametrize("failure", [ValueError("half way"), KeyboardInterrupt(), SystemExit(143)])
def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path: Path, failure: BaseException) -> None:
    with whole_folder(tmp_path / "weights") as folder:
        (folder / "a").write_text("old")

    def fail() -> None:
        with whole_folder(tmp_path / "weights") as folder:
            (folder / "a").write_text("new")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert (tmp_path / "weights" / "a").read_text() == "old"


def test_an_interrupt_while_the_folder_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir

    def interrupted(self: Path, *arguments: int, **named: int) -> None:
        made(self, *arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "weights"):
        pass
    assert list(tmp_path.iterdir()) == []
