"""The workspace: what is published is whole and unchanged, or it is not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest
from filelock import FileLock

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.core.files import file_sha256, fingerprint, remembered_sha256, write_bytes
from glta_cli.core.storage import ReadOnlyError
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def recipe(seed: int) -> dict[str, object]:
    """A stored recipe, which says its terms."""
    return {"fusion": {"terms": ["encoder", "llm"]}, "seed": seed}


HOLD_LOCK = """
import sys
from pathlib import Path
from glta_cli.workspace.workspace import Workspace
with Workspace(Path(sys.argv[1])).locked("align-1"):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKE_LOCK = """
import sys
from pathlib import Path
from glta_cli.main import report
from glta_cli.workspace.workspace import Workspace
try:
    with Workspace(Path(sys.argv[1])).locked("align-1"):
        print("taken")
except Exception as error:
    sys.exit(report(error, debug=False))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def publish(workspace: Workspace, text: str = "words", name: str = "abc") -> Artefact:
    def write(folder: Path) -> dict[str, int]:
        (folder / "inner").mkdir()
        (folder / "inner" / "text").write_text(text)
        return {"lines": 1}

    return workspace.publish("align", name, write, settings={"a": 1}, inputs={"prepare": "xyz"}, seed=3)


def as_published_by_0_1(artefact: Artefact, **changes: object) -> None:
    """Leave in the manifest what 0.1 wrote: stamps and hashes of the files, and no checksum of anything."""
    path = artefact.path / "manifest.json"
    manifest = json.loads(path.read_text())
    for key in ("checksum", "crc32", "headers", "blocks", "processor_seconds"):
        del manifest[key]
    path.write_text(json.dumps({**manifest, **changes}))


def test_what_is_published_is_found_with_its_manifest(workspace):
    publish(workspace)
    artefact = workspace.published("align", "abc")
    assert artefact is not None
    assert artefact.file("inner/text").read_text() == "words"
    assert artefact.has("inner/text")
    assert artefact.details == {"lines": 1}
    assert artefact.manifest["seed"] == 3
    assert artefact.manifest["inputs"] == {"prepare": "xyz"}
    assert artefact.manifest["environment"]["packages"]["glta"]


@pytest.mark.parametrize("failure", [ValueError("half way"), KeyboardInterrupt(), SystemExit(143)])
def test_a_failure_leaves_nothing_behind(workspace, failure):
    def write(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("done")
        raise failure

    with pytest.raises(type(failure)):
        workspace.publish("align", "abc", write, settings={}, inputs={}, seed=0)
    assert workspace.published("align", "abc") is None
    assert list((workspace.root / "stages" / "align").iterdir()) == []


def test_a_failed_repetition_keeps_what_was_published(workspace):
    publish(workspace, "first")

    def write(folder: Path) -> dict[str, int]:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        workspace.publish("align", "abc", write, settings={}, inputs={}, seed=0)
    assert workspace.published("align", "abc").file("inner/text").read_text() == "first"


def test_publishing_removes_the_saved_states(workspace):
    folder = workspace.state_folder("align", "abc")
    (folder / "state").write_text("")
    publish(workspace)
    assert not folder.exists()


def test_a_changed_file_is_refused(workspace):
    artefact = publish(workspace)
    (artefact.path / "inner" / "text").write_text("other")
    with pytest.raises(GltaError, match="changed after it was published"):
        Artefact(artefact.path).file("inner/text")


def test_a_change_of_the_same_length_is_refused(workspace):
    artefact = publish(workspace, "words")
    (artefact.path / "inner" / "text").write_text("sword")
    with pytest.raises(GltaError, match="changed after it was published"):
        artefact.file("inner/text")


def test_a_file_not_written_since_is_not_hashed_again_and_a_copied_one_is(workspace, tmp_path, monkeypatch):
    artefact = publish(workspace)
    copy = Artefact(Path(shutil.copytree(artefact.path, tmp_path / "copy", copy_function=shutil.copyfile)))
    hashed = []

    def recorded(path: Path) -> str:
        hashed.append(path)
        return file_sha256(path)

    monkeypatch.setattr("glta_cli.workspace.artefact.file_sha256", recorded)
    assert artefact.file("inner/text").read_text() == "words"
    assert hashed == []
    assert copy.file("inner/text").read_text() == "words"
    assert hashed == [copy.path / "inner" / "text"]


def test_a_manifest_from_before_stamps_is_checked_by_hash(workspace):
    artefact = publish(workspace)
    as_published_by_0_1(artefact)
    manifest = json.loads((artefact.path / "manifest.json").read_text())
    del manifest["stamps"]
    (artefact.path / "manifest.json").write_text(json.dumps(manifest))
    assert Artefact(artefact.path).file("inner/text").read_text() == "words"
    (artefact.path / "inner" / "text").write_text("other")
    with pytest.raises(GltaError, match="changed after it was published"):
        Artefact(artefact.path).file("inner/text")


def test_a_missing_file_is_refused(workspace):
    artefact = publish(workspace)
    (artefact.path / "inner" / "text").unlink()
    with pytest.raises(GltaError, match="missing"):
        artefact.file("inner/text")
    with pytest.raises(GltaError, match="missing"):
        artefact.file("never published")


def test_another_layout_is_refused(workspace):
    artefact = publish(workspace)
    as_published_by_0_1(artefact, schema_version=99)
    with pytest.raises(GltaError, match="layout 99"):
        _ = Artefact(artefact.path).details


def test_a_folder_without_a_manifest_is_not_published(workspace):
    (workspace.root / "stages" / "align" / "abc").mkdir(parents=True)
    assert workspace.published("align", "abc") is None


def test_the_fingerprint_depends_on_content_not_on_order():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})


def test_a_second_process_is_told_that_the_first_is_busy(workspace):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(workspace.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        take = [sys.executable, "-c", TAKE_LOCK, str(workspace.root)]
        refused = subprocess.run(take, capture_output=True, text=True)
        assert refused.returncode == 75
        assert refused.stderr == (
            f"{workspace.root}: another process is working on align-1\n  hint: wait for it to end\n"
        )
    finally:
        holder.communicate(b"")
    assert subprocess.run(take, capture_output=True, text=True).stdout == "taken\n"


def test_the_latest_run_is_the_one_saved_last(workspace):
    assert workspace.latest_run() is None
    workspace.save_run(Run("first", recipe(0), {}))
    workspace.save_run(Run("paper/second", recipe(1), {"align": "abc"}))
    workspace.save_run(Run("first", recipe(2), {}))
    assert workspace.latest_run() == Run("first", recipe(2), {})
    assert workspace.run("paper/second") == Run("paper/second", recipe(1), {"align": "abc"})
    assert set(workspace.run_names()) == {"first", "paper/second"}


def test_an_unknown_run_names_the_nearest(workspace):
    workspace.save_run(Run("quickstart", {}, {}))
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        workspace.required_run("quickstrat")


@pytest.mark.parametrize("name", ["", "../outside", "/absolute", "a/../../b", ".hidden"])
def test_a_run_cannot_leave_the_workspace(workspace, name):
    with pytest.raises(InputError, match="no name for a run"):
        workspace.save_run(Run(name, {}, {}))


@pytest.mark.parametrize("name", ["", "../outside", "/absolute", "a/../../b", ".hidden"])
def test_a_folder_of_a_run_cannot_leave_the_workspace(workspace, name):
    with pytest.raises(InputError, match="no name for a run"):
        workspace.run_folder("logs", name)
    assert list(workspace.root.iterdir()) == []
    assert workspace.run_folder("logs", "mine/first") == workspace.root / "logs" / "mine" / "first"


def test_what_is_published_is_read_without_a_lock(workspace):
    with workspace.locked("align-abc"):
        with pytest.raises(BusyError):
            workspace.published_or_made("align", "abc", lambda: publish(workspace))
        publish(workspace)
        artefact, was_there = workspace.published_or_made("align", "abc", lambda: pytest.fail("made again"))
    assert was_there
    assert artefact.details == {"lines": 1}


def test_who_only_looks_at_a_lock_makes_nobody_fail(workspace):
    look = FileLock(workspace.folder("locks") / "align-abc.lock", thread_local=False)
    look.acquire()
    Timer(0.2, look.release).start()
    artefact, was_there = workspace.published_or_made("align", "abc", lambda: publish(workspace))
    assert (artefact.details, was_there) == ({"lines": 1}, False)


def test_what_another_process_publishes_before_the_lock_is_had_is_not_made_again(workspace, monkeypatch):
    looks = []
    published = Workspace.published

    def look(self, stage, name):
        if looks:
            publish(self)
        looks.append(name)
        return published(self, stage, name)

    monkeypatch.setattr(Workspace, "published", look)
    artefact, was_there = workspace.published_or_made("align", "abc", lambda: pytest.fail("made again"))
    assert was_there
    assert len(looks) == 2
    assert artefact.details == {"lines": 1}


def test_what_was_not_published_is_made(workspace):
    artefact, was_there = workspace.published_or_made("align", "abc", lambda: publish(workspace))
    assert not was_there
    assert artefact == workspace.published("align", "abc")


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--data-dir"):
        Workspace(tmp_path / "file").folder("stages")


def test_a_remembered_digest_is_that_of_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    weights = tmp_path / "weights"
    weights.write_bytes(b"first")
    assert remembered_sha256(weights) == file_sha256(weights)
    with monkeypatch.context() as patch:
        patch.setattr("glta_cli.core.files.file_sha256", lambda path: pytest.fail("read again"))
        assert remembered_sha256(weights) == hashlib.sha256(b"first").hexdigest()
    before = weights.stat().st_mtime_ns
    weights.write_bytes(b"other")
    os.utime(weights, ns=(before + 1, before + 1))
    assert remembered_sha256(weights) == hashlib.sha256(b"other").hexdigest()


def test_what_is_written_has_the_permissions_of_the_user(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"text")
        artefact = Workspace(tmp_path).publish("stage", "name", lambda folder: {}, settings={}, inputs={}, seed=0)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE(artefact.path.stat().st_mode) == 0o750
    assert stat.S_IMODE((artefact.path / "manifest.json").stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------------------ damages


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_flipped_bit_of_a_manifest_or_a_run_is_read(workspace):
    artefact = publish(workspace)
    workspace.save_run(Run("toy", recipe(0), {"align": "abc"}))
    for path, read in (
        (artefact.path / "manifest.json", lambda: Artefact(artefact.path).manifest),
        (workspace.root / "runs" / "toy.json", lambda: workspace.run("toy")),
    ):
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 7):
            path.write_bytes(flipped(whole, bit))
            with pytest.raises(GltaError) as caught:
                read()
            assert caught.value.location == str(path)
            assert "remove the" in caught.value.hint
        path.write_bytes(whole)
        read()


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"name": "toy"}', '{"stage": 5}'])
def test_a_manifest_or_a_run_that_says_too_little_is_named(workspace, content):
    artefact = publish(workspace)
    (artefact.path / "manifest.json").write_text(content)
    with pytest.raises(GltaError, match=r"manifest\.json"):
        _ = Artefact(artefact.path).manifest
    workspace.save_run(Run("toy", {}, {}))
    (workspace.root / "runs" / "toy.json").write_text(content)
    with pytest.raises(GltaError, match=r"toy\.json"):
        workspace.run("toy")


def test_a_detail_that_a_manifest_lacks_is_named(workspace):
    artefact = publish(workspace)
    as_published_by_0_1(artefact, details={"linez": 1})
    with pytest.raises(GltaError, match="its details lack lines"):
        _ = Artefact(artefact.path).details["lines"]


def test_a_file_changed_under_its_old_time_is_refused(workspace):
    artefact = publish(workspace, "words")
    path = artefact.path / "inner" / "text"
    status = path.stat()
    path.write_text("sword")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(GltaError, match="changed after it was published"):
        artefact.file("inner/text")


LATEST = ["", "[]", "null", "{}", '{"name": 5}', '{"name": ""}', '{"name": "gone"}', '{"name": "../x"}', "{"]


@pytest.mark.parametrize("content", [*LATEST, None])
def test_a_damaged_pointer_leads_to_the_newest_finished_run_with_a_word(workspace, content, capsys):
    recipe = {"finetune": {"enabled": False}}
    workspace.publish("pretrain-graph", "abc", lambda folder: {}, settings={}, inputs={}, seed=0)
    for place, (name, stages) in enumerate(
        [("older", {"pretrain-graph": "abc"}), ("finished", {"pretrain-graph": "abc"}), ("begun", {})]
    ):
        workspace.save_run(Run(name, recipe, stages))
        os.utime(workspace.root / "runs" / f"{name}.json", (place, place))
    pointer = workspace.root / "runs" / "latest"
    if content is None:
        pointer.unlink()
    else:
        pointer.write_text(content)
    assert workspace.latest_run().name == "finished"
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {pointer}: ")
    assert told.endswith("; taking the newest finished run, finished\n")


def test_no_flipped_bit_of_the_pointer_takes_another_run_without_a_word(workspace, capsys):
    for name in ("b", "c", "a"):  # a bit lies between each two of these names
        workspace.save_run(Run(name, {}, {}))
    pointer = workspace.root / "runs" / "latest"
    whole = pointer.read_bytes()
    for bit in range(8 * len(whole)):
        pointer.write_bytes(flipped(whole, bit))
        run = workspace.latest_run()
        assert run is not None
        assert "warning" in capsys.readouterr().err


def test_without_any_run_a_damaged_pointer_leads_nowhere(workspace):
    (workspace.folder("runs") / "latest").write_text("{")
    assert workspace.latest_run() is None


# ------------------------------------------------------------------------------------- what is only read


def test_a_run_that_is_the_latest_already_is_not_written_again(workspace, monkeypatch):
    run = Run("toy", recipe(0), {"align": "abc"})
    workspace.save_run(run)
    monkeypatch.setattr("glta_cli.workspace.workspace.write_sealed_json", lambda *_: pytest.fail("written again"))
    workspace.save_run(run)


def read_only(monkeypatch):
    """As a file system that is mounted read-only answers; root may write wherever the mode forbids it."""

    def refused(path, *arguments, **named):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("glta_cli.workspace.workspace.write_sealed_json", refused)
    monkeypatch.setattr("glta_cli.core.temporary.Path.mkdir", refused)
    monkeypatch.setattr("filelock.FileLock.acquire", lambda lock, *_, **__: refused(lock.lock_file))


def test_a_finished_run_can_be_looked_at_where_nothing_can_be_written(workspace, monkeypatch):
    workspace.save_run(Run("toy", recipe(0), {}))
    workspace.save_run(Run("other", recipe(1), {}))
    publish(workspace)
    read_only(monkeypatch)
    workspace.save_run(Run("toy", recipe(0), {}))
    assert workspace.published_or_made("align", "abc", lambda: pytest.fail("made again"))[1]


def test_what_has_to_be_written_in_a_read_only_folder_names_it(workspace, monkeypatch):
    for folder in ("stages/align", "locks", "runs"):
        workspace.folder(folder)
    read_only(monkeypatch)
    for write in (
        lambda: workspace.save_run(Run("toy", recipe(0), {})),
        lambda: publish(workspace),
        lambda: workspace.published_or_made("align", "abc", lambda: publish(workspace)),
    ):
        with pytest.raises(ReadOnlyError, match="Read-only file system") as caught:
            write()
        assert caught.value.location == str(workspace.root)


def test_a_stage_that_has_no_room_does_not_begin(workspace, monkeypatch):
    monkeypatch.setattr("glta_cli.core.storage.free_bytes", lambda folder: 999)
    with pytest.raises(GltaError, match=r"about 1\.0 kB are needed, 999 bytes are free"):
        workspace.publish(
            "align", "abc", lambda folder: pytest.fail("begun"), settings={}, inputs={}, seed=0, needed=1000
        )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fills_up_or_fails_leaves_nothing_and_says_so(workspace, number):
    def write(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("done")
        raise OSError(number, os.strerror(number))

    with pytest.raises(GltaError, match="the disk") as caught:
        workspace.publish("align", "abc", write, settings={}, inputs={}, seed=0)
    assert caught.value.location == str(workspace.root)
    assert list((workspace.root / "stages" / "align").iterdir()) == []


def test_the_next_process_that_writes_removes_what_a_killed_one_left(workspace):
    script = """
import os, signal, sys
from pathlib import Path
from glta_cli.workspace.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
workspace.publish("align", "abc", lambda folder: os.kill(os.getpid(), signal.SIGKILL), settings={}, inputs={}, seed=0)
"""
    assert subprocess.run([sys.executable, "-c", script, str(workspace.root)]).returncode == -signal.SIGKILL
    assert len(list((workspace.root / "stages" / "align").iterdir())) == 1
    with workspace.locked("align-abc"):
        assert list((workspace.root / "stages" / "align").iterdir()) == []
