"""What a run answers with the models it was trained to: histories that are read, and wishes in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import WISH_WEIGHT, Question
from glta_cli.answers.readers import Readers
from glta_cli.answers.run import Run
from glta_cli.core.errors import GltaError, InputError
from glta_cli.main import app
from glta_cli.stages.lineage import SERVING

RunToy = Callable[..., Any]
HISTORY = ("i3", "i1", "i4")


@pytest.fixture(scope="module")
def run(run_toy: RunToy) -> Run:
    pipeline = run_toy(stage=SERVING, name="read")
    return glta_cli.load("read", pipeline.workspace.root)


def told(run: Run, *arguments: str) -> Any:
    root = str(run.artefact.path.parents[2])
    options = ["recommend", "--run", run.name, "--data-dir", root, *arguments]
    return CliRunner().invoke(app, options, catch_exceptions=False)


def titles(answer: dict[str, Any]) -> list[str]:
    return [entry["title"] for entry in answer["recommendations"]]


def test_a_history_that_is_read_is_ranked_by_the_language_model_too(run: Run) -> None:
    [deep] = run.answers([Question(history=HISTORY, model="glta-llm", deep=True, k=5)])
    assert (deep["row"], deep["terms"]) == ("glta-llm", {"glta-llm": 1.0})
    at_once = run.answer(Question(history=HISTORY, model="glta-llm", k=5))
    assert "glta-llm" not in at_once["terms"]
    asked = json.loads(
        told(run, "--history", ",".join(HISTORY), "--model", "glta-llm", "--deep", "-k", "5", "--json").stdout
    )
    assert asked["recommendations"] == deep["recommendations"]
    together = run.answers([Question(history=(item,), model="glta-llm", deep=True, k=5) for item in HISTORY])
    alone = run.answer(Question(history=HISTORY[1:2], model="glta-llm", deep=True, k=5))
    assert titles(together[1]) == titles(alone)


def test_deep_is_refused_where_nothing_is_read(run: Run) -> None:
    for question in (Question("u7", deep=True), Question(history=HISTORY, model="popularity", deep=True)):
        with pytest.raises(InputError) as caught:
            run.answer(question)
        assert caught.value.location == "deep"
    with pytest.raises(InputError) as caught:
        told(run, "--user", "u7", "--deep")
    assert caught.value.location == "--deep"


def test_a_wish_is_heard_as_much_as_it_weighs(run: Run) -> None:
    plain, wished = run.answer(Question("u40")), run.answer(Question("u40", wish="Space film 7", wish_weight=8.0))
    assert all(title.startswith("Garden") for title in titles(plain)[:3])
    assert titles(wished)[0] == "Space film 7"
    assert (wished["wish"], wished["wish_weight"]) == ("Space film 7", 8.0)
    assert titles(run.answer(Question("u40", wish="Space film 7", wish_weight=0.0))) == titles(plain)
    assert run.recommend(["u40"], wish="Space film 7", wish_weight=8.0)["title"].to_list() == titles(wished)
    shown = told(run, "--user", "u40", "--wish", "Space film 7", "--wish-weight", "8")
    assert "and by the wish (weight 8): Space film 7" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_a_run_asked_with_other_settings_reads_with_what_they_made(run_toy: RunToy) -> None:
    pipeline = run_toy("text.vectors=false", "align.enabled=false", stage=SERVING, name="no-texts")
    unread = glta_cli.load("no-texts", pipeline.workspace.root)
    asked = ["--wish", "Space film 7", "--wish-weight", "8", "-k", "1", "--json"]
    for who in (["--user", "u40"], ["--history", "i3,i1", "--model", "glta-llm", "--deep"]):
        shown = told(unread, *who, *asked, "--set", "text.vectors=true")
        assert json.loads(shown.stdout)["recommendations"][0]["title"] == "Space film 7"
    with pytest.raises(InputError, match="reads no item texts"):
        told(unread, "--user", "u40", *asked)


def test_the_help_names_the_weight_a_wish_has() -> None:
    shown = CliRunner().invoke(app, ["recommend", "--help"], catch_exceptions=False).stdout
    assert f"by default {WISH_WEIGHT:g}." in " ".join(shown.replace("│", " ").split())


def test_a_wish_needs_nobody(run: Run) -> None:
    # Unlike 23, to which the tiny reader finds 32 all but the same: it is none of another book's digits turned round.
    answer = run.answer(Question(wish="Garden book 27", wish_weight=8.0))
    assert (answer["user"], answer["history"], titles(answer)[0]) == (None, [], "Garden book 27")


def test_wishes_of_several_people_are_read_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = ["Space film 7", "Garden book 23", "Space film 7"]
    asked = [Question(f"u{40 + place}", wish=wish, wish_weight=8.0, k=3) for place, wish in enumerate(wishes)]
    alone = [run.answer(question) for question in asked]
    assert titles(alone[0]) != titles(alone[1])
    read = list[list[str]]()
    likings = Readers.likings

    def noted(readers: Readers, wishes: list[str]) -> Any:
        read.append(wishes)
        return likings(readers, wishes)

    monkeypatch.setattr(Readers, "likings", noted)
    together = run.answers([*asked, Question("u40", k=3)])
    assert [titles(answer) for answer in together[:3]] == [titles(answer) for answer in alone]
    assert [answer.get("wish") for answer in together] == [*wishes, None]
    assert read == [["Space film 7", "Garden book 23"]]


@pytest.mark.parametrize(
    ("question", "location"),
    [
        (Question("u7", wish="  "), "wish"),
        (Question("u7", wish="a lamp", wish_weight=-1.0), "wish_weight"),
        (Question("u7", wish="a lamp", wish_weight=float("nan")), "wish_weight"),
        (Question("u7", wish_weight=2.0), "wish_weight"),
    ],
)
def test_what_is_no_wish_is_refused(run: Run, question: Question, location: str) -> None:
    with pytest.raises(InputError) as caught:
        run.answer(question)
    assert caught.value.location == location


def test_a_long_wish_is_told_to_be_cut(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.answer(Question("u7", wish="a film about space and " * 20))
    assert "of a long wish the first 16 tokens are read" in capsys.readouterr().err


def test_a_run_that_reads_no_texts_names_what_would(run_toy: RunToy, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = run_toy("text.vectors=false", "align.enabled=false", stage=SERVING, name="no-texts")
    run = glta_cli.load("no-texts", pipeline.workspace.root)
    # It is refused before the models of the run are looked for, which takes seconds.
    monkeypatch.setattr(Readers, "_pipeline", property(lambda _: pytest.fail("a model is looked for")))
    with pytest.raises(GltaError, match="reads no item texts") as caught:
        run.answer(Question("u7", wish="a lamp"))
    assert caught.value.location == "wish"
    # As a shell has to be given it: zsh takes brackets for a pattern of file names.
    assert "--set text.backbone=minilm --set 'fusion.terms=[ease-text]' has" in str(caught.value.hint)
    # Without these it would be an answer once, from no run that can be asked again.
    assert str(caught.value.hint).startswith("glta recommend --user ID --recipe FILE --run NAME --set ")
