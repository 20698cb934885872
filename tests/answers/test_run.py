"""A published run asked from Python and from a shell: any of its rows, for users it knows and people it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.errors import InputError
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.guests import guests_of
from glta_cli.stages.lineage import SERVING

RunToy = Callable[..., Any]
THREE = "fusion.terms=[ease, encoder, llm]"


@pytest.fixture(scope="module")
def run(run_toy: RunToy) -> Run:
    pipeline = run_toy(THREE, stage=SERVING, name="answers")
    return glta_cli.load("answers", pipeline.workspace.root)


def history_of(run: Run, user: str) -> list[str]:
    position = run.index.user(user)
    return [run.index.item_ids[item] for item in run.index.history.of(position)]


def test_every_row_it_names_ranks_and_the_first_is_what_is_served(run: Run) -> None:
    assert run.rows[0] == run.answer(Question("u7"))["row"]
    assert {"ease", "lightgcn", "popularity"} <= set(run.rows)
    lists = {}
    for row in run.rows:
        answer = run.answer(Question("u7", model=row))
        assert answer["row"] == row
        lists[row] = [entry["item"] for entry in answer["recommendations"]]
        assert not set(lists[row]) & set(history_of(run, "u7"))
    assert lists["ease"] != lists["popularity"]


def test_every_user_gets_the_same_list_one_by_one_and_together(run: Run) -> None:
    users = run.index.user_ids.tolist()
    for row in run.rows:
        together = run.recommend(users, k=6, model=row)
        assert together.columns == ["user", "rank", "item", "title", "score"]
        positions = np.arange(len(users))
        ranked = rank_users(
            run.index.scorer(run.index.seen, row=run.index.row if row == run.rows[0] else None)
            if row == run.rows[0]
            else _alone(run, row),
            positions,
            6,
            run.index.seen,
        )
        for position, user in enumerate(users):
            items = together.filter(together["user"] == user)["item"].to_list()
            assert items == [run.index.item_ids[int(item)] for item in ranked[position]]
            assert items == run.recommend([user], k=6, model=row)["item"].to_list()


def _alone(run: Run, row: str) -> Any:
    """A row by what its name says, without the table of rows."""
    index = run.index
    if row == "popularity":
        counts = np.bincount(index.history.items, minlength=index.history.item_count)
        return lambda users: np.tile(counts.astype(np.float32), (len(users), 1))
    return {"ease": index.linear_scorer, "lightgcn": index.graph_scorer}.get(
        row, lambda: index.language_scorer(index.seen)
    )()


def test_a_history_is_scored_by_the_linear_row_as_that_of_a_user(run: Run) -> None:
    for user in ("u2", "u45"):
        known = run.answer(Question(user, model="ease"))
        new = run.answer(Question(history=tuple(history_of(run, user)), model="ease"))
        assert new["recommendations"] == known["recommendations"]
        assert new["history"] == known["history"]
        assert (new["user"], known["user"]) == (None, user)


def test_somebody_new_gets_what_suits_the_history_from_every_row_but_popularity(run: Run) -> None:
    for row in set(run.rows) - {"popularity"}:
        for items, taste in ((["i1", "i3", "i5"], "Space film"), (["i21", "i23", "i25"], "Garden book")):
            titles = run.recommend_for(items, k=5, model=row)["title"].to_list()
            assert sum(title.startswith(taste) for title in titles) >= 4, row


def test_what_the_language_model_did_not_read_it_has_no_part_in(run_toy: RunToy) -> None:
    pair = glta_cli.load("pair", run_toy(stage=SERVING, name="pair").workspace.root)
    assert set(pair.rows) == {"glta", "lightgcn", "glta-llm", "popularity"}
    for row in ("glta", "glta-llm"):
        answer = pair.answer(Question(history=("i1", "i2"), model=row))
        assert answer["terms"] == {"lightgcn": 1.0}
        assert "language" not in answer["answered_by"]


def test_items_are_named_by_id_or_title_whatever_the_case_and_in_any_mixture(run: Run) -> None:
    by_id = run.recommend_for(["i1", "i21"], k=4)
    assert run.recommend_for(["space  FILM 1", "Garden book 21"], k=4).equals(by_id)


def test_what_is_met_twice_counts_once_and_as_the_newest() -> None:
    guests = guests_of([[3, 1, 3, 2], []], 5)
    assert guests.of(0).tolist() == [1, 3, 2]
    assert guests.counts.tolist() == [3, 0]
    weighted = guests_of([[3, 1, 3, 2]], 5, weighted=True)
    assert weighted.weights is not None
    assert weighted.weights.tolist() == [1, 2, 1]


def test_seen_items_come_back_where_they_are_asked_for(run: Run) -> None:
    history = history_of(run, "u3")
    assert set(history) <= set(run.recommend(["u3"], k=40, include_seen=True)["item"])
    assert set(history) <= set(run.recommend_for(history, k=40, include_seen=True)["item"])


@pytest.mark.parametrize(
    ("asked", "location", "said"),
    [
        (Question("nobody"), "user", "no user is called 'nobody'"),
        (Question("u1", model="lightgnc"), "model", "did you mean 'lightgcn'"),
        (Question(history=("Space film 11111",)), "history", "no item has the id or the title"),
        (Question(history=()), "history", "names no item"),
        (Question(), "user", "nobody is asked for"),
        (Question("u1", ("i1",)), "history", "has a history already"),
        (Question("u1", k=0), "k", "0 is no number of items"),
    ],
)
def test_what_cannot_be_answered_says_where_and_what_to_do(run: Run, asked: Question, location: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        run.answer(asked)
    assert caught.value.location == location
    assert caught.value.hint


@pytest.mark.parametrize("written", ["Space film 11", "spaec film 11", "Space film 111", "Space"])
def test_an_item_that_is_not_there_names_what_is_near(run: Run, written: str) -> None:
    with pytest.raises(InputError) as caught:
        run.catalogue.position(written + "x")
    assert '"Space film' in (caught.value.hint or "")


def test_no_run_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run has finished yet"):
        glta_cli.load(data_dir=tmp_path)
    with pytest.raises(InputError, match="nope"):
        glta_cli.load("nope", tmp_path)


# --------------------------------------------------------------------------------------------- in a shell


def test_a_shell_is_told_of_its_own_options(run: Run) -> None:
    with pytest.raises(InputError, match=r"^--user: no user is called 'nobody'"):
        raise shell(run, "--user", "nobody").exception


def shell(run: Run, *arguments: str) -> Any:
    from glta_cli.main import app

    data = str(run.artefact.path.parents[2])
    return CliRunner().invoke(app, ["recommend", "--run", "answers", "--data-dir", data, *arguments])


def test_the_command_answers_as_python_does(run: Run) -> None:
    for arguments, asked in (
        (["--user", "u7", "--model", "ease", "-k", "3"], Question("u7", k=3, model="ease")),
        (["--history", 'i1, "Garden book 21"', "-k", "3"], Question(history=("i1", "Garden book 21"), k=3)),
        (["--history", "i1", "--include-seen"], Question(history=("i1",), include_seen=True)),
    ):
        assert json.loads(shell(run, *arguments, "--json").stdout) == run.answer(asked)
    shown = shell(run, "--history", "i1,i3").stdout
    assert "recommended to somebody new by run answers" in shown


def test_the_command_names_its_options_in_errors(run: Run) -> None:
    for arguments, option in ((["--user", "u1", "--model", "nope"], "--model"), (["--history", "x9"], "--history")):
        assert shell(run, *arguments).exception.location == option
    with pytest.raises(InputError, match="quotes"):
        raise shell(run, "--history", '"i1').exception


def test_a_history_needs_nothing_heavy(run: Run) -> None:
    code = (
        "import sys, glta_cli; run = glta_cli.load('answers', sys.argv[1]);"
        "from glta_cli.answers.question import Question;"
        "run.answer(Question(history=('i1', 'i2'), model='lightgcn')); run.answer(Question('u1', model='ease'));"
        "print({'torch', 'polars', 'pydantic', 'transformers', 'rich', 'scipy'} & set(sys.modules))"
    )
    environment = {**os.environ, "GLTA_QUIET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.artefact.path.parents[2])],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.strip() == "set()", done.stderr


# ------------------------------------------------------------------------------------ vectors and figures


def test_vectors_are_those_the_encoder_ranks_by(run: Run) -> None:
    users, items = run.vectors()
    assert (users.columns, items.columns) == (["user", "vector"], ["item", "title", "vector"])
    scores = users["vector"].to_numpy() @ items["vector"].to_numpy().T
    np.testing.assert_allclose(scores, run.index.graph_scorer()(np.arange(len(users))), rtol=1e-5)


def test_figures_are_those_of_validation_until_the_run_is_evaluated(run_toy: RunToy) -> None:
    from glta_cli.main import app

    pipeline = run_toy(THREE, stage=SERVING, name="figures")
    root = pipeline.workspace.root
    before = glta_cli.load("figures", root)
    chosen = before.metrics()
    assert set(chosen["on"]) == {"validation"}
    assert chosen.filter(chosen["row"] == before.rows[0])["ndcg@10"].item() == before.index.row.figure
    told = CliRunner().invoke(
        app, ["evaluate", "--run", "figures", "--data-dir", str(root), "--baselines", "popularity", "--json"]
    )
    report = json.loads(told.stdout)
    after = glta_cli.load("figures", root)
    found = after.metrics()
    assert found["row"].to_list() == list(report["models"])
    assert set(found["on"]) == {"test"}
    assert found["ndcg@10"].to_list() == [metrics["ndcg@10"] for metrics in report["models"].values()]
    shown = after._repr_html_()
    assert "<script" not in shown
    assert all(f">{row}</text>" in shown for row in report["models"])
    removed = CliRunner().invoke(app, ["runs", "remove", "figures", "--data-dir", str(root)])
    assert removed.exit_code == 0, removed.output
    assert not (root / "evaluations" / "figures.json").exists()
