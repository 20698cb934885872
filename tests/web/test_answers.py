"""Over HTTP a run answers what the command does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import glta_cli
from glta_cli.answers.question import Question

ASK = "/v1/recommendations"


def test_every_user_gets_the_list_of_the_command_by_every_row(client: TestClient, served_root: Path) -> None:
    run = glta_cli.load("served", served_root)
    assert len(run.rows) >= 3
    for model in run.rows:
        users = run.index.user_ids.tolist()
        answers = [client.get(f"/v1/users/{user}/recommendations?k=7&model={model}").json() for user in users]
        assert answers == run.answers([Question(user=user, k=7, model=model) for user in users])


def test_a_person_in_no_file_is_answered_by_ids_and_titles(client: TestClient, served_root: Path) -> None:
    run = glta_cli.load("served", served_root)
    answer = client.post(ASK, json={"history": ["i3", "space film 7", "i12"], "k": 5}).json()
    assert answer == run.answer(Question(history=("i3", "Space film 7", "i12"), k=5))
    assert answer["user"] is None
    assert [entry["item"] for entry in answer["history"]] == ["i12", "i7", "i3"]


def test_a_user_asked_for_in_a_body_is_the_one_of_the_address(client: TestClient) -> None:
    body = {"user": "u7", "k": 3, "include_seen": True}
    address = "/v1/users/u7/recommendations?k=3&include_seen=true"
    assert client.post(ASK, json=body).json() == client.get(address).json()


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"diversity": 0.3}, {"diversity": 0.3}),
        ({"because": True}, {"because": True}),
        ({"only": ["i1", "Space film 2", "i30"]}, {"only": ("i1", "Space film 2", "i30")}),
        ({"except": ["i4", "i14"]}, {"without": ("i4", "i14")}),
        ({"include_seen": True}, {"include_seen": True}),
    ],
    ids=lambda given: next(iter(given)),
)
def test_items_are_chosen_as_the_command_does(
    client: TestClient, served_root: Path, body: dict[str, Any], asked: dict[str, Any]
) -> None:
    run = glta_cli.load("served", served_root)
    known = client.post(ASK, json={"user": "u7", "k": 5, **body}).json()
    assert known == run.answer(Question(user="u7", k=5, **asked))
    new = client.post(ASK, json={"history": ["i3", "i7"], "k": 5, **body}).json()
    assert new == run.answer(Question(history=("i3", "i7"), k=5, **asked))
    plain = client.post(ASK, json={"user": "u7", "k": 5}).json()
    assert known != plain


def test_items_like_one_are_those_of_the_command(client: TestClient, served_root: Path) -> None:
    run = glta_cli.load("served", served_root)
    for item, by in (("i3", None), ("space film 3", "linear"), ("i3", "graph")):
        parameters = {"k": "4", **({} if by is None else {"by": by})}
        assert client.get(f"/v1/items/{item}/similar", params=parameters).json() == run.alike(item, 4, by=by)
    assert client.get("/v1/items/i300/similar").status_code == 404


def test_items_are_found_by_their_words(client: TestClient) -> None:
    found = client.get("/v1/items", params={"query": "film 1", "k": 2}).json()
    assert found["query"] == "film 1"
    titles = [entry["title"] for entry in found["items"]]
    assert titles[0] == "Space film 1"
    assert len(titles) == 2
    assert all("film" in title and "1" in title for title in titles)
    assert client.get("/v1/items", params={"query": "nothing of the kind"}).json()["items"] == []


def test_what_is_served_is_said_with_how_good_it_is(client: TestClient, served_root: Path) -> None:
    run, said = glta_cli.load("served", served_root), client.get("/v1/run").json()
    assert (said["name"], said["dataset"], said["rows"]) == ("served", "table", run.rows)
    assert (said["interactions"], said["newest"]) == (run.known["interactions"], "2020-09-13")
    # What validation chose among: each term alone, also one that has no part in what is served, and their sum.
    assert {row["row"] for row in said["evaluation"]} == {"lightgcn", "ease", "glta-llm", "glta"}
    assert all(0 < row["ndcg@10"] < 1 for row in said["evaluation"])


def test_every_address_is_described_with_examples(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert {
        "/v1/users/{user}/recommendations",
        "/v1/recommendations",
        "/v1/items",
        "/v1/items/{item}/similar",
        "/v1/run",
        "/health",
        "/ready",
        "/metrics",
    } <= set(described["paths"])
    assert described["components"]["schemas"]["Asked"]["examples"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)


@pytest.mark.parametrize("metric", ["glta_http_requests_total", "glta_http_request_seconds_bucket", "glta_batch_size"])
def test_what_is_answered_is_counted(client: TestClient, metric: str) -> None:
    client.get("/v1/users/u7/recommendations")
    client.get("/v1/users/nobody/recommendations")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert metric in answer.text
    route = 'method="GET",route="/v1/users/{user}/recommendations"'
    assert f'glta_http_requests_total{{{route},status="200"}} 1.0' in answer.text
    assert f'glta_http_requests_total{{{route},status="404"}} 1.0' in answer.text
    # Whose lists they were is told to nobody.
    assert "u7" not in answer.text
