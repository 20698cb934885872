"""`glta recommend` for many users: the lists of the single command, in a file that is whole or not there."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import BusyError, InputError, InputErrors
from glta_cli.main import app

COLUMNS = ["user", "rank", "item", "title", "score"]
# Six users a part, of sixty: ten parts.
SMALL_PARTS = "glta_cli.answers.batch.part_size"


@pytest.fixture(scope="module")
def toy_index(run_toy: Any) -> None:
    run_toy(stage="serving-index")


@pytest.fixture
def ask(toy_index: None, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`glta recommend WORDS --run toy` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLTA_DATA_DIR", str(toy_root))

    def run(*words: str, given: str | None = None) -> Any:
        return CliRunner().invoke(app, ["recommend", "--run", "toy", *words], input=given, catch_exceptions=False)

    return run


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SMALL_PARTS, lambda users, **_: 6)


def killed_after(parts: int, how: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command with small parts, in a process that gets a signal once it has kept so many."""
    code = (
        "import os, signal\n"
        "import glta_cli.answers.batch as batch\n"
        "from glta_cli.answers.kept_parts import KeptParts\n"
        "batch.part_size = lambda users, **_: 6\n"
        "keep = KeptParts.keep\n"
        "def keep_and_stop(self, *given, **said):\n"
        "    keep(self, *given, **said)\n"
        f"    if len(self.finished) == {parts}: os.kill(os.getpid(), signal.{how})\n"
        "KeptParts.keep = keep_and_stop\n"
        "from glta_cli.main import main\n"
        "main()\n"
    )
    words = ("recommend", "--run", "toy", *words)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


def list_of(ask: Callable[..., Any], user: str, *words: str) -> list[dict[str, Any]]:
    """What the single command answers, as rows."""
    answer = json.loads(ask("--user", user, "--json", *words).stdout)
    return [{"user": user, **entry} for entry in answer["recommendations"]]


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same items in the same order; a product of many users may round the last decimal of a score elsewhere."""
    assert [row | {"score": 0} for row in rows] == [row | {"score": 0} for row in expected]
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in expected], abs=1.5e-4)


def test_every_user_gets_the_list_of_the_single_command_in_each_format(ask: Callable[..., Any]) -> None:
    expected = [row for user in range(60) for row in list_of(ask, f"u{user}", "-k", "4")]
    for name in ("o.parquet", "o.csv", "o.jsonl"):
        done = ask("--users", "all", "-k", "4", "-o", name)
        assert f"{len(expected)} rows for 60 users in {name}" in done.stderr
    assert not list(Path().glob("*.parts"))
    tables = [pl.read_parquet("o.parquet"), pl.read_csv("o.csv"), pl.read_ndjson("o.jsonl")]
    for table in tables:
        assert table.columns == COLUMNS
        by_user = table.sort(pl.col("user").str.slice(1).cast(int), "rank")
        assert_same(by_user.to_dicts(), expected)


def test_rows_choices_and_wishes_are_those_of_the_single_command(ask: Callable[..., Any]) -> None:
    for words in (
        ["--model", "popularity", "--include-seen"],
        ["--except", "i1,i25", "--diversity", "0.4"],
        ["--wish", "a garden"],
    ):
        ask("--user", "u3", "--user", "u40", "-o", "o.csv", *words)
        expected = [row for user in ("u3", "u40") for row in list_of(ask, user, *words)]
        assert_same(pl.read_csv("o.csv").to_dicts(), expected)


def test_reasons_are_those_of_the_single_command_as_far_as_they_do_most(ask: Callable[..., Any]) -> None:
    asked = ["--because", "-k", "3"]
    expected = []
    for row in (row for user in ("u3", "u40") for row in list_of(ask, user, *asked)):
        reasons = [{name: each[name] for name in ("item", "title", "share")} for each in row["because"]["history"]]
        expected.append(row | {"because": reasons[:10]})
    assert max(len(row["because"]) for row in expected) > 1
    for name in ("o.parquet", "o.csv", "o.jsonl"):
        done = ask("--user", "u3", "--user", "u40", "-o", name, *asked)
        assert "reasons are found user by user" in done.stderr
    rows = [pl.read_parquet("o.parquet").to_dicts(), pl.read_ndjson("o.jsonl").to_dicts()]
    rows.append([row | {"because": json.loads(row["because"])} for row in pl.read_csv("o.csv").to_dicts()])
    for found in rows:
        assert [list(row) for row in found] == [[*COLUMNS, "because"]] * 6
        for row, single in zip(found, expected, strict=True):
            assert_same([row | {"because": 0}], [single | {"because": 0}])
            shares = {each["item"]: each["share"] for each in row["because"]}
            assert shares == pytest.approx({each["item"]: each["share"] for each in single["because"]}, abs=2e-3)
    printed = ask("--user", "u3", "-o", "-", *asked).stdout
    assert [json.loads(line) for line in printed.splitlines()] == rows[1][:3]


def test_what_does_nothing_to_a_list_is_no_reason_of_it(ask: Callable[..., Any]) -> None:
    ask("--user", "u3", "-o", "o.csv", "--because", "-k", "2", "--model", "popularity")
    assert pl.read_csv("o.csv")["because"].to_list() == ["[]", "[]"]
    ask("--user", "u3", "-o", "o.parquet", "--because", "-k", "2", "--model", "popularity")
    assert pl.read_parquet("o.parquet")["because"].to_list() == [[], []]


def test_lists_with_reasons_and_without_are_never_one_file(ask: Callable[..., Any], small_parts: None) -> None:
    asked = ("--users", "all", "-k", "1", "--processes", "1")
    ask(*asked, "-o", "whole.csv", "--because")
    for before, anew in (([], ["--because"]), (["--because"], [])):
        killed_after(3, "SIGKILL", *asked, *before, "-o", "o.csv")
        assert "held answers to another question: begun anew" in ask(*asked, *anew, "-o", "o.csv").stderr
        assert pl.read_csv("o.csv").columns == [*COLUMNS, *(["because"] if anew else [])]
    killed_after(3, "SIGKILL", *asked, "--because", "-o", "o.csv")
    assert "18 of 60 users are answered already" in ask(*asked, "--because", "-o", "o.csv").stderr
    assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_several_processes_write_the_bytes_of_one(ask: Callable[..., Any], small_parts: None) -> None:
    for name in ("o.parquet", "o.jsonl"):
        written = []
        for processes in ("1", "3"):
            ask("--users", "all", "-o", name, "--processes", processes)
            written.append(Path(name).read_bytes())
        assert written[0] == written[1]


def test_lines_on_standard_output_are_those_of_the_file(ask: Callable[..., Any], small_parts: None) -> None:
    ask("--users", "all", "-o", "o.jsonl")
    assert ask("--users", "all", "-o", "-", "--processes", "2").stdout == Path("o.jsonl").read_text()
    ask("--users", "all", "-o", "o.csv")
    assert ask("--users", "all", "-o", "-", "--format", "csv").stdout == Path("o.csv").read_text()


@pytest.mark.parametrize(("how", "code"), [("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_run_goes_on_and_ends_as_if_nothing_had_been(
    ask: Callable[..., Any], small_parts: None, how: str, code: int
) -> None:
    ask("--users", "all", "-o", "whole.csv")
    stopped = killed_after(3, how, "--users", "all", "-o", "o.csv", "--processes", "2")
    assert stopped.returncode == code, stopped.stderr
    assert not Path("o.csv").exists()
    if how != "SIGKILL":
        assert "the answers of 18 users are kept" in stopped.stderr
    done = ask("--users", "all", "-o", "o.csv")
    assert "18 of 60 users are answered already, in o.csv.parts" in done.stderr
    assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["o.csv", "whole.csv"]


def test_parts_that_were_damaged_or_answer_something_else_are_made_again(
    ask: Callable[..., Any], small_parts: None
) -> None:
    ask("--users", "all", "-o", "whole.csv")
    killed_after(3, "SIGKILL", "--users", "all", "-o", "o.csv", "--processes", "1")
    [damaged] = Path("o.csv.parts").glob("000001.*")
    damaged.write_bytes(damaged.read_bytes().replace(b"u", b"v", 1))
    done = ask("--users", "all", "-o", "o.csv")
    assert "12 of 60 users are answered already" in done.stderr
    assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes()
    killed_after(3, "SIGKILL", "--users", "all", "-o", "o.csv", "-k", "3", "--processes", "1")
    done = ask("--users", "all", "-o", "o.csv")
    assert "o.csv.parts held answers to another question: begun anew" in done.stderr
    assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_folder_in_the_way_keeps_what_it_holds(ask: Callable[..., Any]) -> None:
    Path("o.csv.parts").mkdir()
    Path("o.csv.parts/mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is in the way: it holds mine\.txt"):
        ask("--users", "all", "-o", "o.csv")
    assert [path.name for path in Path("o.csv.parts").iterdir()] == ["mine.txt"]
    assert not Path("o.csv").exists()


def test_two_do_not_answer_into_one_file(ask: Callable[..., Any]) -> None:
    from filelock import FileLock

    Path("o.csv.parts").mkdir()
    with FileLock("o.csv.parts/lock"), pytest.raises(BusyError, match="another process answers into it"):
        ask("--users", "all", "-o", "o.csv")


IDS = ["u7", "nobody", "u3", "u7", "u59", "nobody", "no-one"]


def as_lines() -> str:
    Path("ids.txt").write_text("\r\n".join(IDS) + "\r\n\r\n")
    return "ids.txt"


def as_lines_called_csv() -> str:
    Path("lines.csv").write_text("\n".join(IDS))
    return "lines.csv"


def as_column() -> str:
    pl.DataFrame({"rank": range(7), "User ID": IDS}).write_csv("ids.csv")
    return "ids.csv"


def as_column_between_semicolons() -> str:
    pl.DataFrame({"rank": range(7), "User ID": IDS}).write_csv("ids.csv", separator=";")
    return "ids.csv"


def as_quoted_lines() -> str:
    Path("quoted.csv").write_text("".join(f'"{each}"\n' for each in IDS))
    return "quoted.csv"


def as_parquet() -> str:
    pl.DataFrame({"customer": IDS, "rank": range(7)}).write_parquet("ids.parquet")
    return "ids.parquet"


WRITTEN = [as_lines, as_lines_called_csv, as_quoted_lines, as_column, as_column_between_semicolons, as_parquet]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_file_says_for_whom_in_which_order(ask: Callable[..., Any], written: Callable[[], str]) -> None:
    done = ask("--users", written(), "-o", "o.csv", "-k", "2")
    assert pl.read_csv("o.csv")["user"].to_list() == ["u7", "u7", "u3", "u3", "u59", "u59"]
    assert "2 ids are nobody's here, such as 'nobody': left out" in done.stderr
    assert "2 ids were named before: each user is answered once" in done.stderr


def test_ids_are_taken_from_standard_input_too(ask: Callable[..., Any]) -> None:
    done = ask("--users", "-", "-o", "-", "-k", "1", given="u5\nu4\n")
    assert [json.loads(line)["user"] for line in done.stdout.splitlines()] == ["u5", "u4"]


def test_nobody_known_is_no_question(ask: Callable[..., Any]) -> None:
    Path("ids.txt").write_text("u600\nu700\n")
    with pytest.raises(InputError) as caught:
        ask("--users", "ids.txt", "-o", "o.csv")
    assert str(caught.value) == (
        "ids.txt: nobody has any of 2 ids, such as 'u600'; there are 60 users\n"
        "  hint: the ids nearest to 'u600' are u6, u0"
    )
    assert not list(Path().glob("o.csv*"))


def test_a_table_without_a_column_of_users_is_told_what_to_call_it(ask: Callable[..., Any]) -> None:
    pl.DataFrame({"who": ["u1"], "when": [1]}).write_csv("ids.csv")
    with pytest.raises(InputError, match="no column is known as user; the columns are who, when"):
        ask("--users", "ids.csv", "-o", "o.csv")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--users", "all"], "need a place to go to"),
        (["--users", "all", "-o", "o.xlsx"], "does not say its format"),
        (["--users", "all", "-o", "-", "--format", "parquet"], "Parquet needs a file"),
        (["--users", "all", "-o", "o.csv", "--format", "cvs"], "not one of parquet, csv, jsonl"),
        (["--users", "all", "-o", "there/o.csv"], "there is no such folder"),
        (["--users", "all", "-o", "-", "--json"], "on standard output already"),
        (["--users", "all", "-o", "o.csv", "--user", "u1"], "named twice"),
        (["--history", "i1", "-o", "o.csv"], "of one person"),
        (["-o", "o.csv"], "nobody is asked for"),
        (["--users", "all", "-o", "o.csv", "--deep"], "not for the lists of many"),
        (["--users", "all", "-o", "o.csv", "--only", "i999"], "i999"),
        (["--users", "none.txt", "-o", "o.csv"], "no such file"),
        (["--user", "u1", "--processes", "2"], "nothing is written"),
        (["--users", "all", "-o", "o.csv", "--model", "easy"], "no row is called 'easy'"),
    ],
)
def test_what_does_not_go_together_is_refused(ask: Callable[..., Any], words: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ask(*words)
    assert not list(Path().glob("o.*"))


def test_several_users_are_all_answered(ask: Callable[..., Any]) -> None:
    shown = ask("--user", "u1", "--user", "u40", "--user", "u1", "-k", "2")
    alone = [ask("--user", user, "-k", "2").stdout for user in ("u1", "u40")]
    assert shown.stdout == "\n".join(alone)
    answers = json.loads(ask("--user", "u1", "--user", "u40", "--json").stdout)
    assert answers == [json.loads(ask("--user", user, "--json").stdout) for user in ("u1", "u40")]


def test_of_several_users_all_that_are_unknown_are_told(ask: Callable[..., Any]) -> None:
    with pytest.raises(InputErrors) as caught:
        ask("--user", "u1", "--user", "u600", "--user", "u700")
    assert "'u600'" in str(caught.value)
    assert "'u700'" in str(caught.value)


def test_the_summary_is_told_as_json(ask: Callable[..., Any]) -> None:
    Path("ids.txt").write_text("u1\nu2\nu2\nnobody\n")
    told = json.loads(ask("--users", "ids.txt", "-o", "o.csv", "-k", "3", "--json").stdout)
    assert told.pop("seconds") > 0
    assert told == {
        "run": "toy",
        "dataset": "table",
        "output": "o.csv",
        "users": 2,
        "rows": 6,
        "without": 0,
        "unknown": 1,
        "repeated": 1,
        "answered_before": 0,
        "by_popularity": 0,
    }


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root can mount a file system",
)
def test_a_full_disk_and_a_read_only_one(toy_index: None, toy_root: Path, tmp_path: Path) -> None:
    """The error names the folder; with room the same command goes on; nothing half is left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    glta = f"{sys.executable} -m glta_cli recommend --run toy --users all -k 30 -o {disk}/o.jsonl"
    script = f"""
        mount -t tmpfs -o size=32k tmpfs {disk}
        {glta} 2> {tmp_path}/full; echo $? >> {tmp_path}/codes; ls {disk} >> {tmp_path}/files
        mount -o remount,size=4m {disk}
        {glta} 2> {tmp_path}/again; echo $? >> {tmp_path}/codes; ls {disk} >> {tmp_path}/files
        mount -o remount,ro {disk}
        {glta} 2> {tmp_path}/read-only; echo $? >> {tmp_path}/codes
    """
    environment = {**os.environ, "GLTA_DATA_DIR": str(toy_root)}
    subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment, check=True, capture_output=True)
    full, again, read_only = ((tmp_path / name).read_text() for name in ("full", "again", "read-only"))
    assert f"{disk}: no space left on the disk" in full
    assert "run the same command again when there is room" in full
    assert "60 users in" in again
    assert f"{disk}: cannot be written to" in read_only
    assert "internal" not in full + read_only
    assert (tmp_path / "codes").read_text().split() == ["1", "0", "1"]
    assert (tmp_path / "files").read_text().split() == ["o.jsonl"]


def test_in_one_terminal_no_bar_stands_between_the_lines(toy_index: None, toy_root: Path, tmp_path: Path) -> None:
    def shown(*, stdout_is_terminal: bool) -> tuple[str, str]:
        """What a terminal shows, and the lines in a file."""
        terminal, end = pty.openpty()
        termios.tcsetwinsize(end, (24, 80))
        words = [sys.executable, "-m", "glta_cli", "recommend", "--run", "toy", "--data-dir", str(toy_root)]
        words += ["--users", "all", "-o", "-", "--format", "jsonl", "-k", "1"]
        with (tmp_path / "lines").open("w") as file:
            environment = {**os.environ, "TERM": "xterm-256color"}
            process = subprocess.Popen(words, stdout=end if stdout_is_terminal else file, stderr=end, env=environment)
            os.close(end)
            found = b""
            while True:
                try:
                    found += os.read(terminal, 65536)
                except OSError:  # its other end is closed
                    break
            assert process.wait() == 0
            os.close(terminal)
        return found.decode(), (tmp_path / "lines").read_text()

    in_terminal, _ = shown(stdout_is_terminal=True)
    beside, lines = shown(stdout_is_terminal=False)
    assert [line for line in in_terminal.splitlines() if line.startswith("{")] == lines.splitlines()
    bar = "60/60 users"
    assert bar in beside
    assert bar not in in_terminal
