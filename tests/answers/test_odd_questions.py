"""What people ask without thinking of it: a list of letters, one item a thousand times, a catalogue they have seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.item_lists import names_between_commas
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.main import app
from glta_cli.serving.catalogue import MOST_HINTED, Catalogue
from glta_cli.serving.guests import guests_of
from glta_cli.serving.string_column import StringColumn

EVERYTHING = [f"i{item}" for item in range(40)]


@pytest.fixture(scope="module")
def run(run_toy: Callable[..., Any], toy_root: Path) -> Run:
    terms = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")
    run_toy(*terms, stage="serving-index", name="reasons")
    return glta_cli.load("reasons", toy_root)


def catalogue(**title_of: str) -> Catalogue:
    ids, titles = StringColumn.of(list(title_of)), StringColumn.of(list(title_of.values()))
    return Catalogue(SimpleNamespace(item_ids=ids, titles=titles))  # type: ignore[arg-type]


def test_one_user_or_item_is_not_a_list_of_letters(run: Run) -> None:
    assert run.recommend("u7", k=3).equals(run.recommend(["u7"], k=3))
    assert run.recommend_for("i3", k=3).equals(run.recommend_for(["i3"], k=3))


@pytest.mark.parametrize("k", [2.5, "3", True, None, 0])
def test_what_is_no_number_of_items_is_refused(run: Run, k: Any) -> None:
    for ask in (lambda: run.recommend("u7", k=k), lambda: run.similar("i3", k=k)):
        with pytest.raises(InputError, match=f"^k: {k!r} is no number of items"):
            ask()
    assert run.recommend("u7", k=np.int64(3)).height == 3  # type: ignore[arg-type]


def test_a_run_is_printed_as_what_it_is(run: Run) -> None:
    assert repr(run) == f"<Run reasons (dataset table), by {run.index.row.sentence()}>"


def test_one_text_may_hold_names_between_commas_as_in_a_command(run: Run) -> None:
    asked = run.recommend("u7", only="i1,i3, i5", without="i3,i4", include_seen=True)
    assert set(asked["item"]) == {"i1", "i5"}
    assert run.recommend_for("i3,i25", k=3).equals(run.recommend_for(["i3", "i25"], k=3))


def test_a_name_with_a_comma_is_no_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "catalogue", catalogue(a="Heat, 1995", b="Heat"))
    assert run.names_listed("Heat, 1995", "only") == ("Heat, 1995",)
    assert run.names_listed('"Heat, 1995",b', "only") == ("Heat, 1995", "b")


def test_ids_may_be_numbers(run: Run) -> None:
    with pytest.raises(InputError, match="no user is called '42'"):
        run.recommend([42])
    with pytest.raises(InputError, match="no item has the id or the title '7'"):
        run.recommend_for(np.array([7]))


@pytest.mark.parametrize("because", [False, True])
@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_who_has_seen_everything_gets_an_empty_list(run: Run, because: bool, diversity: float) -> None:
    asked = Question(history=tuple(EVERYTHING), because=because, diversity=diversity)
    assert run.answer(asked)["recommendations"] == []


def test_an_empty_list_has_its_columns_and_is_said(run: Run, toy_root: Path) -> None:
    assert run.recommend_for(EVERYTHING).columns == ["rank", "item", "title", "score"]
    assert run.recommend([]).columns == ["user", "rank", "item", "title", "score"]
    asked = ["recommend", "--run", run.name, "--history", ",".join(EVERYTHING), "--data-dir", str(toy_root)]
    assert CliRunner().invoke(app, asked).stdout.endswith("\nnothing is left to recommend\n")


def test_a_long_history_of_the_same_items_is_a_short_one(run: Run) -> None:
    once = run.answer(Question(history=("i3", "i25"), because=True))
    assert run.answer(Question(history=("i3", "i25") * 5_000, because=True)) == once
    guests = guests_of([[3, 25] * 100_000], 40, weighted=True)
    assert guests.weights is not None
    assert guests.weights.tolist() == [100_000, 100_000]


def test_a_title_as_it_is_spelt_comes_before_one_of_another_case() -> None:
    named = catalogue(a="It", b="IT", c="7", d="it", **{"7": "Seven"})
    assert named.position("IT") == 1
    assert named.position("It") == 0
    # An id comes before a title.
    assert named.position("7") == 4
    with pytest.raises(InputError, match="3 items are titled 'iT'") as caught:
        named.position("iT")
    assert "such as a, b, d" in str(caught.value.hint)


def test_all_names_that_are_no_items_are_told_together(run: Run) -> None:
    with pytest.raises(InputErrors) as caught:
        run.recommend_for(["i3", "x1", "x2", "x1"])
    assert [str(error).split("'")[1] for error in caught.value.errors] == ["x1", "x2"]
    assert {error.location for error in caught.value.errors} == {"history"}


def test_what_is_near_is_sought_for_a_few_of_many_names_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sought = list[str]()
    unknown = Catalogue.unknown

    def counted(catalogue: Catalogue, name: str, location: str) -> InputError:
        sought.append(name)
        return unknown(catalogue, name, location)

    monkeypatch.setattr(Catalogue, "unknown", counted)
    with pytest.raises(InputErrors) as caught:
        run.recommend_for(["i3", *(f"x{number % 500}" for number in range(1_000))])
    assert len(caught.value.errors) == 500
    assert len(sought) == MOST_HINTED
    assert all("there are 40 items" in str(error) for error in caught.value.errors)


def test_whoever_is_not_there_keeps_no_answer_from_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = list[int]()
    answers = Run.answers

    def counted(asked: Run, questions: Sequence[Question]) -> Any:
        batches.append(len(questions))
        return answers(asked, questions)

    known = [Question(f"u{user}", k=3) for user in range(5)] + [Question(history=("i3",), k=3)]
    monkeypatch.setattr(Run, "answers", counted)
    found = run.tried([known[0], Question("u777"), *known[1:], Question(history=("i3", "x1"))])
    assert [str(error).partition(";")[0] for error in (found[1], found[-1])] == [
        "user: no user is called 'u777' in run reasons (dataset table)",
        "history: no item has the id or the title 'x1'",
    ]
    assert [found[0], *found[2:-1]] == answers(run, known)
    assert batches == [len(known)]


def test_names_may_stand_on_lines_and_in_quotes() -> None:
    assert names_between_commas('i3\n"Heat, 1995", i4,\r\n\ni5', "--history") == ("i3", "Heat, 1995", "i4", "i5")
    with pytest.raises(InputError, match="cannot be read as a list"):
        names_between_commas('"i3', "--history")


def test_a_title_cut_at_its_comma_says_how_to_name_it() -> None:
    with pytest.raises(InputError) as caught:
        catalogue(a="Rock, The (1996)", b="Heat").position("Rock")
    assert str(caught.value.hint).endswith("; a name with a comma stands in quotes of its own in a list")


def test_a_model_that_has_not_read_a_history_is_named(run_toy: Callable[..., Any], toy_root: Path) -> None:
    run_toy("fusion.terms=[encoder, llm]", "finetune.fusion=false", stage="serving-index", name="unread")
    asked = ["recommend", "--run", "unread", "--history", "i3,i25", "--data-dir", str(toy_root)]
    run = glta_cli.load("unread", toy_root)
    assert run.answer(Question(history=("i3",), model="glta-llm"))["not_read_by"] == "the language model"
    assert "not_read_by" not in run.answer(Question("u7"))
    assert "not_read_by" not in run.answer(Question(history=("i3",), model="popularity"))
    shown = CliRunner().invoke(app, asked).stdout
    assert "\nwithout the language model, which has not read this history: --deep has it read\n" in shown


def test_what_many_lists_cannot_have_is_refused(run: Run, toy_root: Path, tmp_path: Path) -> None:
    output, option = tmp_path / "lists.jsonl", "--deep"
    asked = ["recommend", "--users", "all", "-o", str(output), option, "--run", run.name, "--data-dir", str(toy_root)]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, InputError)
    assert refused.exception.location == option
    assert not output.exists()
