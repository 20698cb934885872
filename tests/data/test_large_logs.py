"""Large logs: what is done block by block comes to the same, in memory that a few bytes a row decide."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from glta_cli.data import codes, dataset_files, user_blocks
from glta_cli.data.cleaning import clean
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.recipe.split_settings import SplitSettings
from glta_cli.workspace.workspace import Workspace

MADE_UP_LOG = Path(__file__).parents[1] / "benchmarks" / "made_up_log.py"
ROWS = 3_000_000
# With ids as texts, and numbers of eight bytes for each of them in each step, it is 470.
MOST_BYTES = 430 << 20


def log(folder: Path) -> Path:
    """A log of a few hundred rows with all that a row may have, and pairs that are there several times."""
    draw = np.random.default_rng(0)
    count = 600
    table = pl.DataFrame(
        {
            "user": [f"u{n}" for n in draw.integers(0, 25, count)],
            "item": [f"i{n}" for n in draw.integers(0, 40, count)],
            "rating": np.where(draw.random(count) < 0.05, np.nan, draw.integers(1, 6, count)),
            "timestamp": draw.integers(1_600_000_000, 1_600_000_400, count),
            "event": np.where(draw.random(count) < 0.7, "view", "purchase"),
            "split": np.array(["train", "valid", "test"])[draw.integers(0, 3, count)],
        }
    )
    path = folder / "log.parquet"
    table.write_parquet(path)
    return path


def prepared(source: Path, data: Path, strategy: str, options: dict[str, object]) -> PreparedDataset:
    split = SplitSettings.model_validate({"strategy": strategy})
    settings = DatasetSettings(
        name="table", source=str(source), kcore=2, min_rating=None, split=split, options=dict(options)
    )
    return prepare(settings, Workspace(data))[0]


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("ratio", {}),
        ("leave-last-out", {}),
        ("temporal", {}),
        ("given", {}),
        ("cold-items", {}),
        ("cold-users", {}),
        ("ratio", {"events": {"purchase": 3, "view": 1}, "seen": ["purchase"]}),
        ("given", {"events": {"purchase": 3, "view": 1}}),
    ],
)
def test_blocks_of_users_come_to_the_same_as_all_at_once(tmp_path, monkeypatch, strategy, options):
    source = log(tmp_path)
    whole = prepared(source, tmp_path / "whole", strategy, options)

    monkeypatch.setattr(user_blocks, "BLOCK_ROWS", 50)
    monkeypatch.setattr(codes, "PIECE", 70)
    monkeypatch.setattr(dataset_files, "WRITTEN_AT_ONCE", 60)
    monkeypatch.setattr(dataset_files, "WRITTEN_ROWS", 60)
    in_blocks = prepared(source, tmp_path / "blocks", strategy, options)

    assert in_blocks.table().equals(whole.table())
    assert (in_blocks.user_ids, in_blocks.item_ids) == (whole.user_ids, whole.item_ids)
    assert in_blocks.artefact.details == whole.artefact.details


def test_a_loader_may_give_ids_as_categories():
    ids = {"user": ["b", "a", None, "b", " ", "b"], "item": ["x", "y", "x", "x", "y", "z"]}
    texts = pl.LazyFrame(ids, schema={"user": pl.String, "item": pl.String})
    kinds = texts.with_columns(pl.all().cast(pl.Categorical))

    cleaned, expected = (clean(frame, min_rating=None, kcore=0) for frame in (kinds, texts))

    assert (cleaned.user_ids, cleaned.item_ids) == (["b", "a"], ["x", "y", "z"])
    assert cleaned.interactions.equals(expected.interactions)
    assert (cleaned.dropped, cleaned.first_repeated) == (expected.dropped, expected.first_repeated)


@pytest.mark.slow
def test_a_log_of_millions_of_rows_is_prepared_in_bounded_memory(tmp_path):
    source = tmp_path / "log"
    made = [str(MADE_UP_LOG), str(source), "--rows", str(ROWS), "--users", "150000", "--items", "15000"]
    subprocess.run([sys.executable, *made, "--part", "1000000"], check=True)
    prepare_it = (
        "import resource, sys; sys.argv[1:] = ['prepare', 'table', '--source', 'log']\n"
        "from glta_cli.main import main\n"
        "try: main()\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    environment = {**os.environ, "GLTA_DATA_DIR": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", prepare_it]
    told = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    assert f"{ROWS:,}" in told
    assert int(re.findall(r"peak (\d+)", told)[0]) < MOST_BYTES, told
