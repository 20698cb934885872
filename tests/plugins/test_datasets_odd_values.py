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
    dataset = prepared({"log.parquet": log_with(rating=ratings, timestamp=times, **{"^[$": ratings})})
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


# ------------------------------------------------------------------------------------------------------- times


def times_as(write) -> str:
    rows = [f"{user},{item},{write(1_600_000_000 + 86_400 * row)}\n" for row, (user, item) in enumerate(PAIRS)]
    return "user,item,timestamp\n" + "".join(rows)


@pytest.mark.parametrize("write", [lambda t: f"{t / 86400 + 25569:.2f}", lambda t: 1970 + t // 31_556_952])
def test_days_and_years_taken_as_seconds_are_told(prepared, write):
    told = warnings_of(prepared({"log.csv": times_as(write)}))
    assert "60 times lie in 1970, such as 1970-01-01 " in told
    assert "days or years" in told


def test_times_of_zero_are_told(prepared):
    told = warnings_of(prepared({"log.csv": times_as(lambda t: 0 if t % 172_800 else t)}))
    assert "times are 0" in told
    assert "lie in 1970" not in told


def test_times_of_today_are_told_of_nothing(prepared):
    assert "times" not in warnings_of(prepared({"log.csv": times_as(lambda t: t)}))


def test_times_as_small_floats_are_told(prepared):
    times = pl.Series([1_600_000_000.0] * 60, dtype=pl.Float32)
    assert "32-bit floats" in warnings_of(prepared({"log.parquet": log_with(timestamp=times)}))


@pytest.mark.parametrize("role", ["rating", "timestamp"])
def test_truth_values_are_no_ratings_and_no_times(prepared, role):
    with pytest.raises(InputError, match=f"column taken as {role} holds Boolean"):
        prepared({"log.parquet": log_with(**{role: pl.Series([True, False] * 30)})})


@pytest.mark.parametrize("offset", ["+99:99", "+15:00", "-05:60", "-2400"])
def test_an_offset_that_no_zone_has_is_no_time(prepared, offset):
    content = times_as(lambda t: t) + f"1,77,2020-09-13 12:26:40{offset}\n"
    assert prepared({"log.csv": content}).summary()["dropped"] == {"bad time": 1}


def test_the_least_time_there_is_is_shown_as_its_number(prepared):
    assert f"such as {-(2**63)}:" in warnings_of(prepared({"log.csv": times_as(lambda t: -(2**63))}))


# -------------------------------------------------------------------------------------------------- JSON lines


def json_log(line: str = '{{"user": {0}, "item": {1}, "rating": 4.5}}') -> list[str]:
    return [line.format(user, item) for user, item in PAIRS]


@pytest.mark.parametrize("form", ["[\n{}\n]\n", "[{}]", "[\n{}]", "\n\n[\n {}\n]"])
def test_a_list_of_one_record_a_line_is_read_as_one_list(prepared, form):
    dataset = prepared({"log.json": form.format(",\n".join(json_log()))})
    assert dataset.summary()["interactions"] == len(PAIRS)
    assert dataset.summary()["dropped"] == {}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a_literal_that_is_no_number_is_a_missing_field(prepared, literal):
    lines = json_log()
    lines[3] = f'{{"user": 9007199254740993.0, "item": 3, "rating": 4, "x": [{literal}]}}'
    lines[4] = f'{{"user": "NaN {literal}", "item": 4, "rating": {literal}, "broken'
    lines[5] = f'{{"user": "a\\ud800", "item": 4, "rating": {literal}}}'
    lines[6] = f'{{"user": 1, "item": 0, "rating":{literal}}}'
    dataset = prepared({"log.jsonl": "\n".join([*lines, '{"user": 5, "item": 77, "rating": "Infinity stars"}'])})
    assert dataset.summary()["dropped"] == {"unreadable line": 2, "bad rating": 1}
    assert dataset.examples["bad rating"].startswith("line 61:")
    assert "9007199254740993" in dataset.user_ids


def test_json_lines_in_another_encoding_are_told_as_such(prepared, tmp_path):
    (tmp_path / "latin.jsonl").write_bytes("\n".join(json_log('{{"user": "é{0}", "item": {1}}}')).encode("latin-1"))
    settings = DatasetSettings(name="table", source=str(tmp_path / "latin.jsonl"))
    with pytest.raises(InputError, match="not UTF-8: byte 0xe9") as caught:
        prepare(settings, Workspace(tmp_path / "workspace"))
    assert "-o encoding=" in caught.value.hint


# ------------------------------------------------------------------------------------------------------- items


def test_items_that_are_called_otherwise_are_told(prepared):
    items = "item,title\n" + "".join(f"{item:03d},T{item}\n" for item in range(6))
    told = warnings_of(prepared({"log.csv": LOG, "items.csv": items}, items="items.csv"))
    assert "0 of 6 items of the log are in items.csv; log: 0, 1, 2; items: 000, 001, 002" in told
    assert "leading zeros" in told


def test_the_first_title_that_is_none_but_empty_wins(prepared):
    rows = ["0,,d0", "0,T0,", "0,late,late", "1,T1,d1", "2, ,", "2,T2,"]
    items = "\n".join(["item,title,description", *rows])
    dataset = prepared({"log.csv": LOG, "items.csv": items}, items="items.csv")
    assert dataset.titles[:3] == ["T0", "T1", "T2"]
    assert dataset.texts[:3] == ["T0. d0", "T1. d1", "T2"]


def test_item_rows_without_an_id_are_told(prepared):
    items = "item,title\n,T\n0,T0\n ,T\n"
    told = warnings_of(prepared({"log.csv": LOG, "items.csv": items}, items="items.csv"))
    assert "2 rows of items.csv have no item id" in told


def test_a_number_written_as_two_ids_is_told(prepared):
    told = warnings_of(prepared({"log.csv": LOG + "1.0,2\n2.0,4\n77.0,4\n77.5,4\n"}))
    assert "2 user ids are written in two ways, such as '1' and '1.0': taken as two" in told
    assert "item ids" not in told


def test_an_id_written_in_two_unicode_forms_is_told(prepared):
    told = warnings_of(prepared({"log.csv": LOG + "Zoe\u0308,2\nZo\u00eb,4\nRene\u0301,4\n"}))
    assert "1 user id is written in two Unicode forms, such as 'Zoe\u0308': taken as two" in told
    assert "item id" not in told
    assert "Unicode" not in warnings_of(prepared({"other.csv": LOG + "Zoe\u0308,2\nRene\u0301,4\n"}))


def test_ids_of_which_a_spreadsheet_shows_the_first_digits_are_told(prepared):
    rows = "".join(f"u{user},{'4.00638E+12' if item < 3 else item}\n" for user, item in PAIRS)
    told = " ".join(prepared({"log.csv": "user,item\n" + rows}).warnings)
    assert "1 item id has lost digits, as in a spreadsheet, such as 4.00638E+12: several may have become one" in told
    plain = " ".join(prepared({"other.csv": "user,item\n" + rows.replace("4.00638E+12", "3E12")}).warnings)
    assert "lost digits" not in plain
