"""`glta reproduce`: the published table on a toy dataset in MovieLens-1M's own files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def toy_movielens(tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path) -> Path:
    """A recipe `ours` for the toy interactions as ratings.dat and movies.dat."""
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    with (toy_table / "interactions.csv").open() as file:
        rows = [f"{row['user'][1:]}::{row['item'][1:]}::4::{row['timestamp']}\n" for row in csv.DictReader(file)]
    (folder / "ratings.dat").write_text("".join(rows))
    with (toy_table / "items.csv").open() as file:
        movies = [f"{row['item'][1:]}::{row['title']} (1999)::Drama|War\n" for row in csv.DictReader(file)]
    (folder / "movies.dat").write_text("".join(movies))
    graph = tiny_settings["graph"] | {"training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.05}}
    settings = tiny_settings | {
        "dataset": {"name": "movielens-1m", "source": str(folder)},
        "graph": graph | {"alignment_holdout": 0.0},
        "interests": {"profile": True, "prediction": True, "words": 2, "items": 2, "new_tokens": 4},
        "finetune": {
            "head": "linear",
            "loss": "positions",
            "readout": "positions",
            "positions": 4,
            "fusion": False,
            "training": {"epochs": 1, "batch_size": 16},
        },
        "evaluate": {"bootstrap": 20, "baselines": {"hccf": {"hyperedges": 2}}},
    }
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


ENCODERS = ["hccf", "lightgcn-plus", "hccf-plus", "rlmrec-con", "rlmrec-gen"]
ABLATIONS = ["wo-pf-pd", "wo-pf", "wo-pd"]


def reproduce(glta: Any, *arguments: str) -> Any:
    return glta("reproduce", "paper", "--dataset", "movielens-1m", *arguments)


def test_every_row_of_the_table_is_measured(glta: Any, toy_movielens: Path, workspace_root: Path) -> None:
    first = reproduce(glta, "--recipe", str(toy_movielens), "--report", "report.html", "--json")
    assert first.code == 0, first.err
    report = first.json
    assert list(report["models"]) == ["popularity", "ease", *ENCODERS, *ABLATIONS, "lightgcn", "glta"]
    assert report["run"] == "ours"
    assert report["published"]["GLTA"] == {
        "row": "glta",
        "published": {"precision@5": 0.0968, "precision@10": 0.0821, "ndcg@5": 0.1162, "ndcg@10": 0.1403},
    }
    # A row has the settings the recipe gives it.
    assert report["settings"]["hccf"] == {"encoder": "hccf", "options": {"hyperedges": 2}}
    assert {each["row"] for each in report["published"].values()} <= set(report["models"])
    assert "generated words: profile and prediction, 2 words each" in report["differs"]
    page = (glta.folder / "report.html").read_text()
    assert all(f'<th scope="row">{name}</th>' in page for name in report["models"])
    assert str(workspace_root) not in page

    # What was trained is found again, under the name the option gives.
    again = reproduce(glta, "--recipe", str(toy_movielens), "--run", "mine")
    assert again.code == 0, again.err
    assert "done in" not in again.err
    assert "movielens-1m, run mine: measured and published" in again.out
    assert max(map(len, again.out.splitlines())) <= 80
    for label in ("LightGCN", "HCCF+", "RLMRec-Gen", "GLTA", "w/o both"):
        [place] = [n for n, line in enumerate(again.out.splitlines()) if line.strip().startswith(f"{label} ")]
        assert again.out.splitlines()[place + 1].split()[0] == "published"
    measured = f"{report['models']['glta']['ndcg@10']:.4f}"
    assert measured in next(line for line in again.out.splitlines() if line.strip().startswith("GLTA "))

    # A run brings its own recipe.
    kept = reproduce(glta, "--run", "mine", "--json")
    assert kept.code == 0, kept.err
    assert kept.json["models"] == report["models"]


def test_seeds_and_an_encoder_alone(glta: Any, toy_movielens: Path) -> None:
    finished = reproduce(
        glta, "--recipe", str(toy_movielens), "--seeds", "2", "--seed", "3", "--json",
        "--set", "finetune.enabled=false", "--set", "evaluate.cutoffs=[7]",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    report = finished.json
    assert report["seeds"] == [3, 4]
    assert list(report["models"]) == ["popularity", "ease", *ENCODERS, "lightgcn"]
    assert "ndcg@7" in report["models"]["hccf"]
    assert "precision@5" in report["models"]["hccf"]
    assert "GLTA: not measured, the recipe stops at the graph encoder" in report["differs"]


def test_another_dataset_is_refused_before_anything_runs(
    glta: Any, tiny_recipe_file: Path, workspace_root: Path
) -> None:
    finished = reproduce(glta, "--recipe", str(tiny_recipe_file))
    assert finished.code == 2
    assert finished.err == (
        "dataset.name: the recipe of run toy is about table, the published table about movielens-1m\n"
        "  hint: --recipe paper/movielens-1m-smollm2 is about the table's\n"
    )
    assert not workspace_root.exists()


def test_without_a_recipe_it_takes_the_papers_own_settings(glta: Any, workspace_root: Path) -> None:
    finished = reproduce(glta, "--device", "cpu", "--set", "dataset.name=table")
    assert finished.code == 2
    assert finished.err.startswith("no recipe named: taking paper/movielens-1m\n")
    assert "4bit" not in finished.err  # a processor packs weights too
    assert not any(path.is_file() for path in workspace_root.rglob("*"))


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("amazon", "Grocery_and_Gourmet_Food.csv.gz"),
        ("goodreads", "goodreads_interactions_history_biography.json.gz"),
    ],
)
def test_data_that_cannot_be_had_is_told_where_to_put(glta: Any, dataset: str, file: str) -> None:
    offline = {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    finished = glta("reproduce", "paper", "--dataset", dataset, "--set", "finetune.enabled=false", **offline)
    assert finished.code == 1
    assert f"{file}: cannot be downloaded" in finished.err
    assert "hint: put the file at " in finished.err
    assert "or name a local copy with --source of `glta prepare`" in finished.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reproduce", "paper", "--dataset", "movielens"), "'movielens' is not one of 'movielens-1m', 'amazon'"),
        (("reproduce", "peper", "--dataset", "amazon"), "'peper' is not"),
        (("reproduce", "paper"), "Missing option '--dataset'"),
        (("reproduce", "paper", "--dataset", "amazon", "--seeds", "0"), "Invalid value for '--seeds'"),
    ],
)
def test_what_there_is_no_table_of(glta: Any, arguments: tuple[str, ...], message: str) -> None:
    finished = glta(*arguments)
    assert finished.code == 2
    assert message in finished.err


def test_a_report_that_cannot_be_written_is_said_at_once(glta: Any, toy_movielens: Path, workspace_root: Path) -> None:
    finished = reproduce(glta, "--recipe", str(toy_movielens), "--report", "absent/report.html")
    assert finished.code == 2
    assert "--report absent/report.html: there is no folder absent" in finished.err
    assert not workspace_root.exists()
