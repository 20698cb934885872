"""Odd columns and values: read where their meaning is plain, else refused by name or told in a warning."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

PAIRS = [(user, item) for user in range(10) for item in range(6)]
LOG = "user,item\n" + "".join(f"{user},{item}\n" for user, item in PAIRS)


@pytest.fixture
def prepared(tmp_path: Path):
    """Prepare files of which the first is the source; a frame is written as Parquet."""

    def get(files: dict[str, str | pl.DataFrame], **options: object) -> PreparedDataset:
        for name, content in files.items():
            if isinstance(content, pl.DataFrame):
                content.write_parquet(tmp_path / name)
            else:
                (tmp_path / name).write_text(content, encoding="utf-8")
        source = str(tmp_path / next(iter(files)))
        settings = DatasetSettings.model_validate({"name": "table", "source": source, "options": options})
        return prepare(settings, Workspace(tmp_path / "workspace"))[0]

    return get


def log_with(**columns: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"user": [user for user, _ in PAIRS], "item": [item for _, item in PAIRS], **columns})


def warnings_of(dataset: PreparedDataset) -> str:
    return "\n".join(dataset.warnings)


@pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(["3", "4", "1600000000", "1600000001"])])
def test_categories_are_read_as_the_texts_they_name(prepared, kind):
    ratings = pl.Series(["3", "4"] * 30, dtype=kind)
    times = pl.Series(["1600000000", "1600000001"] * 30, dtype=kind)
    dataset = prepared({"log.parquet": log_with(rating=ratings, timestamp=times)})
    rows = pl.read_parquet(dataset.artefact.file("interactions.parquet"))
    assert set(rows["rating"]) == {3.0, 4.0}
    assert set(rows["timestamp"]) == {1_600_000_000, 1_600_000_001}


@pytest.mark.parametrize("titles", [[b"T\xff"] * 6, [[b"T\xff"]] * 6])
def test_bytes_that_are_no_title_are_refused_by_file_and_column(prepared, titles):
    items = pl.DataFrame({"item": range(6), "title": titles})
    with pytest.raises(InputError) as caught:
        prepared({"log.csv": LOG, "items.parquet": items}, items="items.parquet")
    assert caught.value.location.endswith("items.parquet")
    assert "column title holds" in caught.value.problem
    assert caught.value.hint
