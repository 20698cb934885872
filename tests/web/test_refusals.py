"""Whatever is wrong is answered as where, what and hint."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.errors import GltaError
from glta_cli.recipe.files import recipe_from
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.web.app import create_app
from glta_cli.web.limits import Limits
from glta_cli.web.live_run import LiveRun
from glta_cli.web.measures import Measures
from glta_cli.web.service import Service
from glta_cli.web.starting import LOCAL_NAMES, live_run
from glta_cli.workspace.workspace import Workspace

ASK = "/v1/recommendations"
USER = "/v1/users/u7/recommendations"


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"where", "what", "hint"}
    return error


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        ({"user": "u1", "k": 0}, "k", "greater than or equal to 1"),
        ({"user": "u1", "k": 1_001}, "k", "less than or equal to 1000"),
        ({"user": "u1", "k": True}, "k", "true is no number"),
        ({"user": "u1", "diversity": True}, "diversity", "true is no number"),
        ({"user": "u1", "k": "many"}, "k", "valid integer"),
        ({"user": "u1", "histry": []}, "histry", "no such setting"),
        ({"user": "u1", "text": 1}, "text", "no such setting"),
        ({"user": "u1", "body": 1}, "body", "no such setting"),
        ({"history": [{"item": "i1", "text": 1}]}, "history.0.text", "no such setting"),
        ({"user": "u1", "history": ["i1"]}, "body", "one of both"),
        ({}, "body", "one of both"),
        ({"history": []}, "history", "at least 1 item"),
        ({"history": ["i1"] * 1_001}, "history", "at most 1000 items"),
        ({"history": "i1"}, "history", "valid list"),
        ({"user": "u1", "only": ["i1"] * 10_001}, "only", "at most 10000 items"),
        ({"user": "u1", "except": [""]}, "except.0", "at least 1 character"),
        ({"user": "u1", "diversity": 1.5}, "diversity", "less than or equal to 1"),
        ({"user": "u1", "wish_weight": 1}, "body", "there is none"),
        ([], "body", "valid dictionary"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong_about_it(client: TestClient, body: Any, where: str, what: str) -> None:
    error = error_of(client.post(ASK, json=body), 422)
    assert error["where"] == where
    assert what in error["what"]


def test_one_text_where_a_list_belongs_is_shown_as_one(client: TestClient) -> None:
    error = error_of(client.post(ASK, json={"user": "u1", "where": "category=shoes"}), 422)
    assert error == {"where": "where", "what": "one text is no valid list", "hint": 'a list: ["category=shoes"]'}


def test_names_in_an_address_may_stand_between_commas(client: TestClient) -> None:
    together = client.get(f"{USER}?only=i1,i3,i5&include_seen=true&except=i3,i4").json()
    assert {each["item"] for each in together["recommendations"]} == {"i1", "i5"}
    assert error_of(client.get(f"{USER}?except=i777"), 422)["where"] == "except"


def test_a_misspelt_setting_is_no_silence_in_an_address_either(client: TestClient) -> None:
    error = error_of(client.get(f"{USER}?kk=3"), 422)
    assert error == {"where": "kk", "what": "there is no such setting", "hint": "did you mean 'k'?"}


def test_every_problem_of_a_request_is_told_at_once(client: TestClient) -> None:
    answer = client.post(ASK, json={"user": "u1", "k": 0, "diversity": -1})
    assert error_of(answer, 422)["where"] == "k"
    assert [problem["where"] for problem in answer.json()["also"]] == ["diversity"]


@pytest.mark.parametrize("text", ['{"user": ', "", '{"user": "\\ud800"}', "\x00", '{"user": 1e999}'])
def test_what_is_no_text_or_no_json_is_refused(client: TestClient, text: str) -> None:
    error_of(client.post(ASK, content=text, headers={"Content-Type": "application/json"}), 422)


def test_an_unknown_user_is_told_who_is_near_and_nothing_about_this_machine(
    client: TestClient, served_root: Path
) -> None:
    for answer in (client.get("/v1/users/u600/recommendations"), client.post(ASK, json={"user": "u600"})):
        error = error_of(answer, 404)
        assert error["where"] == "user"
        assert error["what"].startswith("no user is called 'u600' in run served (dataset table); there are 60 users")
        assert error["hint"] == "the nearest ids are u6, u0"
        assert str(served_root) not in answer.text


def test_an_address_nothing_is_at_and_a_wrong_method_are_told_so(client: TestClient) -> None:
    assert error_of(client.get("/v1/usrs"), 404)["what"] == "nothing is there"
    assert error_of(client.get("/v2/run"), 404)["hint"] == "did you mean /v1/run?"
    assert error_of(client.put(ASK), 405)["hint"] == "ask with POST"


def test_what_nobody_foresaw_is_told_without_its_traceback(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from glta_cli.answers.run import Run

    def broken(run: Run, questions: Any) -> Any:
        raise ZeroDivisionError("of a secret")

    monkeypatch.setattr(Run, "answers", broken)
    answer = client.get(USER)
    assert error_of(answer, 500)["what"] == "the service failed"
    assert "secret" not in answer.text


# ------------------------------------------------------------------------- between a training and its new index


@pytest.fixture
def trained_again(
    run_toy: Callable[..., Any], toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A service whose run is trained again after it was opened, and whose new index is not taken up."""
    settings = ("finetune.training.epochs=1", "fusion.terms=[encoder, llm]")
    first = run_toy(*settings, stage=SERVING, name="again")
    root = tmp_path / "workspace"
    shutil.copytree(toy_root / "stages", root / "stages")
    shutil.copytree(toy_root / "runs", root / "runs")

    async def never(self: LiveRun) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(LiveRun, "follow", never)
    measures = Measures()
    live = live_run("again", root, measures)
    app = create_app(Service(live, Limits(), measures), root, Limits(), None, LOCAL_NAMES)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        other = recipe_from(first.recipe.model_dump(mode="json"), ["seed=7"])
        Pipeline("again", other, Workspace(root), device="cpu").ensure(SERVING)
        yield client


def test_whoever_comes_between_a_training_and_its_index_is_told_when_to_ask_again(trained_again: TestClient) -> None:
    assert trained_again.get(USER).status_code == 200
    answer = trained_again.post(ASK, json={"user": "u7", "wish": "a lamp"})
    error = error_of(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert error["what"] == "was trained again after it was opened"


def test_what_is_gone_with_the_old_index_is_no_failure_while_the_new_one_is_opened(
    trained_again: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Run, question: Question) -> None:
        raise GltaError("is missing", location="vectors.safetensors")

    monkeypatch.setattr(Run, "_require_known", gone)
    answer = trained_again.get(USER)
    error = error_of(answer, 503)
    assert (error["where"], answer.headers["retry-after"]) == ("run", "1")
    assert error["what"] == "the run was published anew, and its index is being opened"


def test_what_is_broken_while_nothing_new_is_there_is_a_failure(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Run, question: Question) -> None:
        raise GltaError("is missing", location="vectors.safetensors")

    live = client.app.state.service.live  # type: ignore[attr-defined]
    monkeypatch.setattr(live, "_seen", live._stamp())
    monkeypatch.setattr(Run, "_require_known", gone)
    assert error_of(client.get(USER), 500)["what"] == "is missing"
