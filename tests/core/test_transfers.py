"""Servers that misbehave: what is not the file is refused or fetched anew, told in one error, and never kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from glta_cli.core import transfers
from glta_cli.core.downloads import DEFAULT_LIMIT, Downloads, download_limit, is_url, shown_url
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import write_json
from glta_cli.data.preparation import prepare
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

CONTENT = b"user,item\n" + b"".join(b"u%d,i%d\n" % (each, each % 7) for each in range(2000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
PAGE = b"\n <!DOCTYPE HTML>\n<html><body>please log in</body></html>"

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(
    body: bytes = CONTENT, status: int = 200, *, length: int | None = None, endless: bool = False, **headers: str
) -> Answer:
    """What a server does with a request; `length` is what it says, and what is left out it does not send."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if not endless:
            request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)
        while endless:
            request.wfile.write(body)

    return send


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """Gives its answers one after the other, the last one again and again; `ranges` are those it was asked for."""
    state = SimpleNamespace(answers=[answer()], ranges=[], url="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range"))
            act = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            with suppress(ConnectionError):  # the client has seen enough
                act(self)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.url = f"http://127.0.0.1:{http.server_port}/data.csv"
    yield state
    http.shutdown()
    http.server_close()


@pytest.fixture
def half_here(tmp_path: Path, server: SimpleNamespace) -> Path:
    """The first half of the file, of the edition "one", as an interrupted run leaves it."""
    part = place_of(tmp_path, server.url).with_name("data.csv.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:HALF])
    write_json(part.with_name("data.csv.part.json"), {"validator": '"one"'})
    return part


def place_of(folder: Path, url: str) -> Path:
    host, _, name = url.removeprefix("http://").partition("/")
    return folder / host.replace(":", "-") / name


def kept(folder: Path) -> list[str]:
    """What lies below a folder, locks left out."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def refusal(folder: Path, url: str, **expected: object) -> GltaError:
    with pytest.raises(GltaError) as caught:
        Downloads(folder).url(url, **expected)
    return caught.value


# ------------------------------------------------------------------------------------------ resuming


def part_answer(start: int, stop: int, total: int | str) -> Answer:
    """A part of the file, whatever was asked for, with its first byte, its last one and the file's length as given."""
    return answer(CONTENT[start:stop], 206, ETag='"one"', Content_Range=f"bytes {start}-{stop - 1}/{total}")


def test_the_rest_is_appended_where_it_starts_at_the_end_of_the_part(tmp_path, server, half_here):
    server.answers = [part_answer(HALF, len(CONTENT), len(CONTENT))]
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-"]
    assert kept(tmp_path) == ["data.csv"]


@pytest.mark.parametrize(
    "wrong",
    [
        part_answer(HALF - 5, len(CONTENT), len(CONTENT)),
        part_answer(HALF + 5, len(CONTENT), len(CONTENT)),
        part_answer(0, len(CONTENT), len(CONTENT)),
        part_answer(HALF, len(CONTENT), HALF + 1),
        answer(CONTENT[HALF:], 206, Content_Range="lines 3-4/9"),
        answer(CONTENT[HALF:], 206, Content_Range="bytes */99"),
        answer(CONTENT[HALF:], 206),
    ],
)
def test_another_part_than_was_asked_for_is_not_appended(tmp_path, server, half_here, wrong):
    server.answers = [wrong, answer()]
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("expected", [{"size": len(CONTENT)}, {}])
def test_a_part_of_a_file_of_another_length_is_not_appended(tmp_path, server, half_here, expected):
    known = {"validator": '"one"', "total": len(CONTENT)}
    write_json(half_here.with_name("data.csv.part.json"), known)
    server.answers = [part_answer(HALF, len(CONTENT), len(CONTENT) + 7), answer()]
    assert Downloads(tmp_path).url(server.url, **expected).read_bytes() == CONTENT


def test_a_server_that_sends_parts_only_is_given_up(tmp_path, server):
    server.answers = [part_answer(HALF, len(CONTENT), len(CONTENT))]
    assert "sends a part of the file where all of it was asked for" in str(refusal(tmp_path, server.url))
    assert kept(tmp_path) == []


def test_a_part_that_ends_early_is_continued(tmp_path, server, half_here):
    server.answers = [
        part_answer(HALF, HALF + 100, len(CONTENT)),
        part_answer(HALF + 100, len(CONTENT), len(CONTENT)),
    ]
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "damaged", ["", "[]", "null", '{"validator": 7}', '{"validator": "a\\nb"}', '{"validator": "\\u00e9"}', "[" * 9000]
)
def test_what_is_known_of_a_part_may_be_damaged(tmp_path, server, half_here, damaged):
    half_here.with_name("data.csv.part.json").write_text(damaged)
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_damaged_part_is_fetched_anew_where_the_hash_tells(tmp_path, server, half_here):
    half_here.write_bytes(bytes(HALF))
    server.answers = [part_answer(HALF, len(CONTENT), len(CONTENT)), answer()]
    assert Downloads(tmp_path).url(server.url, sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_part_longer_than_the_file_is_fetched_anew(tmp_path, server, half_here):
    half_here.write_bytes(CONTENT * 2)
    server.answers = [answer(b"", 416), answer()]
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["data.csv", "data.csv.part", "data.csv.part.json"])
def test_a_folder_in_the_place_of_the_file_is_told(tmp_path, server, name):
    place_of(tmp_path, server.url).with_name(name).mkdir(parents=True)
    assert name in str(refusal(tmp_path, server.url))


# ------------------------------------------------------------------------------- what is not the file


@pytest.mark.parametrize(
    "page",
    [
        answer(PAGE, Content_Type="text/html; charset=utf-8"),
        answer(b"anything", Content_Type="text/html"),
        answer(PAGE, Content_Type="text/csv"),
        answer(b"\xef\xbb\xbf<html lang='en'>"),
    ],
)
def test_a_web_page_is_not_kept_as_the_file(tmp_path, server, page):
    server.answers = [page]
    error = refusal(tmp_path, server.url)
    assert error.location == server.url
    assert "web page (HTML)" in error.problem
    assert "put the file at" in str(error.hint)
    assert kept(tmp_path) == []
    server.answers = [answer()]
    assert Downloads(tmp_path).url(server.url).read_bytes() == CONTENT


def test_a_web_page_is_taken_where_one_is_asked_for(tmp_path, server):
    server.answers = [answer(PAGE, Content_Type="text/html")]
    assert Downloads(tmp_path).url(server.url.replace(".csv", ".html")).read_bytes() == PAGE


def test_a_web_page_kept_before_is_named_and_left(tmp_path, server):
    target = place_of(tmp_path, server.url)
    target.parent.mkdir(parents=True)
    target.write_bytes(PAGE)
    error = refusal(tmp_path, server.url)
    assert (error.location, error.hint) == (str(target), "remove it, and it is fetched anew")
    assert server.ranges == []


@pytest.mark.parametrize("status", [204, 205, 206, 304, 403, 500])
def test_an_answer_without_a_file_is_no_file(tmp_path, server, status):
    server.answers = [answer(b"", status)]
    assert server.url in str(refusal(tmp_path, server.url))
    assert kept(tmp_path) == []


def test_an_empty_answer_is_no_file(tmp_path, server):
    server.answers = [answer(b"")]
    assert "empty file" in str(refusal(tmp_path, server.url))
    assert kept(tmp_path) == []


def test_a_body_of_another_length_than_expected_is_refused_before_it_comes(tmp_path, server):
    server.answers = [answer(CONTENT[:100], length=10**12)]
    error = refusal(tmp_path, server.url, size=len(CONTENT))
    assert f"1,000,000,000,000 bytes instead of {len(CONTENT):,}" in error.problem
    assert kept(tmp_path) == []


def test_a_body_that_does_not_end_is_stopped_at_the_size_known(tmp_path, server):
    server.answers = [answer(endless=True)]
    assert f"instead of {len(CONTENT):,}" in refusal(tmp_path, server.url, size=len(CONTENT)).problem
    assert kept(tmp_path) == []


def test_a_body_that_does_not_end_is_stopped_at_the_limit(tmp_path, server, monkeypatch):
    monkeypatch.setenv("GLTA_DOWNLOAD_LIMIT", "3MB")
    server.answers = [answer(endless=True)]
    assert "3,000,000 is the most that is taken" in refusal(tmp_path, server.url).problem
    assert kept(tmp_path) == []


def test_a_body_that_does_not_end_leaves_room_on_the_disk(tmp_path, server, monkeypatch):
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    server.answers = [answer(endless=True)]
    assert "900,000 is the most" in refusal(tmp_path, server.url).problem
    assert kept(tmp_path) == []


def test_a_file_beyond_the_limit_or_the_disk_is_refused_before_it_comes(tmp_path, server, monkeypatch):
    server.answers = [answer(CONTENT[:9], length=10**15)]
    assert "64,000,000,000 is the most that is taken" in refusal(tmp_path, server.url).problem
    with pytest.raises(GltaError, match="10,000 is the most"):
        Downloads(tmp_path, limit=10_000).url(server.url)
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda folder: SimpleNamespace(free=7))
    server.answers = [answer()]
    error = refusal(tmp_path, server.url)
    assert f"{len(CONTENT):,} bytes are needed and 7 are free" in error.problem
    assert "run the same command again" in str(error.hint)
    assert kept(tmp_path) == []


def test_a_body_shorter_than_it_says_is_not_the_file(tmp_path, server):
    server.answers = [answer(CONTENT[:HALF], length=len(CONTENT))]
    assert server.url in str(refusal(tmp_path, server.url))
    assert not place_of(tmp_path, server.url).exists()


def test_a_body_compressed_for_the_way_is_decompressed(tmp_path, server):
    two_members = gzip.compress(CONTENT[:HALF]) + gzip.compress(CONTENT[HALF:])
    for body in (gzip.compress(CONTENT), two_members):
        server.answers = [answer(body, Content_Encoding="gzip", ETag='"one"')]
        path = Downloads(tmp_path).url(server.url, size=len(CONTENT), sha256=SHA256)
        assert path.read_bytes() == CONTENT
        path.unlink()


def test_a_file_that_is_gzip_by_itself_stays_as_it_is(tmp_path, server):
    body = gzip.compress(CONTENT)
    server.answers = [answer(body, Content_Encoding="x-gzip")]
    assert Downloads(tmp_path).url(f"{server.url}.gz").read_bytes() == body


@pytest.mark.parametrize(
    ("compressed", "problem"),
    [
        (answer(gzip.compress(CONTENT)[:-9], Content_Encoding="gzip"), "ends early"),
        (answer(CONTENT, Content_Encoding="gzip"), "cannot be decompressed"),
        (answer(CONTENT, Content_Encoding="br"), "compressed as br, which was not asked for"),
        (answer(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), "1,000,000 is the most"),
    ],
)
def test_a_compressed_body_that_is_wrong_is_refused(tmp_path, server, monkeypatch, compressed, problem):
    monkeypatch.setenv("GLTA_DOWNLOAD_LIMIT", "1MB")
    server.answers = [compressed]
    assert problem in refusal(tmp_path, server.url).problem
    assert kept(tmp_path) == []


# --------------------------------------------------------------------------------- servers that wait


def silent(request: BaseHTTPRequestHandler) -> None:
    time.sleep(1)


def dripping(request: BaseHTTPRequestHandler) -> None:
    answer(b"u", length=10**6)(request)
    for _ in range(50):
        request.wfile.write(b"x")
        time.sleep(0.02)


def test_a_server_that_says_nothing_is_given_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr(transfers, "TIMEOUT", httpx.Timeout(0.2))
    server.answers = [silent]
    assert "cannot be downloaded" in refusal(tmp_path, server.url).problem


def test_a_server_that_sends_next_to_nothing_is_given_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr(transfers, "PATIENCE", 0.2)
    server.answers = [dripping]
    assert "bytes in 0 seconds" in refusal(tmp_path, server.url).problem


# ------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize("elsewhere", ["file:///etc/passwd", "ftp://127.0.0.1/data.csv", "javascript:alert(1)"])
def test_a_redirect_to_what_is_not_http_is_refused(tmp_path, server, elsewhere):
    server.answers = [answer(b"", 302, Location=elsewhere)]
    assert refusal(tmp_path, server.url).location == server.url
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a%00b.csv",
        "http://127.0.0.1:9/%1b]0;x.csv",
        f"http://127.0.0.1:9/{'n' * 300}.csv",
        f"http://127.0.0.1:9/{'n' * 300}/data.csv",
        f"http://{'h' * 300}/data.csv",
        "http://127.0.0.1:999999/data.csv",
        "http://[::1/data.csv",
        "http:///data.csv",
        "http://127.0.0.1:9/..",
        "http://127.0.0.1:9",
    ],
)
def test_an_address_that_names_no_file_is_an_input_error(tmp_path, url):
    with pytest.raises(InputError, match="is no address"):
        Downloads(tmp_path).url(url)
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_neither_shown_nor_part_of_a_path(tmp_path, server):
    secret = server.url.replace("http://", "http://ann:hunter2@") + "?token=hunter2#hunter2"
    server.answers = [answer(status=404)]
    error = refusal(tmp_path, secret)
    assert error.location == f"{server.url}?..."
    assert "hunter2" not in str(error)
    server.answers = [answer(b"", 302, Location="ftp://ann:hunter2@127.0.0.1/x")]
    assert "hunter2" not in str(refusal(tmp_path, secret))
    server.answers = [answer()]
    assert "hunter2" not in str(Downloads(tmp_path).url(secret))


def test_what_is_shown_of_an_address():
    assert shown_url("https://ann:pass@word@example.org/a.csv?key=1") == "https://example.org/a.csv?..."
    assert shown_url("https://example.org/a.csv") == "https://example.org/a.csv"
    assert shown_url("folder/odd#name?.csv") == "folder/odd#name?.csv"


def test_addresses_that_differ_in_what_they_ask_are_different_files(tmp_path, server):
    server.answers = [answer(b"one"), answer(b"two")]
    paths = [Downloads(tmp_path).url(f"{server.url}?id={number}") for number in (1, 2)]
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert {path.name for path in paths} == {"data.csv"}


@pytest.mark.parametrize(
    ("named", "limit"), [("", DEFAULT_LIMIT), ("1000", 1000), ("1.5 GB", 1_500_000_000), ("2t", 2 * 10**12)]
)
def test_the_limit_is_set_in_bytes_or_in_units(monkeypatch, named, limit):
    monkeypatch.setenv("GLTA_DOWNLOAD_LIMIT", named)
    assert download_limit() == limit


@pytest.mark.parametrize("named", ["much", "-1", "1e9", "5 parsec", "9" * 400])
def test_a_limit_that_is_no_number_is_told(tmp_path, server, monkeypatch, named):
    monkeypatch.setenv("GLTA_DOWNLOAD_LIMIT", named)
    error = refusal(tmp_path, server.url)
    assert isinstance(error, InputError)
    assert error.location == "GLTA_DOWNLOAD_LIMIT"


def test_the_edition_of_a_part_is_kept_while_it_grows(tmp_path, server):
    server.answers = [answer(CONTENT[:HALF], length=len(CONTENT), ETag='"one"'), answer(status=500)]
    refusal(tmp_path, server.url)
    part = place_of(tmp_path, server.url).with_name("data.csv.part")
    assert part.read_bytes() == CONTENT[:HALF]
    edition = json.loads(part.with_name("data.csv.part.json").read_text())
    assert edition == {"validator": '"one"', "total": len(CONTENT)}


# --------------------------------------------------------------------------------- sources of datasets


def test_a_source_that_is_a_web_page_is_told_with_its_address(tmp_path, server):
    server.answers = [answer(PAGE, Content_Type="text/html")]
    settings = DatasetSettings(name="table", source=f"{server.url}?token=hunter2")
    with pytest.raises(GltaError) as caught:
        prepare(settings, Workspace(tmp_path))
    assert str(caught.value).startswith(f"{server.url}?...: the server sends a web page (HTML)")
    assert "hunter2" not in str(caught.value)
    server.answers = [answer()]
    assert prepare(settings, Workspace(tmp_path))[0].item_count == 7


@pytest.mark.parametrize("source", ["n" * 300, "a\0b", "ftp://ann:hunter2@127.0.0.1/x", "file:///etc/passwd"])
def test_a_source_that_cannot_be_is_told(tmp_path, source):
    with pytest.raises(InputError, match="no such file or folder") as caught:
        prepare(DatasetSettings(name="table", source=source), Workspace(tmp_path))
    assert "hunter2" not in str(caught.value)
    assert "http://" in str(caught.value.hint)


def test_an_address_may_be_in_capitals(tmp_path, server):
    assert is_url(server.url.replace("http", "HTTP"))
    assert Downloads(tmp_path).url(server.url.replace("http", "HTTP")).read_bytes() == CONTENT
