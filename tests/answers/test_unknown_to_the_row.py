"""Of whom a row tells nothing, popularity answers, and says so: a list of zeros is no answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.kept_parts import KeptPart
from glta_cli.answers.question import Question
from glta_cli.answers.readers import Readers
from glta_cli.answers.run import Run
from glta_cli.main import app
from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.choice import ALL, best_of


@pytest.fixture(scope="module")
def run(run_toy: Callable[..., Any], toy_table: Path, toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The toy log with `unmet`, an item nobody met, and `only`, which is all that the user `lone` met."""
    folder = tmp_path_factory.mktemp("unknown") / "table"
    shutil.copytree(toy_table, folder)
    with (folder / "items.csv").open("a") as file:
        file.write('unmet,Kettle\nonly,"Kettle, steel ""Größe 1"" 40"\n')
    with (folder / "interactions.csv").open("a") as file:
        file.write("lone,only,1700000000\n")
    settings = (f"dataset.source={folder}", "finetune.enabled=false", "fusion.terms=[ease]")
    run_toy(*settings, stage="serving-index", name="unknown")
    return glta_cli.load("unknown", toy_root)


@pytest.mark.parametrize("question", [Question("lone", k=4), Question(history=("unmet",), k=4)], ids=["user", "new"])
def test_popularity_answers_and_is_named(run: Run, question: Question) -> None:
    answer = run.answer(question)
    by_popularity = run.answer(Question(question.user, question.history, k=4, model="popularity"))
    assert (answer["row"], answer["terms"], answer["answered_by"]) == ("popularity", {"popularity": 1}, "popularity")
    assert answer["recommendations"] == by_popularity["recommendations"]
    item = "only" if question.user else "unmet"
    assert answer["remarks"] == [f"nothing is known to ease of item {item}: ranked by popularity"]
    assert "remarks" not in by_popularity


def test_reasons_are_of_popularity_and_remarks_of_a_choice_stay(run: Run) -> None:
    answer = run.answer(Question(history=("unmet",), because=True, without=("nope", "i3")))
    [term] = answer["recommendations"][0]["because"]["terms"]
    assert (term["row"], term["how"], term["score"]) == ("popularity", "whole", answer["recommendations"][0]["score"])
    assert [remark.partition(" ")[0] for remark in answer["remarks"]] == ["1", "nothing"]


def test_who_is_known_is_answered_as_before(run: Run) -> None:
    answer = run.answer(Question("u7"))
    assert answer["row"] == "ease"
    assert "remarks" not in answer
    with_unmet, without = (run.answer(Question(history=history)) for history in (("unmet", "i3"), ("i3",)))
    assert [each["item"] for each in with_unmet["recommendations"]] == [e["item"] for e in without["recommendations"]]


def test_it_is_told_in_a_terminal_and_counted_of_many(run: Run, toy_root: Path, tmp_path: Path) -> None:
    asked = ["recommend", "--run", "unknown", "--data-dir", str(toy_root)]
    shown = CliRunner().invoke(app, [*asked, "--history", "unmet"], catch_exceptions=False)
    assert "nothing is known to ease of item unmet: ranked by popularity" in " ".join(shown.stderr.split())
    assert "\nby popularity\n" in shown.stdout
    many = [*asked, "--users", "all", "-o", str(tmp_path / "all.jsonl"), "--processes", "1"]
    found = json.loads(CliRunner().invoke(app, [*many, "--json"], catch_exceptions=False).stdout)
    assert (found["users"], found["by_popularity"]) == (61, 1)
    said = CliRunner().invoke(app, many, catch_exceptions=False).stderr
    assert "note: nothing is known of what 1 user met: ranked by popularity" in " ".join(said.split())


def test_a_frame_warns_once(run: Run) -> None:
    with pytest.warns(UserWarning, match=r"nothing is known to ease of item only: ranked by popularity$"):
        run.recommend(["u7", "lone"])


def test_the_count_of_a_part_is_kept_with_it() -> None:
    for part in (KeptPart(3, 128, 1280, 2, 0x1C291CA3, 7), KeptPart(3, 128, 1280, 2, 0x12345678)):
        assert KeptPart.of(Path(part.name)) == part
    assert KeptPart(0, 1024, 10240, 0, 0x1C291CA3).name == "000000.1024.10240.0.1c291ca3"


# ------------------------------------------------------------------------------------------------ beside a wish


@pytest.fixture
def nearer(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every wish is near to the items in this order: a run that knows nothing of some items reads no texts itself."""
    ids = run.index.item_ids.tolist()
    likings = np.linspace(1, -1, len(ids), dtype=np.float32)
    monkeypatch.setattr(Readers, "likings", lambda _, wishes: np.tile(likings, (len(wishes), 1)))
    return ids


@pytest.mark.parametrize("question", [Question("lone"), Question(history=("unmet",))], ids=["user", "new"])
def test_where_the_wish_alone_ranks_it_is_said(run: Run, nearer: list[str], question: Question) -> None:
    answer = run.answer(replace(question, wish="a lamp", k=4))
    item = "only" if question.user else "unmet"
    assert answer["remarks"] == [f"nothing is known to ease of item {item}: ranked by the wish alone"]
    assert [each["item"] for each in answer["recommendations"]] == [each for each in nearer if each != item][:4]
    assert answer["row"] == "ease"
    # Whoever names nobody has asked for that; of whom something is known both count; a wish of no weight is none.
    assert "remarks" not in run.answer(Question(wish="a lamp"))
    assert "remarks" not in run.answer(Question(history=("unmet", "i3"), wish="a lamp"))
    [remark] = run.answer(replace(question, wish="a lamp", wish_weight=0.0))["remarks"]
    assert remark.endswith("ranked by popularity")


def test_many_who_are_ranked_by_a_wish_alone_are_counted(
    run: Run, nearer: list[str], toy_root: Path, tmp_path: Path
) -> None:
    asked = ["recommend", "--run", "unknown", "--data-dir", str(toy_root), "--users", "all", "--wish", "a lamp"]
    asked += ["-o", str(tmp_path / "all.jsonl"), "--processes", "1"]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    assert (found["by_popularity"], found["by_wish_alone"]) == (0, 1)
    said = CliRunner().invoke(app, asked, catch_exceptions=False).stderr
    assert "note: nothing is known of what 1 user met: ranked by the wish alone" in " ".join(said.split())


def test_only_rows_that_are_alike_everywhere_are_replaced() -> None:
    scores = np.zeros((3, 1000), dtype=np.float32)
    scores[1, 777] = 1  # between the items that are looked at first
    scores[2] = 0.5
    nobody = Interactions(np.zeros(4, dtype=np.int64), np.empty(0, dtype=np.int64), 1000)
    popularity = np.arange(1000, dtype=np.float32)
    found = best_of(lambda _: scores.copy(), np.arange(3), 2, ALL, nobody, popularity=lambda: popularity)
    assert [each.items.tolist() for each in found] == [[999, 998], [777, 0], [999, 998]]
    assert [each.by_popularity for each in found] == [True, False, True]


def test_a_whole_title_with_a_comma_is_one_item(run: Run, toy_root: Path) -> None:
    asked = ["recommend", "--run", "unknown", "--data-dir", str(toy_root), "--json", "--history"]
    for history in ('Kettle, steel "Größe 1" 40', "i3, only"):
        answer = json.loads(CliRunner().invoke(app, [*asked, history], catch_exceptions=False).stdout)
        assert [each["item"] for each in answer["history"]] == (["only"] if "Kettle" in history else ["only", "i3"])
