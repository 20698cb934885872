"""Columns by their numbers, times in two columns, and an `id` that is not the item."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

NOON = 1_600_000_000  # 2020-09-13 12:26:40


@pytest.fixture
def prepared(tmp_path: Path):
    """Prepare files of which the first is the source."""

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


def times_of(dataset: PreparedDataset) -> list[int]:
    return pl.read_parquet(dataset.artefact.file("interactions.parquet"))["timestamp"].to_list()


@pytest.mark.parametrize("separator", [",", "::", "\t"])
@pytest.mark.parametrize("user", [1, "1"])
def test_columns_of_a_file_without_a_header_go_by_their_numbers(prepared, separator, user):
    log = "".join(separator.join((f"u{n}", "x", f"00{n}", str(NOON + n))) + "\n" for n in range(4))
    items = "000,Zero\n001,One\n"
    dataset = prepared(
        {"log.dat": log, "items.csv": items},
        header=False,
        user=user,
        item=3,
        timestamp=4,
        items="items.csv",
        items_header=False,
        items_item=1,
        title=2,
    )
    assert dataset.user_ids == ["u0", "u1", "u2", "u3"]
    assert dataset.item_ids == ["000", "001", "002", "003"]
    assert dataset.titles[:2] == ["Zero", "One"]
    assert times_of(dataset) == [NOON + n for n in range(4)]
    assert dataset.account["rows"]["read"] == 4


def test_a_first_line_that_looks_like_data_says_how_to_name_columns(prepared):
    with pytest.raises(InputError, match="looks like data") as caught:
        prepared({"log.csv": "a,5,1600000000\nb,6,1600000000\n"})
    assert "-o header=false -o user=1" in str(caught.value)


def test_a_format_that_names_its_columns_has_a_header(prepared):
    with pytest.raises(InputError, match="names its columns itself"):
        prepared({"log.parquet": pl.DataFrame({"user": ["a"], "item": ["b"]})}, header=False)


@pytest.mark.parametrize("options", [{}, {"timestamp": ["date", "time"]}])
@pytest.mark.parametrize("day", ["2020-09-13", "13.09.2020"])
def test_a_date_and_a_time_in_two_columns_are_one_time(prepared, options, day):
    log = f"user,item,date,time\na,x,{day},12:26:40\na,y,{day},13:00\na,z,{day},\n"
    dataset = prepared({"log.csv": log}, **options)
    midnight = NOON - 12 * 3600 - 26 * 60 - 40
    assert times_of(dataset) == [midnight, NOON, midnight + 13 * 3600]
    roles = {column["name"]: column["role"] for column in dataset.account["files"][0]["columns"]}
    assert roles == {"user": "user", "item": "item", "date": "timestamp", "time": "timestamp"}


def test_a_date_and_a_time_of_parquet_are_one_time(prepared):
    at = pl.from_epoch(pl.Series("at", [NOON, NOON + 60]), time_unit="s")
    frame = pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "date": at.dt.date(), "time": at.dt.time()})
    assert times_of(prepared({"log.parquet": frame})) == [NOON, NOON + 60]


def test_an_id_that_may_number_the_rows_is_no_item_by_itself(prepared):
    log = "id,customer_id,product_code\n" + "".join(f"{n},c{n % 3},p{n % 5}\n" for n in range(12))
    with pytest.raises(InputError) as caught:
        prepared({"log.csv": log})
    assert "several columns could be the item: 'id', such as 0 and 'product_code', such as p0" in str(caught.value)
    assert "-o item=product_code" in str(caught.value)
    assert len(prepared({"log.csv": log}, item="product_code").item_ids) == 5
    assert len(prepared({"log.csv": log.replace("product_code", "colour")}).item_ids) == 12


def test_the_items_go_by_the_name_the_log_gives_them(prepared):
    log = "user,artikel\na,1\nb,2\n"
    dataset = prepared({"log.csv": log, "p.csv": "artikel,title\n1,One\n2,Two\n"}, item="artikel", items="p.csv")
    assert dataset.titles == ["One", "Two"]
