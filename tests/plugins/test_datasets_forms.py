"""Values and files as people's programs write them: decimal commas, dates of a country, JSON lists, odd names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.core.errors import InputError
from glta_cli.plugin import RawDataset
from glta_cli.recipe.files import recipe_from


def read(path: Path, **options: object) -> tuple[RawDataset, pl.DataFrame]:
    """What the loader reads, whose account is checked."""
    table = Table("table", TableSettings.model_validate(options))
    raw = table.read(table.locate(path, None))  # type: ignore[arg-type]
    rows = raw.interactions.collect()
    assert raw.read == rows.height + sum(raw.dropped.values())
    return raw, rows


def written(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def second(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


# -------------------------------------------------------------------------------------------------- decimals


@pytest.mark.parametrize(
    "text",
    [
        "user;item;rating\na;1;4,5\nb;2;3\nc;3;,25\nd;4;n/a\n",
        'user,item,rating\na,1,"4,5"\nb,2,3\nc,3,",25"\nd,4,n/a\n',
        "user\titem\trating\na\t1\t 4,5 \nb\t2\t3\nc\t3\t,25\nd\t4\tn/a\n",
    ],
    ids=["semicolons", "quoted", "tabs"],
)
def test_a_decimal_comma_is_found_by_looking(tmp_path, text):
    raw, rows = read(written(tmp_path, text))
    assert rows["rating"].to_list() == [4.5, 3.0, 0.25, None]
    assert raw.dropped == {}


def test_where_a_rating_has_a_point_a_comma_is_no_decimal_sign(tmp_path):
    raw, rows = read(written(tmp_path, "user;item;rating\na;1;4.5\nb;2;3,5\n"))
    assert rows["rating"].to_list() == [4.5]
    assert raw.dropped == {"bad rating": 1}
    assert raw.examples["bad rating"] == "line 3: 'b;2;3,5'"


def test_a_comma_that_may_be_one_of_thousands_is_asked_about(tmp_path):
    path = written(tmp_path, "user;item;rating\na;1;1,250\nb;2;7\n")
    with pytest.raises(InputError, match="1,250 may be thousands or decimals") as caught:
        read(path)
    assert "-o decimal=," in str(caught.value.hint)
    assert read(path, decimal=",")[1]["rating"].to_list() == [1.25, 7.0]
    raw, rows = read(path, decimal=".")
    assert rows["rating"].to_list() == [7.0]
    assert raw.dropped == {"bad rating": 1}


def test_with_a_decimal_comma_named_a_point_is_no_decimal_sign(tmp_path):
    raw, rows = read(written(tmp_path, "user;item;rating\na;1;1.250\nb;2;3,5\n"), decimal=",")
    assert rows["rating"].to_list() == [3.5]
    assert raw.examples["bad rating"] == "line 2: 'a;1;1.250'"


# ----------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["13.09.2020 12:32", "01.02.2020"], [second(2020, 9, 13, 12, 32), second(2020, 2, 1)]),
        (["1.2.2020 7:05:09", "2020-09-13"], [second(2020, 2, 1, 7, 5, 9), second(2020, 9, 13)]),
        (["13/09/2020", "01/02/2020 00:01"], [second(2020, 9, 13), second(2020, 2, 1, 0, 1)]),
        (["09/13/2020", "01/02/2020"], [second(2020, 9, 13), second(2020, 1, 2)]),
        (["9/13/2020 1:30 PM", "1/2/2020 12:05:01 am"], [second(2020, 9, 13, 13, 30), second(2020, 1, 2, 0, 5, 1)]),
        (["13-09-2020", "n/a"], [second(2020, 9, 13), None]),
    ],
)
def test_dates_with_the_year_last_are_read_where_the_order_is_told(tmp_path, dates, expected):
    rows = "".join(f"u{number};i;{date}\n" for number, date in enumerate(dates))
    raw, read_rows = read(written(tmp_path, f"user;item;date\n{rows}"))
    assert read_rows["timestamp"].to_list() == expected
    assert raw.dropped == {}


def test_a_date_that_does_not_exist_is_a_bad_time(tmp_path):
    raw, rows = read(written(tmp_path, "user;item;date\na;1;13.09.2020\nb;1;31.02.2020\nc;1;09.13.2020\n"))
    assert rows["timestamp"].to_list() == [second(2020, 9, 13)]
    assert raw.dropped == {"bad time": 2}
    assert raw.examples["bad time"] == "line 3: 'b;1;31.02.2020'"


@pytest.mark.parametrize(
    ("dates", "problem"),
    [
        (("03/04/2020", "05/06/2020"), "dates such as 03/04/2020 do not tell whether the day or the month"),
        (("13/04/2020", "05/16/2020"), "some have the day first and some the month: 13/04/2020 and 05/16/2020"),
    ],
)
def test_an_order_nobody_can_tell_is_asked_about(tmp_path, dates, problem):
    path = written(tmp_path, f"user;item;date\na;1;{dates[0]}\nb;2;{dates[1]}\n")
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.location == str(path)
    assert problem in str(caught.value.problem)
    assert "-o timestamp_format=%d/%m/%Y" in str(caught.value.hint)
    raw, rows = read(path, timestamp_format="%d/%m/%Y")
    assert rows["timestamp"][0] == second(2020, int(dates[0][3:5]), int(dates[0][:2]))
    assert raw.dropped.get("bad time", 0) == ("16" in dates[1])


def test_a_named_form_is_the_only_one_read(tmp_path):
    text = "user,item,time\na,1,20200913\nb,2,2020-09-13\nc,3,\n"
    raw, rows = read(written(tmp_path, text), timestamp_format="%Y%m%d")
    assert rows["timestamp"].to_list() == [second(2020, 9, 13), None]
    assert raw.examples["bad time"] == "line 3: 'b,2,2020-09-13'"
    with pytest.raises(InputError, match="no line can be read: bad time: 3") as caught:
        read(written(tmp_path, "user,item,time\na,1,20200913\nb,2,20200913\nc,3,x\n"), timestamp_format="%d.%m.%Y")
    assert "times are as in %d.%m.%Y" in str(caught.value.hint)


def test_a_named_form_reads_columns_of_numbers_and_leaves_times_alone(tmp_path):
    for number, column in enumerate(([20200913], [20200913.0], [datetime(2020, 9, 13)])):
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame({"user": ["a"], "item": ["1"], "time": column}).write_parquet(path)
        assert read(path, timestamp_format="%Y%m%d")[1]["timestamp"].to_list() == [second(2020, 9, 13)]


def test_an_offset_in_a_named_form_counts(tmp_path):
    path = written(tmp_path, "user,item,time\na,1,13.09.2020 02:00 +0200\n")
    assert read(path, timestamp_format="%d.%m.%Y %H:%M %z")[1]["timestamp"].to_list() == [second(2020, 9, 13)]


def test_a_first_line_with_such_a_date_is_no_header(tmp_path):
    with pytest.raises(InputError, match="the first line looks like data"):
        read(written(tmp_path, "anna,bread,13.09.2020\nbert,milk,14.09.2020\n"))


@pytest.mark.parametrize("value", ["%d.%m.%Y %H:%M", ",", "|", "@"])
def test_what_no_yaml_begins_with_is_taken_as_text_on_the_command_line(value):
    recipe = recipe_from({"dataset": {"name": "table"}}, [f"dataset.options.encoding={value}"])
    assert recipe.dataset.options == {"encoding": value}


# --------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("layout", ["lines", "one line"])
def test_a_json_list_of_objects_is_read_as_lines_are(tmp_path, layout):
    records = [{"user": 1, "item": 9007199254740993}, "no record", {"user": 2, "item": "b", "rating": 4.5}]
    text = json.dumps(records, indent=2 if layout == "lines" else None)
    raw, rows = read(written(tmp_path, text, "log.json"))
    assert rows["item"].to_list() == ["9007199254740993", "b"]
    assert rows["rating"].to_list() == [None, 4.5]
    assert raw.examples == {"unreadable line": "record 2: 'no record'"}


def test_a_broken_json_list_is_named(tmp_path):
    with pytest.raises(InputError, match="the JSON list cannot be read"):
        read(written(tmp_path, '[\n{"user": 1, "item": 2},\n{"user": 1', "log.json"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.txt", "user item\na 1\n"),
        ("log.dat", "user::item\na::1\n"),
        ("log.inter", "user_id:token\titem_id:token\na\t1\n"),
        ("log.ndjson", '{"user": "a", "item": "1"}\n'),
    ],
)
def test_other_programs_names_are_known(tmp_path, name, text):
    assert read(written(tmp_path, text, name))[1].rows() == [("a", "1")]


@pytest.mark.parametrize(
    ("named", "text"),
    [("csv", "user;item\na;1\n"), ("tsv", "user\titem\na\t1\n"), ("json", '[{"user": "a", "item": "1"}]')],
)
def test_a_format_can_be_named_whatever_the_file_is_called(tmp_path, named, text):
    path = written(tmp_path, text, "export.2024-05-01")
    with pytest.raises(InputError, match="its format is not told by its name") as caught:
        read(path)
    assert "-o format=csv" in str(caught.value.hint)
    assert read(path, format=named)[1].rows() == [("a", "1")]


# ------------------------------------------------------------------------------------ what spreadsheets put around


def test_a_first_line_that_names_the_separator_is_none_of_the_log(tmp_path):
    lines = ["sep=;", "user;item;time", "a;x,1;2024-1-5 9:5", "b;y;2024-01-05 10:05:7", "c;z;soon"]
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    raw, rows = read(path)
    assert rows.rows() == [("a", "x,1", second(2024, 1, 5, 9, 5)), ("b", "y", second(2024, 1, 5, 10, 5, 7))]
    assert raw.examples["bad time"] == "line 5: 'c;z;soon'"
    assert raw.files[0].form["separator"] == ";"


def test_the_encoding_that_a_mark_names_is_told(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes("user,item\né,x\n".encode("utf-16"))
    raw, rows = read(path)
    assert rows.rows() == [("é", "x")]
    assert raw.files[0].form["encoding"] == "utf-16"
