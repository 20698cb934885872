"""Ids as they are written and times by their size, whatever file they stand in."""

from __future__ import annotations

import json
from datetime import time, timedelta
from pathlib import Path

import polars as pl
import pytest
from glta_datasets.times import times_of

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


def prepared(source: Path, name: str = "table", **options: object) -> PreparedDataset:
    settings = DatasetSettings(name=name, source=str(source), most_dropped=1, options=options)
    return prepare(settings, Workspace(source.parent / "workspace"))[0]


# --------------------------------------------------------------------------------------------------------- ids


HUGE = [10**22 + number for number in range(30)]


def review(user: object, item: object = "B1") -> str:
    return json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": 1_600_000_000})


def test_json_numbers_of_any_size_stay_apart(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"user": {user}, "item": {user}.0}}\n' for user in HUGE))
    dataset = prepared(path)
    assert dataset.user_ids == [str(user) for user in HUGE]
    assert dataset.item_ids == dataset.user_ids


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # As where a file of Windows and another were joined.
        ("log.csv", "user,item,time\r\nann,x,1600000000\r\nann ,y,1600000001\n"),
        # The line that lacks a separator has none of the blanks either.
        ("log.tsv", "user\titem\tnote\nann\tx\tn\nann \ty\n"),
        ("log.tsv", 'user\titem\tnote\nann\tx\t"n"\nann \ty\n'),
    ],
)
def test_blanks_around_ids_go_though_lines_are_not_all_alike(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert prepared(path).user_ids == ["ann"]


@pytest.mark.parametrize("broken", [[], ["{broken"]])
def test_amazons_ids_of_any_size_stay_apart_beside_a_broken_line(tmp_path, broken):
    path = tmp_path / "Software_5.json"
    path.write_text("\n".join([*(review(user) for user in HUGE), *broken]))
    dataset = prepared(path, "amazon-software")
    assert dataset.user_ids == [str(user) for user in HUGE]
    assert dataset.summary()["dropped"] == ({"unreadable line": 1} if broken else {})


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (["7.0", "8", '"9"'], ["7", "8", "9"]),
        (["1e3", "1.5", "true"], ["1000", "1.5", "true"]),
        (['" a "', '"\\u00a0b"', '"007"'], ["a", "b", "007"]),
        (["0.12345678901234567891", "1", "2"], ["0.12345678901234567891", "1", "2"]),
    ],
)
@pytest.mark.parametrize("loader", ["table", "amazon-software"])
def test_json_ids_are_the_text_as_it_is_written(tmp_path, written, ids, loader):
    path = tmp_path / ("log.jsonl" if loader == "table" else "Software_5.json")
    keys = ("user", "item") if loader == "table" else ("reviewerID", "asin")
    path.write_text("".join(f'{{"{keys[0]}": {user}, "{keys[1]}": "x", "overall": 5}}\n' for user in written))
    assert prepared(path, loader).user_ids == ids


def test_a_list_or_an_object_is_no_id(tmp_path):
    path = tmp_path / "log.jsonl"
    deep = "[" * 900 + "]" * 900
    path.write_text(f'{{"user": [1], "item": 1}}\n{{"user": "a", "item": {deep}}}\n{{"user": "a", "item": 1}}\n')
    assert prepared(path).summary()["dropped"] == {"missing user": 1, "missing item": 1}


@pytest.mark.parametrize(
    "kind", [pl.Float64, pl.Float32, pl.Int8, pl.UInt64, pl.Decimal(10, 2), pl.Categorical, pl.Binary]
)
def test_parquet_ids_have_no_point(tmp_path, kind):
    numbers = pl.Series("user", ["1", "2", None, "30"])
    users = numbers.cast(kind) if kind in (pl.Categorical, pl.Binary) else numbers.cast(pl.Int64).cast(kind)
    pl.DataFrame({"user": users, "item": ["x"] * 4}).write_parquet(tmp_path / "log.parquet")
    dataset = prepared(tmp_path / "log.parquet")
    assert dataset.user_ids == ["1", "2", "30"]
    assert dataset.summary()["dropped"] == {"missing user": 1}


def test_parquet_floats_too_large_to_be_exact_are_told(tmp_path):
    users = pl.Series("user", [float(2**53), 2.0**63, 1e22])
    pl.DataFrame({"user": users, "item": ["x"] * 3}).write_parquet(tmp_path / "log.parquet")
    dataset = prepared(tmp_path / "log.parquet")
    assert dataset.user_ids == [str(2**53), str(2**63), str(10**22)]
    assert any("3 ids of column user are floats" in warning for warning in dataset.warnings)


@pytest.mark.parametrize("log", ["user, item\na, 1.0\nb,2.0 \n,3.0\n", "\ufeffuser\titem\na\t1\nb\t2\n\t3\n"])
@pytest.mark.parametrize("items", ["item,title\n1,One\n2,Two\n", "\ufeff item ; title \n1.0;One\n2.0;Two\n"])
def test_the_ids_of_a_log_and_of_its_items_meet(tmp_path, log, items):
    (tmp_path / "log.tsv").write_text(log)
    (tmp_path / "i.csv").write_text(items)
    dataset = prepared(tmp_path / "log.tsv", items="i.csv")
    assert (dataset.item_ids, dataset.titles) == (["1", "2"], ["One", "Two"])


def test_a_point_that_tells_ids_apart_stays(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\na,1.0\na,1\na,1.1\n")
    assert prepared(tmp_path / "log.csv").item_ids == ["1.0", "1", "1.1"]


@pytest.mark.parametrize(
    ("name", "loader", "content"),
    [
        ("log.csv", "table", "user,item\na,1\n"),
        ("log.tsv", "table", "user\titem\na\t1\n"),
        ("log.jsonl", "table", '{"user": "a", "item": 1}\n'),
        ("Software_5.json", "amazon-software", review("a", "1") + "\n"),
        ("Software.csv", "amazon-software", "user_id,parent_asin,rating,timestamp\na,1,5.0,1600000000000\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_costs_nothing(tmp_path, name, loader, content, encoding):
    (tmp_path / name).write_text(content, encoding=encoding)
    dataset = prepared(tmp_path / name, loader)
    assert (dataset.user_ids, dataset.item_ids, dataset.summary()["dropped"]) == (["a"], ["1"], {})


# ------------------------------------------------------------------------------------------------------- times


NOON = 1_600_000_000


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1600000000", NOON),
        ("1600000000.9", NOON),
        ("1.6e9", NOON),
        ("1600000000000", NOON),
        ("1600000000000000", NOON),
        ("1600000000000000000", NOON),
        ("2020-09-13 12:26:40", NOON),
        ("2020-09-13T12:26:40Z", NOON),
        ("2020-09-13t12:26:40z", NOON),
        ("2020-09-13 12:26:40+00:00", NOON),
        ("2020-09-13 12:26:40.999999+00:00", NOON),
        ("2020-09-13T14:26:40+0200", NOON),
        ("2020-09-13 14:26:40 +02:00", NOON),
        ("2020-09-13T07:26:40-05", NOON),
        ("2020-09-13 12:26:40 UTC", NOON),
        ("2020-09-13 12:26", NOON - 40),
        ("2020/09/13 12:26", NOON - 40),
        ("2020-09-13", NOON - 44_800),
        (" 2020-09-13 ", NOON - 44_800),
        ("13.09.2020", None),
        ("2020-02-30", None),
        ("2020-09-13 25:00", None),
        ("noon", None),
        ("", None),
    ],
)
def test_a_time_is_read_by_what_it_is(written, seconds):
    assert times_of(pl.Series([written])).seconds.to_list() == [seconds]
    # And among others of every form, each by itself.
    among = times_of(pl.Series(["1600000000", written, "2020-09-13T12:26:40Z", None, "1600000000000"]))
    assert among.seconds.to_list() == [NOON, seconds, NOON, None, NOON]


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_units_that_are_mixed_are_told_and_read_each_by_its_size(kind):
    times = times_of(pl.Series([NOON, NOON * 1000, None, NOON * 10**6]).cast(kind))
    assert times.seconds.to_list() == [NOON, NOON, None, NOON]
    assert times.warnings == [
        "times are mixed: seconds (1) and milliseconds (1) and microseconds (1); "
        "each was read in the unit that its size tells"
    ]


def test_one_row_for_ever_does_not_move_the_others():
    times = times_of(pl.Series([NOON, 253_402_300_799]))
    assert times.seconds.to_list() == [NOON, 253_402_300_799]
    assert times.warnings == ["times lie 1 after 2100, such as 9999-12-31 23:59:59: they are kept as they are written"]


def test_times_before_1970_are_told():
    assert "1 before 1970, such as 1969-12-31 23:59:55" in times_of(pl.Series([NOON, -5])).warnings[0]


def test_numbers_that_look_like_days_are_told():
    assert "look like days" in times_of(pl.Series(["20200913", "20200914"])).warnings[0]
    assert times_of(pl.Series([NOON, NOON + 5])).warnings == []
    assert len(times_of(pl.Series([20200913, 20200914])).warnings) == 1


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_parquet_times_are_read_in_their_unit_and_zone(tmp_path, unit, zone):
    moments = pl.from_epoch(pl.Series("time", [NOON, NOON + 60]), time_unit="s").cast(pl.Datetime(unit, "UTC"))
    moments = moments.dt.convert_time_zone(zone) if zone else moments.dt.replace_time_zone(None)
    pl.DataFrame({"user": ["a", "a"], "item": [1, 2], "time": moments}).write_parquet(tmp_path / "log.parquet")
    table = pl.read_parquet(prepared(tmp_path / "log.parquet").artefact.file("interactions.parquet"))
    assert table["timestamp"].to_list() == [NOON, NOON + 60]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_is_no_time_or_rating_is_counted_and_shown_where_it_stands(tmp_path, suffix):
    path = tmp_path / f"log.{suffix}"
    rows = pl.DataFrame(
        {
            "user": ["a", "b", "c", "d"],
            "item": ["x"] * 4,
            "rating": ["5", "good", "3", "2"],
            "time": ["2020-09-13", "2020-09-13", "soon", "1600000000"],
        }
    )
    {"csv": rows.write_csv, "jsonl": rows.write_ndjson, "parquet": rows.write_parquet}[suffix](path)
    dataset = prepared(path)
    assert dataset.summary()["dropped"] == {"bad rating": 1, "bad time": 1}
    place = {"csv": "line 4", "jsonl": "line 3", "parquet": "row 3"}[suffix]
    assert dataset.examples["bad time"].startswith(f"{place}: ")
    assert "soon" in dataset.examples["bad time"]


@pytest.mark.parametrize("word", ["NaT", "nan", "<NA>", ""])
def test_a_word_for_no_time_is_a_missing_time(tmp_path, word):
    (tmp_path / "log.csv").write_text(f"user,item,time\na,x,1600000000\nb,x,{word}\n")
    assert prepared(tmp_path / "log.csv").summary()["dropped"] == {"missing timestamp": 1}


def test_an_infinite_rating_is_none(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,rating\na,x,5\nb,x,inf\n")
    assert prepared(tmp_path / "log.csv").summary()["dropped"] == {"bad rating": 1}


@pytest.mark.parametrize("values", [[[1], [2]], [b"1", b"2"], [timedelta(1), timedelta(2)], [time(1), time(2)]])
@pytest.mark.parametrize("column", ["rating", "timestamp"])
def test_a_column_that_holds_no_numbers_is_refused_by_name(tmp_path, values, column):
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "x"], column: values}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=f"the column taken as {column} holds") as caught:
        prepared(tmp_path / "log.parquet")
    assert f"-o {column}=COLUMN" in str(caught.value)


def test_a_column_of_lists_is_no_column_of_ids(tmp_path):
    pl.DataFrame({"user": [["a"], ["b"]], "item": ["x", "x"]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"the column of ids holds List\(String\)"):
        prepared(tmp_path / "log.parquet")
