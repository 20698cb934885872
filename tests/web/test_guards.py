"""Who may ask, how much at once, and by which name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glta_cli.answers.run import Run

USER = "/v1/users/u7/recommendations"
TOKEN = "a-token-of-more-than-16-characters"


@pytest.mark.parametrize("path", [USER, "/v1/run", "/v1/items?query=film", "/metrics", "/openapi.json"])
def test_with_a_token_nothing_but_the_state_is_told_without_it(
    make_client: Callable[..., TestClient], path: str
) -> None:
    client = make_client(token=TOKEN)
    for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}, {"Authorization": "Bearer ü"}):
        raw = {name: value.encode() for name, value in header.items()}
        answer = client.get(path, headers=raw)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["where"] == "Authorization"
        assert TOKEN not in answer.text
    assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/health").status_code == client.get("/ready").status_code == 200


def test_without_a_token_a_page_whose_name_leads_here_is_told_nothing(make_client: Callable[..., TestClient]) -> None:
    client = make_client()
    answer = client.get(USER, headers={"Host": "shop.example:8000"})
    assert answer.status_code == 421
    assert "token" in answer.json()["error"]["hint"]
    for own in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get(USER, headers={"Host": own}).status_code == 200


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    make_client: Callable[..., TestClient], announced: bool
) -> None:
    client = make_client(body_bytes=1_000)
    parts = [b'{"user": "', *[b"x" * 100] * 20, b'"}']
    content: Any = b"".join(parts) if announced else iter(parts)
    answer = client.post("/v1/recommendations", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert (error["where"], error["what"]) == ("body", "it is longer than 1,000 bytes")
    assert client.post("/v1/recommendations", json={"user": "u7"}).status_code == 200


def test_more_requests_than_may_be_worked_on_are_told_when_to_ask_again(
    make_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, free, begun = make_client(requests=2), threading.Event(), threading.Semaphore(0)
    answers = Run.answers

    def slow(run: Run, questions: Sequence[Any]) -> Any:
        for _ in questions:
            begun.release()
        assert free.wait(20)
        return answers(run, questions)

    monkeypatch.setattr(Run, "answers", slow)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.get, USER) for _ in range(2)]
        assert begun.acquire(timeout=20)
        assert begun.acquire(timeout=20)
        refused = client.get(USER)
        state = client.get("/ready")
        free.set()
        assert [each.result().status_code for each in waiting] == [200, 200]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["what"] == "2 requests are worked on already"
    # Whether it works is answered however much there is to do.
    assert state.status_code == 200
    assert 'glta_refused_total{full="requests"} 1.0' in client.get("/metrics").text
