"""Histories that name the events of the log, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import glta_cli
from glta_cli.answers.history_entries import Met
from glta_cli.answers.question import Question

ASK = "/v1/recommendations"


@pytest.fixture
def shop(make_client: Callable[..., TestClient], shop_with_events: str) -> TestClient:
    return make_client(run=shop_with_events)


def test_an_entry_with_its_event_is_answered_as_in_python(
    shop: TestClient, shop_with_events: str, served_root: Path
) -> None:
    run = glta_cli.load(shop_with_events, served_root)
    expected = run.answer(Question(history=(Met("0001", "purchase"), Met("0002", "view"), "0003"), k=24, model="ease"))
    assert expected["history"][-1]["events"] == ["purchase"]
    for history in (
        [{"item": "0001", "event": "purchase"}, {"item": "Lamp 2", "event": "view"}, "0003"],
        ["0001=purchase", "lamp 2=view", {"item": "0003", "event": None}],
    ):
        assert shop.post(ASK, json={"history": history, "k": 24, "model": "ease"}).json() == expected
    asked = {"history": ["0001", "0002", "0003"], "k": 24, "model": "ease"}
    assert shop.post(ASK, json=asked).json()["recommendations"] != expected["recommendations"]


def test_what_is_served_is_said_with_the_events_that_count(shop: TestClient, client: TestClient) -> None:
    assert shop.get("/v1/run").json()["events"] == [
        {"event": "view", "weight": 1.0, "seen": False},
        {"event": "purchase", "weight": 3.0, "seen": True},
    ]
    assert client.get("/v1/run").json()["events"] == []


@pytest.mark.parametrize(
    ("entry", "where", "what", "hint"),
    [
        ({"item": "0001", "event": "buy"}, "history", "the log has no event 'buy'", "name one of them"),
        ({"item": "Lmap 1", "event": "view"}, "history", "no item has the id or the title 'Lmap 1'", "Lamp 1"),
        ({"item": "0001", "event": "cart"}, "history", "nothing is left of it", "view, purchase"),
        ({"item": "0001", "evnet": "view"}, "history.0.evnet", "no such setting", "did you mean 'event'?"),
        ({"event": "view"}, "history.0.item", "it is missing", ""),
        ({"item": "", "event": "view"}, "history.0.item", "at least 1 character", ""),
        (7, "history.0", "valid string", ""),
        ("", "history.0", "at least 1 character", ""),
    ],
)
def test_a_wrong_entry_is_told_what_is_wrong_about_it(
    shop: TestClient, entry: Any, where: str, what: str, hint: str
) -> None:
    answer = shop.post(ASK, json={"history": [entry]})
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert (error["where"], what in error["what"]) == (where, True), error
    assert hint in str(error["hint"])
