"""A run that answers by ELSA, as large catalogues do: lists, reasons, guests, similar items, and an exact export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import glta_cli
from glta_cli.answers.export import KeptTerms, export_vectors
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run

ROWS = {"elsa": "finetune.enabled=false", "elsa-text": "text.backbone=tiny"}


@pytest.fixture(scope="module", params=ROWS)
def row(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def run(run_toy: Callable[..., Any], toy_root: Path, row: str) -> Run:
    run_toy("finetune.enabled=false", ROWS[row], f"fusion.terms=[{row}]", stage="serving-index", name=row)
    return glta_cli.load(row, toy_root)


@pytest.mark.parametrize("asked", [{"user": "u7"}, {"history": ("i3", "i5", "i11")}])
def test_its_reasons_add_up_to_the_score(run: Run, row: str, asked: dict[str, Any]) -> None:
    answer = run.answer(Question(**asked, k=5, because=True))
    assert [entry["rank"] for entry in answer["recommendations"]] == [1, 2, 3, 4, 5]
    for entry in answer["recommendations"]:
        [term] = entry["because"]["terms"]
        assert (term["row"], term["how"]) == (row, "exact")
        parts = sum(each["part"] for each in entry["because"]["history"])
        assert parts == pytest.approx(entry["score"], rel=1e-4, abs=1e-4)


def test_it_says_which_items_are_alike(run: Run, row: str) -> None:
    found = run.similar("i3", k=5, by="linear")["item"].to_list()
    assert len(found) == 5
    if row == "elsa":  # the model that reads the texts is one of random weights
        assert sum(int(item[1:]) < 20 for item in found) >= 4  # i0 to i19 are of one taste


def test_its_vectors_are_exported_exactly_without_a_rank(run: Run, tmp_path: Path) -> None:
    row = run.index.row
    kept = KeptTerms(row.terms, (), None)
    note = export_vectors(run.index, row, kept, None, "safetensors", tmp_path / "out", {"run": "x", "dataset": "y"})
    assert (note["dimensions"], note["overlap@10"], note["same_lists"]) == (256, 1.0, 60)
    vectors = load_file(tmp_path / "out" / "vectors.safetensors")
    user = run.index.user("u7")
    unseen = np.setdiff1d(np.arange(40), run.index.history.of(user))
    exact = run.index.linear_scorer()(np.array([user]))[0]
    np.testing.assert_allclose((vectors["items"] @ vectors["users"][user])[unseen], exact[unseen], atol=1e-4)
    cut = KeptTerms(row.terms, (), 8)
    shorter = export_vectors(run.index, row, cut, None, "safetensors", tmp_path / "cut", {"run": "x", "dataset": "y"})
    assert shorter["dimensions"] == 8
    assert 0.3 < shorter["overlap@10"] <= 1
