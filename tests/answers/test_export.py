"""`glta export`: files other systems search in, with a note that is true."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.index import Index
from glta_cli.serving.recommender import recommend
from glta_cli.stages.lineage import SERVING

Run = Callable[..., Any]
EASE = "fusion.terms=[ease]"


def export(root: Path, *arguments: str) -> Any:
    """`glta export`, with what it prints as JSON."""
    shown = CliRunner().invoke(app, ["export", "--data-dir", str(root), *arguments, "--json"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def vectors(path: Path, name: str) -> dict[str, NDArray[np.float32]]:
    """Vectors of a Parquet file by the id beside them."""
    table = pl.read_parquet(path)
    assert table.schema["vector"] == pl.List(pl.Float32)
    return {each: np.array(vector, dtype=np.float32) for each, vector in zip(table[name], table["vector"], strict=True)}


def best_unseen(folder: Path) -> dict[str, list[str]]:
    """The ten best items of each user by inner products alone, what is listed as seen left out."""
    users, items = vectors(folder / "users.parquet", "user"), vectors(folder / "items.parquet", "item")
    met: dict[str, set[str]] = {}
    for user, item in pl.read_parquet(folder / "seen.parquet").rows():
        met.setdefault(user, set()).add(item)
    found = {}
    for user, query in users.items():
        scores = {item: float(vector @ query) for item, vector in items.items() if item not in met[user]}
        found[user] = sorted(scores, key=lambda item: -scores[item])[:10]
    return found


def test_exported_vectors_recommend_what_the_run_recommends(run_toy: Run, toy_root: Path, tmp_path: Path) -> None:
    artefact = run_toy(stage=SERVING, name="exported").ensure(SERVING)
    note = export(toy_root, "--run", "exported", "--format", "parquet", str(tmp_path / "vectors"))
    assert (note["users"], note["items"], note["same_lists"], note["overlap@10"]) == (60, 40, 60, 1.0)
    for user, items in best_unseen(tmp_path / "vectors").items():
        answer = recommend(artefact, user, 10)["recommendations"]
        assert items == [entry["item"] for entry in answer], user
    titles = pl.read_parquet(tmp_path / "vectors" / "items.parquet")["title"].to_list()
    assert titles == [f"{'Space film' if item < 20 else 'Garden book'} {item}" for item in map(int, _numbers(titles))]
    assert json.loads((tmp_path / "vectors" / "export.json").read_text()) == {"glta_export": 1, **note}


def _numbers(titles: list[str]) -> list[str]:
    return [title.split()[-1] for title in titles]


@pytest.mark.parametrize("form", ["parquet", "safetensors", "faiss"])
def test_the_search_of_the_note_finds_the_first_recommendations(
    run_toy: Run, toy_root: Path, tmp_path: Path, form: str
) -> None:
    if form == "faiss":
        pytest.importorskip("faiss")
    artefact = run_toy(stage=SERVING, name="exported").ensure(SERVING)
    export(toy_root, "--run", "exported", "--format", form, str(tmp_path / form))
    [code] = re.findall(r"```python\n(.*?)```", (tmp_path / form / "README.md").read_text(), re.DOTALL)
    environment = {**os.environ, "POLARS_FMT_MAX_ROWS": "20"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / form, capture_output=True, text=True, check=True, env=environment
    )
    index = Index(artefact)
    first = [entry["item"] for entry in recommend(artefact, index.user_ids[0], 10)["recommendations"]]
    assert list(dict.fromkeys(re.findall(r"\bi\d+\b", shown.stdout))) == first


def test_safetensors_hold_what_parquet_does(run_toy: Run, toy_root: Path, tmp_path: Path) -> None:
    run_toy(stage=SERVING, name="exported")
    for form in ("parquet", "safetensors"):
        export(toy_root, "--run", "exported", "--format", form, str(tmp_path / form))
    tensors = load_file(tmp_path / "safetensors" / "vectors.safetensors")
    ids = json.loads((tmp_path / "safetensors" / "ids.json").read_text())
    for kind, name in (("users", "user"), ("items", "item")):
        found = vectors(tmp_path / "parquet" / f"{kind}.parquet", name)
        assert list(found) == ids[kind]
        np.testing.assert_array_equal(np.stack(list(found.values())), tensors[kind])
    starts = tensors["seen_indptr"]
    seen = [
        (user, ids["items"][item])
        for place, user in enumerate(ids["users"])
        for item in tensors["seen_items"][starts[place] : starts[place + 1]]
    ]
    assert seen == pl.read_parquet(tmp_path / "parquet" / "seen.parquet").rows()


def test_what_a_cut_linear_term_costs_is_what_the_note_says(run_toy: Run, toy_root: Path, tmp_path: Path) -> None:
    pipeline = run_toy(EASE, stage=SERVING, name="cut")
    index = Index(pipeline.ensure("index"))
    note = export(toy_root, "--run", "cut", "--rank", "4", "--format", "parquet", str(tmp_path / "cut"))
    assert note["rank"] == 4
    found, artefact = best_unseen(tmp_path / "cut"), pipeline.ensure(SERVING)
    exact = {user: [each["item"] for each in recommend(artefact, user, 10)["recommendations"]] for user in found}
    shared = [len(set(found[user]) & set(exact[user])) / 10 for user in found]
    assert note["overlap@10"] == pytest.approx(np.mean(shared))
    assert note["overlap@10"] < 1
    prepared = pipeline.prepared()
    test = prepared.split("test")
    users = np.flatnonzero(test.counts)
    ranked = rank_users(index.scorer(), users, 10, prepared.split("train"), prepared.split("valid"))
    assert note["test"]["exact"] == pytest.approx(ranking_metrics(ranked, users, test, [10])["ndcg@10"].mean())
    assert note["test"]["users"] == len(users)
    assert note["test"]["exported"] != note["test"]["exact"]
    readme = (tmp_path / "cut" / "README.md").read_text()
    assert f"{note['overlap@10']:.2%} of the first ten are the same" in " ".join(readme.split())
    assert f"{note['test']['exported']:.4f} by inner products" in " ".join(readme.split())
    # The length is rounded there: of the longest vector the root would else be none.
    assert "√max(0, M² - |v|²)" in readme


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--format", "parkett"], "not one of parquet"),
        (["--format", "parquet", "--without", "eas"], "has no term eas"),
        (["--format", "parquet"], "no short vectors give exactly"),
        (["--format", "parquet", "--without", "ease"], "leaves no term"),
        (["--format", "parquet", "--model", "popularity", "--rank", "4"], "no linear term to cut"),
        (["--format", "parquet", "--model", "eas"], "no row is called 'eas'"),
        (["--format", "parquet", "--run", "cutt"], "no run is called"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    run_toy: Run, toy_root: Path, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    run_toy(EASE, stage=SERVING, name="cut")
    run = [] if "--run" in arguments else ["--run", "cut"]
    with pytest.raises(InputError, match=problem):
        CliRunner().invoke(
            app,
            ["export", "--data-dir", str(toy_root), *run, *arguments, str(tmp_path / "new")],
            catch_exceptions=False,
        )
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(run_toy: Run, toy_root: Path, tmp_path: Path) -> None:
    run_toy(stage=SERVING, name="exported")
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="is not empty"):
        export(toy_root, "--run", "exported", "--format", "parquet", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
