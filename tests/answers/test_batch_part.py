"""A part of many answers: what is left out for one is left out for many, however many share a block."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from glta_cli.answers.batch_part import MOST_PART, BatchQuestion, answering, part_size
from glta_cli.answers.question import Question
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.index import Index
from glta_cli.serving.recommender import AskedRun, answers_of_users
from glta_cli.workspace.artefact import Artefact


@pytest.fixture(scope="module")
def artefact(run_toy: Any) -> Artefact:
    return run_toy(stage="serving-index").ensure("serving-index")


def test_what_is_in_nobodys_answers_is_in_none_of_many(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    delisted, everyone = np.array([4, 20, 31]), np.arange(60)
    monkeypatch.setattr(Index, "delisted", delisted)
    part = answering(BatchQuestion(AskedRun("toy", "table"), artefact.path, Question(k=40), "jsonl"))(everyone)
    index = Index(artefact)
    found: dict[str, list[str]] = {}
    for row in map(json.loads, part.content.splitlines()):
        found.setdefault(row["user"], []).append(row["item"])
    expected = answers_of_users(index, everyone, 40)
    assert found == {
        index.user_ids[user]: [entry["item"] for entry in answer["recommendations"]]
        for user, answer in enumerate(expected)
    }
    assert not {index.item_ids[item] for item in delisted} & {item for items in found.values() for item in items}


def test_who_has_nothing_left_is_counted(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "delisted", np.arange(40))
    part = answering(BatchQuestion(AskedRun("toy", "table"), artefact.path, Question(k=5), "csv"))(np.arange(7))
    assert (part.content, part.rows, part.without) == (b"", 0, 7)


@pytest.mark.parametrize("users", [1, BLOCK, 943, 35_598, 10_000_000])
def test_a_part_is_of_whole_blocks_and_not_too_large(users: int) -> None:
    assert part_size(users) % BLOCK == 0
    assert BLOCK <= part_size(users) <= MOST_PART
    assert part_size(users, because=True) == BLOCK
