"""`--because`: true reasons of an answer, whoever asks and by whatever row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.main import app
from glta_cli.serving.choice import Choice
from glta_cli.serving.fusion import FusionWeights
from glta_cli.serving.guests import guests_of
from glta_cli.serving.person_reasons import user_reasons
from glta_cli.serving.recommender import answers_of_guests, answers_of_users
from glta_cli.serving.rows import rows_held

FUSED = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")
SAID = {"exact": "taken apart exactly", "left out": "by what the score loses without the item, as of somebody new"}
TERMS = {"ease": "exact", "lightgcn": "left out", "popularity": "whole"}


@pytest.fixture(scope="module")
def run(run_toy: Callable[..., Any], toy_root: Path) -> Run:
    run_toy(*FUSED, stage="serving-index", name="reasons")
    return glta_cli.load("reasons", toy_root)


def parts(because: dict[str, Any], row: str) -> list[float]:
    return [entry["terms"][row] for entry in because["history"]]


@pytest.mark.parametrize("asked", [{"user": "u7"}, {"history": ("i3", "i25", "Space film 11")}])
@pytest.mark.parametrize("model", [None, "ease", "lightgcn", "popularity"])
def test_reasons_add_up_to_the_score(run: Run, asked: dict[str, Any], model: str | None) -> None:
    answer = run.answer(Question(**asked, k=6, model=model, because=True))
    assert len(answer["recommendations"]) == 6
    for entry in answer["recommendations"]:
        because = entry["because"]
        assert sum(term["score"] for term in because["terms"]) == pytest.approx(entry["score"], abs=1e-3)
        for term in because["terms"]:
            assert term["how"] == TERMS[term["row"]]
            assert term["history"] + term["rest"] == pytest.approx(term["score"], rel=1e-4, abs=1e-4)
            if term["how"] != "whole":
                assert sum(parts(because, term["row"])) == pytest.approx(term["history"], rel=1e-4, abs=1e-4)
        for part in because["history"]:
            assert sum(part["terms"].values()) == pytest.approx(part["part"], rel=1e-4, abs=1e-5)


def test_a_frame_has_reasons_where_they_are_asked_for(run: Run) -> None:
    answer = run.answer(Question(history=("i3", "i25"), k=4, because=True))
    frame = run.recommend_for(["i3", "i25"], k=4, because=True)
    assert frame.columns == ["rank", "item", "title", "score", "because"]
    for shown, entry in zip(frame["because"].to_list(), answer["recommendations"], strict=True):
        assert shown == [{key: each[key] for key in ("item", "title", "share")} for each in entry["because"]["history"]]
        assert sum(abs(each["share"]) for each in shown) == pytest.approx(1, abs=1e-3)
    assert run.recommend(["u7"], k=2, because=True)["because"].list.len().min() == len(
        {*run.index.history.of(run.index.user("u7"))}
    )
    assert run.recommend([], because=True).columns[-1] == "because"


def test_of_a_linear_row_nothing_but_the_history_makes_the_score(run: Run) -> None:
    for entry in run.answer(Question("u33", model="ease", because=True))["recommendations"]:
        [term] = entry["because"]["terms"]
        assert term["rest"] == 0
        assert sum(parts(entry["because"], "ease")) == pytest.approx(entry["score"], abs=1e-4)


def test_the_encoders_reason_is_what_the_score_loses_without_the_item(run: Run) -> None:
    history = ("i3", "i25", "i11")
    question = Question(history=history, k=40, model="lightgcn", include_seen=True, because=True)
    with_all = {entry["item"]: entry for entry in run.answer(question)["recommendations"]}
    for left_out in history:
        rest = tuple(item for item in history if item != left_out)
        without = run.answer(Question(history=rest, k=40, model="lightgcn", include_seen=True))
        for entry in without["recommendations"]:
            [part] = [
                each["terms"]["lightgcn"]
                for each in with_all[entry["item"]]["because"]["history"]
                if each["item"] == left_out
            ]
            assert part == pytest.approx(with_all[entry["item"]]["score"] - entry["score"], abs=2e-4)


def test_reasons_of_a_sum_of_terms_add_up_to_what_it_ranks_by(run: Run) -> None:
    index, users, targets = run.index, np.array([7]), np.array([3, 30, 11])
    one, other = rows_held(index)["ease"], rows_held(index)["lightgcn"]
    fused = replace(one, terms=one.terms + other.terms, weights=FusionWeights([0], [[0.7, 0.2]]))
    scores = index.scorer(row=fused)(users)[0, targets]

    found = user_reasons(index, fused, 7, targets)

    assert [term.how for term in found.terms] == ["exact", "left out"]
    assert_allclose(sum(term.scores for term in found.terms), scores, rtol=1e-4, atol=1e-5)
    assert_allclose(found.parts.sum(axis=0) + sum(term.rest for term in found.terms), scores, rtol=1e-4, atol=1e-4)
    # What is left of the exact term is the same for all items, so that it changes no order.
    assert len(set(found.terms[0].rest.tolist())) == 1


def test_every_item_of_the_history_has_its_part_the_strongest_first(run: Run) -> None:
    history = {entry["item"] for entry in run.answer(Question("u7", k=1))["history"]}
    because = run.answer(Question("u7", k=1, because=True))["recommendations"][0]["because"]
    assert {entry["item"] for entry in because["history"]} >= history
    shares = [abs(entry["share"]) for entry in because["history"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.01)
    for entry in because["history"]:
        assert entry["part"] * entry["share"] >= 0


def test_a_list_with_reasons_is_the_list_without(run: Run) -> None:
    with_reasons = run.answer(Question("u7", because=True))
    for entry in with_reasons["recommendations"]:
        del entry["because"]
    assert with_reasons == run.answer(Question("u7"))


def test_the_command_shows_what_speaks_for_an_item_and_against_it(
    run: Run, toy_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLTA_DATA_DIR", str(toy_root))
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["recommend", "--run", run.name, "--user", "u7", "-k", "40", "--because"]
    shown = CliRunner().invoke(app, asked, catch_exceptions=False).stdout
    answer = json.loads(CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    for entry in answer["recommendations"]:
        row = next(place for place, line in enumerate(lines) if line.split()[:2] == [str(entry["rank"]), entry["item"]])
        strongest = [each for each in entry["because"]["history"][:3] if abs(each["share"]) >= 0.005]
        for line, part in zip(lines[row + 1 :], strongest, strict=False):
            assert line.split("  pulls")[0].endswith(f"{part['share']:+.0%}  {part['title']}")
            assert line.endswith("pulls it down") == (part["share"] < 0)
    assert "pulls it down" in shown
    for term in answer["recommendations"][0]["because"]["terms"]:
        assert f"{term['row']}: {SAID[term['how']]}" in lines


def test_of_the_language_model_reasons_are_what_it_reads_without_the_item(
    run_toy: Callable[..., Any], toy_root: Path
) -> None:
    run_toy("fusion.terms=[encoder, llm]", "finetune.fusion=false", stage="serving-index", name="unread")
    run = glta_cli.load("unread", toy_root)
    both = Question(history=("i3", "i25"), k=40, include_seen=True, deep=True, because=True)
    rest = {entry["item"]: entry["score"] for entry in run.answer(replace(both, history=("i25",)))["recommendations"]}
    for entry in run.answer(both)["recommendations"]:
        [term] = entry["because"]["terms"]
        assert (term["row"], term["how"]) == ("glta-llm", "left out")
        assert term["score"] == pytest.approx(entry["score"], abs=1e-4)
        [part] = [each["part"] for each in entry["because"]["history"] if each["item"] == "i3"]
        assert part == pytest.approx(entry["score"] - rest[entry["item"]], abs=2e-4)
    # Of a user of the log it is left whole unless histories are read.
    for deep, how in ((False, "whole"), (True, "left out")):
        answer = run.answer(Question("u7", k=2, deep=deep, because=True))
        assert [term["how"] for term in answer["recommendations"][0]["because"]["terms"]] == [how]
    shown = ["recommend", "--run", "unread", "--user", "u7", "-k", "2", "--data-dir", str(toy_root), "--because"]
    told = CliRunner().invoke(app, shown, catch_exceptions=False).stdout
    assert "\nthe language model (glta-llm): left whole; --deep takes it apart, slowly\n" in told


@pytest.mark.parametrize("model", [None, "ease", "popularity"])
def test_reasons_add_up_to_a_score_that_a_wish_has_a_part_in(run: Run, model: str | None) -> None:
    row = rows_held(run.index)[model] if model else run.index.row
    choice = Choice(liking=np.random.default_rng(0).normal(2, 3, 40).astype(np.float32), liking_weight=0.7)
    nobody = guests_of([[]], 40)
    known = answers_of_users(run.index, np.array([7, 33]), 5, row, choice, because=True)
    for answer in [*known, *answers_of_guests(run.index, nobody, 5, row, choice, because=True)]:
        assert len(answer["recommendations"]) == 5
        for entry in answer["recommendations"]:
            terms = entry["because"]["terms"]
            assert (terms[-1]["row"], terms[-1]["how"]) == ("wish", "whole")
            assert sum(term["score"] for term in terms) == pytest.approx(entry["score"], abs=1e-3)
            for term in terms:
                assert term["history"] + term["rest"] == pytest.approx(term["score"], rel=1e-3, abs=1e-4)


# --------------------------------------------------------------------------------------------------- diversity


def test_no_diversity_is_the_ranking_itself(run: Run) -> None:
    assert run.answer(Question("u7", diversity=0)) == run.answer(Question("u7"))


def test_a_diverse_list_leaves_what_is_alike_to_others(run: Run) -> None:
    def alike(diversity: float) -> float:
        items = run.catalogue.positions(run.recommend("u7", k=5, diversity=diversity)["item"].to_list())
        return float(run.index.similarities(np.array(items))[np.triu_indices(5, 1)].mean())

    assert alike(0.9) < alike(0.3) - 0.1
    assert alike(0.3) <= alike(0)


def test_a_diverse_list_has_as_many_items_as_are_left(run: Run) -> None:
    plain = run.recommend_for(["i3"], k=1000)
    diverse = run.recommend_for(["i3"], k=1000, diversity=0.7)
    assert sorted(diverse["item"]) == sorted(plain["item"])
    assert len(diverse) == 39
    assert dict(diverse.select("item", "score").rows()) == dict(plain.select("item", "score").rows())


@pytest.mark.parametrize("terms", ["[ease]", "[llm]"])
def test_every_index_can_answer_with_diversity(run_toy: Callable[..., Any], toy_root: Path, terms: str) -> None:
    off = ("finetune.enabled=false",) if terms == "[ease]" else ()
    name = f"diverse {terms[1:-1]}"
    run_toy(*off, f"fusion.terms={terms}", stage="serving-index", name=name)
    found = glta_cli.load(name, toy_root).recommend(["u7"], k=5, diversity=0.9)
    assert len(set(found["item"])) == 5


def test_what_is_no_share_is_refused_before_anything_runs(toy_root: Path) -> None:
    arguments = ["recommend", "--user", "u7", "--diversity", "30", "--data-dir", str(toy_root / "nowhere")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert not (toy_root / "nowhere").exists()
