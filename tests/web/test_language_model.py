"""What a language model has to read first waits in a queue of its own, goes together, and holds up nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run

ASK = "/v1/recommendations"
USER = "/v1/users/u7/recommendations"


def test_histories_that_are_read_are_answered_as_by_the_command(
    make_client: Callable[..., TestClient], served_root: Path
) -> None:
    client, run = make_client(run="read"), glta_cli.load("read", served_root)
    answer = client.post(ASK, json={"history": ["i3", "i7"], "deep": True}).json()
    assert answer == run.answer(Question(history=("i3", "i7"), deep=True))
    assert answer["row"] == "glta-llm"
    assert 'glta_batch_size_count{by="language model"} 1.0' in client.get("/metrics").text


def test_wishes_are_answered_as_by_the_command_and_without_a_word_in_the_log(
    client: TestClient, served_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = {"wish": "a garden book", "wish_weight": 2.0}
    of_user, of_anybody = (client.post(ASK, json={**person, **wish}).json() for person in ({"user": "u7"}, {}))
    assert "read wishes" not in capsys.readouterr().err
    run = glta_cli.load("served", served_root)
    assert of_user == run.answer(Question(user="u7", **wish))
    assert of_anybody == run.answer(Question(**wish))


def test_whoever_comes_when_too_many_wait_is_told_when_to_ask_again_and_others_are_answered(
    make_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, free, begun = make_client(language_waiting=1), threading.Event(), threading.Event()
    answers, batches = Run.answers, list[int]()

    def slow(run: Run, questions: Sequence[Question]) -> Any:
        if any(question.wish for question in questions):
            batches.append(len(questions))
            begun.set()
            assert free.wait(60)
            questions = [Question(user=question.user) for question in questions]
        return answers(run, questions)

    monkeypatch.setattr(Run, "answers", slow)
    body = {"user": "u7", "wish": "a film"}
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, ASK, json=body)
        assert begun.wait(60)
        second = pool.submit(client.post, ASK, json=body)
        while "glta_language_waiting 1.0" not in client.get("/metrics").text:
            pass
        third = client.post(ASK, json=body)
        known = client.get(USER)
        free.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
    assert (third.status_code, third.headers["retry-after"]) == (503, "1")
    assert third.json()["error"]["what"] == "too many requests wait for the language model"
    assert known.status_code == 200
    assert batches == [1, 1]
