"""Whatever stdout and stderr are: results arrive or their loss is told, and remarks never end a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
COMMANDS = (
    "--help",
    "--version",
    "recommend --help",
    "plugins",
    "plugins --json",
    "recipes",
    "recipes show quickstart",
)
SHOWS = """
from glta_cli.core.standard_streams import open_streams
from glta_cli.core.terminal import say, show_json, show_table
open_streams()
text = "Amélie 映画 😀 ±0.1 ─── …"
"""


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which $GLTA is the command, with nothing buffered differently from a user's shell."""
    glta = f"{sys.executable} -m glta_cli"
    clean = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        ["bash", "-c", line.replace("$GLTA", glta)], capture_output=True, text=True, env={**clean, **environment}
    )


@pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_stdout_is_an_error_with_its_reason(command: str) -> None:
    finished = shell(f"$GLTA {command} > {FULL}")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[0] == "cannot write to stdout: No space left on device"
    assert len(finished.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_stdout_is_an_error_with_its_reason(command: str) -> None:
    finished = shell(f"$GLTA {command} >&-")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[0] == "cannot write to stdout: it is closed"
    assert len(finished.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_it_quietly_as_sigpipe_would(command: str, unbuffered: str) -> None:
    # The reader is gone before anything is written.
    finished = shell(f"(sleep 0.2; $GLTA {command}; echo $? >&2) | true", PYTHONUNBUFFERED=unbuffered)
    assert finished.stderr.split()[-1] == "141"
    assert [line for line in finished.stderr.splitlines()[:-1] if not line.startswith("run one: ")] == []


@pytest.mark.parametrize("closed", ["2>&-", f"2> {FULL}", "2> >(true)", "2>&- <&-"])
def test_what_stderr_cannot_take_breaks_nothing(closed: str) -> None:
    finished = shell(f"$GLTA recipes {closed}")
    assert finished.returncode == 0
    assert "quickstart" in finished.stdout


def test_with_no_stream_at_all_the_exit_code_is_still_right() -> None:
    assert shell("$GLTA --version <&- >&- 2>&-").returncode == 1
    assert shell("$GLTA recipes show nothing-like-it <&- >&- 2>&-").returncode == 2


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "from glta_cli.core.standard_streams import open_streams; open_streams(); "
        f"print(open({str(tmp_path / 'data')!r}, 'w').fileno(), file=open({str(tmp_path / 'told')!r}, 'w'))"
    )
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-').returncode == 0
    assert int((tmp_path / "told").read_text()) > 2


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "gbk", "cp932", "utf-8"])
def test_no_encoding_ends_a_command(encoding: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOWS + "print(text); say(text); show_table(text)"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.decode(encoding).splitlines()
    assert lines[0] == lines[1]
    assert lines[0].startswith("Am")
    assert "---" in lines[0] or "───" in lines[0]
    assert b"0.1" in shown.stderr


def test_what_an_encoding_holds_is_not_replaced() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOWS + "print(text)"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert shown.stdout.decode("cp1252") == "Amélie ?? ? ±0.1 --- …\n"


@pytest.mark.parametrize(("encoding", "raw"), [("ascii", False), ("cp1252", False), ("utf-8", True)])
def test_json_is_ascii_where_the_encoding_lacks_a_character(encoding: str, raw: bool) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOWS + "show_json({'title': text})"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert json.loads(shown.stdout) == {"title": "Amélie 映画 😀 ±0.1 ─── …"}
    assert (not shown.stdout.isascii()) == raw


def test_what_was_printed_is_printed_once_where_a_signal_follows_at_once() -> None:
    code = (
        "import os, signal, sys\n"
        "from glta_cli.core.standard_streams import open_streams\n"
        "open_streams()\n"
        "def end(number, frame): raise SystemExit(3)\n"
        "signal.signal(signal.SIGALRM, end)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "lines = 0\n"
        "while True:\n"
        "    lines += 1\n"
        "    print(lines, file=sys.stderr)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 3
    printed = finished.stderr.split()
    assert printed == [str(number) for number in range(1, len(printed) + 1)]
