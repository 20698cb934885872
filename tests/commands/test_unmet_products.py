"""Products nobody met yet go through every stage, and are recommended by their texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def catalogue(toy_table: Path, tmp_path: Path) -> Path:
    """The toy table with six films and six books that no row of the log names."""
    folder = tmp_path / "catalogue"
    shutil.copytree(toy_table, folder)
    with (folder / "items.csv").open("a") as file:
        file.writelines(f"new{n},{'Space film' if n < 6 else 'Garden book'} {n + 50}\n" for n in range(12))
    return folder


def test_they_are_ranked_by_every_row_and_recommended(glta, tiny_recipe_file, catalogue):
    run = ("--recipe", str(tiny_recipe_file), "--set", f"dataset.source={catalogue}", "--device", "cpu")
    report = glta("evaluate", *run, "--baselines", "popularity,item-knn,ease-text", "--json")
    assert report.code == 0, report.err
    assert {"popularity", "ease-text", "lightgcn", "glta"} <= report.json["models"].keys()
    assert all(0 < row["ndcg@10"] <= 1 for row in report.json["models"].values())
    answer = glta("recommend", "--run", "toy", "--user", "u3", "-k", "60", "--json").json
    scores = {entry["item"]: entry["score"] for entry in answer["recommendations"]}
    assert {f"new{n}" for n in range(12)} <= scores.keys()
    # The user liked films about space alone.
    assert sum(scores[f"new{n}"] for n in range(6)) > sum(scores[f"new{n}"] for n in range(6, 12))
