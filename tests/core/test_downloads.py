"""Downloads, against a server on this machine: resume, checks, and what a failure tells."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from glta_cli.core import downloads as download
from glta_cli.core.downloads import Downloads
from glta_cli.core.errors import GltaError
from glta_cli.data.preparation import prepare
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Files(BaseHTTPRequestHandler):
    """Serves one file, with ranges; each break sends half of what is asked for, then hangs up."""

    content = CONTENT
    tag = '"one"'
    breaks = 0
    status = 200
    ranges: list[str | None]

    def do_GET(self) -> None:
        cls = type(self)
        wanted = self.headers.get("Range")
        cls.ranges.append(wanted)
        if cls.status != 200:
            self.send_error(cls.status)
            return
        start = 0
        if wanted and self.headers.get("If-Range") == cls.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = cls.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", cls.tag)
        self.end_headers()
        if cls.breaks:
            cls.breaks -= 1
            self.wfile.write(body[: len(body) // 2])
        else:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def files() -> type[Files]:
    return type("Served", (Files,), {"ranges": []})


@pytest.fixture
def address(files: type[Files]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), files)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_once_and_checked(tmp_path, files, address):
    downloads = Downloads(tmp_path)
    path = downloads.url(f"{address}/a/data.bin", size=len(CONTENT), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert downloads.url(f"{address}/a/data.bin", sha256=SHA256) == path
    assert len(files.ranges) == 1
    assert [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] == ["data.bin"]


def test_equal_names_of_different_releases_stay_apart(tmp_path, address):
    downloads = Downloads(tmp_path)
    assert downloads.url(f"{address}/2014/meta.json") != downloads.url(f"{address}/2018/meta.json")


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, files, address):
    files.breaks = 1
    path = Downloads(tmp_path).url(f"{address}/data.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert files.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(tmp_path, files, address):
    files.breaks = 10
    with pytest.raises(GltaError):
        Downloads(tmp_path).url(f"{address}/data.bin", sha256=SHA256)
    tried = len(files.ranges)
    files.breaks = 0
    assert Downloads(tmp_path).url(f"{address}/data.bin", sha256=SHA256).read_bytes() == CONTENT
    assert len(files.ranges) == tried + 1
    assert files.ranges[-1] is not None


def test_a_part_of_another_edition_is_not_continued(tmp_path, files, address):
    files.breaks = 10
    with pytest.raises(GltaError):
        Downloads(tmp_path).url(f"{address}/data.bin")
    files.breaks, files.content, files.tag = 0, b"a new edition", '"two"'
    assert Downloads(tmp_path).url(f"{address}/data.bin").read_bytes() == b"a new edition"


@pytest.mark.parametrize(
    ("expected", "problem"),
    [({"size": 7}, "1,024,000 bytes instead of 7"), ({"sha256": "0" * 64}, "its SHA-256 is not 0000")],
)
def test_an_unexpected_file_is_refused_and_removed(tmp_path, address, expected, problem):
    with pytest.raises(GltaError, match=problem) as caught:
        Downloads(tmp_path).url(f"{address}/data.bin", **expected)
    assert "or name a local copy with --source" in str(caught.value)
    assert not list(tmp_path.rglob("data.bin*"))


def test_a_wrong_file_put_by_hand_is_refused_but_kept(tmp_path, address):
    downloads = Downloads(tmp_path)
    path = downloads.url(f"{address}/data.bin")
    path.write_bytes(b"another edition")
    with pytest.raises(GltaError, match="not the expected file") as caught:
        downloads.url(f"{address}/data.bin", sha256=SHA256)
    assert "remove it" in str(caught.value)
    assert path.read_bytes() == b"another edition"


def test_a_failure_says_which_file_to_put_where(tmp_path, files, address):
    files.status = 404
    with pytest.raises(GltaError) as caught:
        Downloads(tmp_path).url(f"{address}/set/data.bin")
    message = str(caught.value)
    assert "the server answered 404" in message
    (folder,) = (path for path in tmp_path.rglob("set") if path.is_dir())
    target = folder / "data.bin"
    assert f"put the file at {target}" in message
    target.write_bytes(b"by hand")
    assert Downloads(tmp_path).url(f"{address}/set/data.bin").read_bytes() == b"by hand"


def test_an_unreachable_server_fails_at_once(tmp_path):
    with pytest.raises(GltaError, match="cannot be downloaded"):
        Downloads(tmp_path).url("http://127.0.0.1:9/data.bin")


def test_a_source_may_be_a_url(tmp_path, files, address):
    files.content = b"user,item\nann,tea\n"
    settings = DatasetSettings(name="table", source=f"{address}/interactions.csv")
    dataset, _ = prepare(settings, Workspace(tmp_path))
    assert dataset.user_ids == ["ann"]


# --------------------------------------------------------------------------------------------- through pip


def fake_pip(folder: Path, script: str) -> str:
    """An interpreter whose `pip download -d FOLDER -r FILE` runs `script` with $folder and $requirements."""
    path = folder / "python"
    path.write_text('#!/bin/sh\nwhile [ "$1" != "-d" ]; do shift; done\nfolder="$2"; requirements="$4"\n' + script)
    path.chmod(0o755)
    return str(path)


def test_a_wheel_is_fetched_with_its_hash_pinned_and_kept(tmp_path, monkeypatch):
    wheel = b"wheel"
    digest = hashlib.sha256(wheel).hexdigest()
    script = (
        f"grep -qx 'my-data==1.0 --hash=sha256:{digest}' $requirements || exit 1\n"
        'printf wheel > "$folder/my_data-1.0-py3-none-any.whl"\n'
    )
    monkeypatch.setattr(download.sys, "executable", fake_pip(tmp_path, script))
    path = Downloads(tmp_path / "downloads").pypi("my-data==1.0", sha256=digest)
    assert path.read_bytes() == wheel
    monkeypatch.setattr(download.sys, "executable", "/nonexistent/python")
    assert Downloads(tmp_path / "downloads").pypi("my-data==1.0", sha256=digest) == path


def test_pips_last_line_is_told_without_the_address_of_its_index(tmp_path, monkeypatch):
    script = "echo 'Looking' >&2; echo 'ERROR: 403 for https://user:secret@index.example/simple/' >&2; exit 1\n"
    monkeypatch.setattr(download.sys, "executable", fake_pip(tmp_path, script))
    with pytest.raises(GltaError) as caught:
        Downloads(tmp_path / "downloads").pypi("my-data==1.0", sha256="0" * 64)
    message = str(caught.value)
    assert message.startswith("my-data==1.0: pip cannot fetch it: ERROR: 403 for the package index")
    assert "secret" not in message
    assert f"put its wheel into {tmp_path / 'downloads' / 'wheels'}" in message
