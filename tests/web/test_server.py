"""`glta serve` as a process: what it says, what it refuses to start with, how it stops and what it takes up."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from glta_cli.core.files import write_sealed_json
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.workspace import Workspace

USER = "/v1/users/u7/recommendations?k=3"
ASK = "/v1/recommendations"


def begun(server: Any, body: bytes, sent: int) -> socket.socket:
    """A connection that has sent the head of a request and some bytes of its body."""
    found = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST {ASK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    found.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:sent])
    return found


def received(connection: socket.socket) -> tuple[int, Any]:
    """The status and the JSON of the answer, up to the end of the connection or of what it announced."""
    file = connection.makefile("rb")
    status, length = int(file.readline().split()[1]), 0
    while line := file.readline().strip().lower():
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return status, json.loads(file.read(length))


def test_it_says_what_it_serves_and_ends_well_when_told_to(serve: Callable[..., Any]) -> None:
    server = serve()
    said = "".join(server.out)
    assert "serving run served (dataset table)" in said
    assert "interactions until 2020-09-13" in said
    assert max(map(len, said.splitlines())) <= 80
    assert server.get("/ready").json() == {"status": "ready"}
    server.terminate(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert "Traceback" not in "".join(server.err)


def test_fifty_requests_in_flight_are_answered_when_it_is_told_to_stop(serve: Callable[..., Any]) -> None:
    server = serve("--grace", "5")
    bodies = [json.dumps({"user": f"u{number}", "k": 3}).encode() for number in range(50)]
    connections = [begun(server, body, 5) for body in bodies]
    # The service has taken the last of them, too, once it answers what came later.
    assert server.get("/ready").status_code == 200
    server.terminate()
    until = time.monotonic() + 30
    while (state := server.get("/ready")).status_code == 200:
        assert time.monotonic() < until
    assert state.status_code == 503
    assert state.headers["connection"] == "close"
    for connection, body in zip(connections, bodies, strict=True):
        connection.sendall(body[5:])
    answers = [received(connection) for connection in connections]
    assert [status for status, _ in answers] == [200] * 50
    assert [answer["user"] for _, answer in answers] == [f"u{number}" for number in range(50)]
    assert server.process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        server.get("/ready")


def test_a_newly_published_index_is_taken_up_and_no_request_is_lost(serve: Callable[..., Any], own_root: Path) -> None:
    server = serve(root=own_root)
    lost, seen, ended = [], set[int](), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not ended.is_set():
                answer = client.get(server.address + USER)
                if answer.status_code != 200:
                    lost.append(answer.text)
                seen.add(answer.json()["interactions"])

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    before = server.get("/v1/run").json()["interactions"]
    publish_again(own_root, before + 1)
    until = time.monotonic() + 60
    while server.get("/v1/run").json()["interactions"] == before:
        assert time.monotonic() < until, "it is not taken up"
        time.sleep(0.1)
    time.sleep(0.2)
    ended.set()
    for asker in askers:
        asker.join()
    assert lost == []
    assert seen == {before, before + 1}
    assert any("a new index is taken up" in line for line in server.err)


def publish_again(root: Path, interactions: int) -> None:
    """Publish the index under another name, from so many interactions, and name it in the run's file, as `update`."""
    workspace = Workspace(root)
    run = workspace.required_run("served")
    folder = root / "stages" / SERVING
    copy = folder / "another"
    shutil.copytree(folder / run.stages[SERVING], copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["details"]["interactions"] = interactions
    manifest.pop("checksum", None)
    write_sealed_json(copy / "manifest.json", manifest)
    run.stages[SERVING] = "another"
    write_sealed_json(workspace.run_path("served"), run.as_stored())


def test_an_index_that_cannot_be_opened_leaves_the_old_one_answering(serve: Callable[..., Any], own_root: Path) -> None:
    server = serve(root=own_root)
    path = Workspace(own_root).run_path("served")
    path.write_text(path.read_text()[:-20])
    until = time.monotonic() + 60
    while not any("is not taken up" in line for line in server.err):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert server.get(USER).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(serve: Callable[..., Any]) -> None:
    server = serve("--receive-seconds", "1")
    slow = begun(server, b"x" * 100, 5)
    assert server.get(USER).status_code == 200
    status, answer = received(slow)
    assert (status, answer["error"]["where"]) == (408, "body")
    assert slow.recv(1) == b""


def test_a_head_that_does_not_come_is_not_waited_for(serve: Callable[..., Any]) -> None:
    server = serve("--receive-seconds", "1")
    slow = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    slow.sendall(b"GET /ready HTTP/1.1\r\nHost: 127")
    assert server.get(USER).status_code == 200
    assert slow.recv(1) == b""


def test_a_body_that_is_far_too_long_has_its_answer_though_it_is_not_read_to_the_end(serve: Callable[..., Any]) -> None:
    server = serve()
    answer = httpx.post(server.address + ASK, content=b"x" * (4 << 20), timeout=60)
    assert answer.status_code == 413
    assert server.get(USER).status_code == 200


@pytest.mark.parametrize("head", [b"GET /" + b"x" * 500_000, b"\x16\x03\x01\r\n\r\n"], ids=["too long", "no HTTP"])
def test_what_is_no_request_has_its_answer(serve: Callable[..., Any], head: bytes) -> None:
    server = serve()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(head)
    status, answer = received(connection)
    assert (status, answer["error"]["where"]) == (400, "request")
    assert connection.recv(1) == b""
    assert server.get(USER).status_code == 200


def test_others_cannot_ask_without_a_token(serve: Callable[..., Any], tmp_path: Path) -> None:
    refused = serve("--host", "0.0.0.0")
    assert refused.process.wait(60) == 2
    assert "there is no token" in "".join(refused.err)
    (tmp_path / "token").write_text("short\n")
    short = serve("--token-file", str(tmp_path / "token"))
    assert short.process.wait(60) == 2
    assert "5 characters can be guessed" in "".join(short.err)


def test_a_port_in_use_is_told(serve: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = serve("--port", str(port))
        assert server.process.wait(60) == 2
    assert f"--port: port {port} of 127.0.0.1 is in use by another program" in "".join(server.err)
