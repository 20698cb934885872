"""`glta export --approximate`: an index that looks at a part of the catalogue, and what it says that it finds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from glta_cli.answers import approximate_index as approximate
from glta_cli.answers.export_files import ExportedCatalogue
from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.serving.index import Index
from glta_cli.serving.recommender import recommend
from glta_cli.stages.lineage import SERVING

Run = Callable[..., Any]


def export(root: Path, *arguments: str) -> Any:
    """`glta export` of a run of toys, as typer's runner gives it."""
    command = ["export", "--data-dir", str(root), "--run", "exported", *arguments]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def catalogue(items: int, users: int, dimensions: int = 8) -> ExportedCatalogue:
    """Items of very unequal lengths, and users who have met some of them."""
    draw = np.random.default_rng(0)
    lengths = draw.pareto(1.5, items)[:, None] + 0.1
    vectors = draw.normal(size=(items, dimensions)) * lengths
    met = [np.sort(draw.choice(items, count, replace=False)) for count in draw.integers(0, 30, users)]
    return ExportedCatalogue(
        [f"u{user}" for user in range(users)],
        [f"i{item}" for item in range(items)],
        [f"Item {item}" for item in range(items)],
        draw.normal(size=(users, dimensions)).astype(np.float32),
        vectors.astype(np.float32),
        np.concatenate([[0], np.cumsum([len(each) for each in met])]).astype(np.int64),
        np.concatenate(met).astype(np.int64),
    )


def independent_recall(items: NDArray[np.float32], own: ExportedCatalogue, index: Any, users: range, k: int) -> float:
    """The share of a full sort's first k unseen items that faiss finds among its first k unseen ones."""
    longest = np.linalg.norm(items, axis=1).max()
    shares = []
    for user in users:
        query = own.user_vectors[user]
        met = set(own.seen_items[own.seen_indptr[user] : own.seen_indptr[user + 1]].tolist())
        best = [item for item in np.argsort(-(items @ query), kind="stable").tolist() if item not in met][:k]
        asked = np.append(query * longest / np.linalg.norm(query), np.float32(0))[None].astype(np.float32)
        rows = index.search(asked, min(k + len(met), len(items)))[1][0].tolist()
        found = [row for row in rows if row >= 0 and row not in met][:k]
        shares.append(len(set(best) & set(found)) / len(best))
    return float(np.mean(shares))


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_the_recall_is_what_a_full_sort_says(method: str) -> None:
    pytest.importorskip("faiss")
    own = catalogue(1_500, 60)
    found = approximate.approximate_index(own.item_vectors, method)
    said = approximate.measured_recall(found, own)
    assert said["users"] == 60
    for k in (10, 100):
        expected = independent_recall(own.item_vectors, own, found.index, range(60), k)
        assert said[f"recall@{k}"] == pytest.approx(expected), k
    assert said["recall@10"] > 0.6


def test_what_is_not_looked_at_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(approximate, "_LEAST_CELLS", 1)
    monkeypatch.setattr(approximate, "_CELLS_A_LOOK", 100_000)  # one cell alone
    own = catalogue(1_500, 40)
    found = approximate.approximate_index(own.item_vectors, "ivf")
    said = approximate.measured_recall(found, own)
    assert found.said["nprobe"] == 1
    assert said["recall@100"] == pytest.approx(independent_recall(own.item_vectors, own, found.index, range(40), 100))
    assert said["recall@100"] < 0.9
    warning = approximate.few_found({**found.said, **said})
    assert warning is not None
    assert f"recall@100 {said['recall@100']:.3f}" in warning


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_any_of_items_that_score_the_same_is_found(method: str) -> None:
    pytest.importorskip("faiss")
    own = catalogue(400, 6)
    items = np.repeat(own.item_vectors[:1], 400, axis=0)
    alike = approximate.measured_recall(approximate.approximate_index(items, method), replace(own, item_vectors=items))
    assert alike["recall@10"] == 1.0
    nobody = replace(own, user_vectors=np.zeros_like(own.user_vectors))
    said = approximate.measured_recall(approximate.approximate_index(own.item_vectors, method), nobody)
    assert said["recall@10"] == 1.0


def test_no_more_users_are_asked_than_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(approximate, "MEASURED_USERS", 7)
    own = catalogue(100, 20)
    assert approximate.measured_recall(approximate.approximate_index(own.item_vectors, "ivf"), own)["users"] == 7


def test_the_longest_item_and_a_query_of_zeros_stay_finite() -> None:
    items = np.array([[3, 4], [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(approximate.distant(items, 5.0), [[3, 4, 0], [0, 0, 5]])
    np.testing.assert_array_equal(approximate.lengthened(np.zeros((1, 2), np.float32), 5.0), [[0, 0, 0]])


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_the_search_of_the_note_finds_the_first_recommendations(
    run_toy: Run, toy_root: Path, tmp_path: Path, method: str
) -> None:
    pytest.importorskip("faiss")
    artefact = run_toy(stage=SERVING, name="exported").ensure(SERVING)
    folder = tmp_path / method
    shown = export(toy_root, "--format", "faiss", "--approximate", method, str(folder), "--json")
    assert shown.exit_code == 0, shown.output
    note = json.loads(shown.stdout)
    assert note["approximate"]["method"] == method
    assert (note["approximate"]["recall@10"], note["approximate"]["recall@100"]) == (1.0, 1.0)  # of 40 items
    assert json.loads((folder / "export.json").read_text()) == {"glta_export": 1, **note}
    readme = (folder / "README.md").read_text()
    assert "The index is approximate" in readme
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    environment = {**os.environ, "POLARS_FMT_MAX_ROWS": "20"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, env=environment
    )
    index = Index(artefact)
    first = [entry["item"] for entry in recommend(artefact, index.user_ids[0], 10)["recommendations"]]
    assert re.findall(r"\bi\d+\b", ran.stdout) == first
    assert len(pl.read_parquet(folder / "items.parquet")) == note["items"]


def test_few_found_is_said_where_it_is_exported(
    run_toy: Run, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    run_toy(stage=SERVING, name="exported")
    monkeypatch.setattr(approximate, "FEW_FOUND", 1.01)
    shown = export(toy_root, "--format", "faiss", "--approximate", "hnsw", str(tmp_path / "few"))
    assert "misses many of the best items" in " ".join(shown.stderr.split())
    assert "of the exact first ten it finds 100.0%" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--format", "parquet", "--approximate", "ivf"], "means nothing with --format parquet"),
        (["--format", "huggingface", "--approximate", "ivf"], "means nothing with --format huggingface"),
        (["--format", "faiss", "--approximate", "hnws"], "'hnws' is not one of ivf, hnsw"),
    ],
)
def test_what_cannot_be_approximate_is_refused(tmp_path: Path, arguments: list[str], problem: str) -> None:
    if "faiss" in arguments:
        pytest.importorskip("faiss")
    with pytest.raises(InputError, match=problem):
        export(tmp_path, *arguments, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_without_faiss_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.answers.export_formats.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs faiss-cpu") as refused:
        export(tmp_path, "--format", "faiss", "--approximate", "ivf", str(tmp_path / "new"))
    assert refused.value.hint == "pip install 'glta[faiss]'"
