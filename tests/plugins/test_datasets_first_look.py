"""A first look at a large log takes its first rows to tell what its columns are, and says the same as of all rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from glta_datasets import common_encoding, delimited_pieces, json_pieces, opened_tables
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.plugin import DatasetLook, InputError

ROWS = 400


def records(letters: str = "") -> list[dict[str, Any]]:
    """A log of two kinds of events."""
    return [
        {
            "Kunde": f"k{letters}{n % 23}",
            "Artikel": f"a{n % 17}",
            "Sterne": n % 5 + 1,
            "Datum": f"2023-03-{n % 28 + 1:02} 12:30:00",
            "event": "view" if n % 3 else "purchase",
            "Preis": "" if n < 300 else "9.99",
        }
        for n in range(ROWS)
    ]


def written(folder: Path, form: str, encoding: str = "utf-8", letters: str = "") -> Path:
    path, rows = folder / f"log.{form}", pl.DataFrame(records(letters))
    match form:
        case "csv":
            path.write_bytes(rows.write_csv(separator=";").encode(encoding))
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows.to_dicts()))
        case "parquet":
            rows.write_parquet(path)
    return path


def look(source: Path, **options: Any) -> DatasetLook:
    table = Table("table", TableSettings(**options))
    return table.look(table.locate(source, None))  # type: ignore[arg-type]


def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few hundred rows are large, and what reads one at once fails."""
    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 4_000)
    monkeypatch.setattr(json_pieces, "WHOLE_BYTES", 1_000)
    monkeypatch.setattr(json_pieces, "BATCH_RECORDS", 90)
    monkeypatch.setattr(opened_tables, "ROWS_LOOKED_AT", 90)
    for reader in ("table_files.read_bytes", "table_files.read_table", "table_files._json_table"):
        monkeypatch.setattr(f"glta_datasets.{reader}", lambda *_, **__: pytest.fail("read at once"))
    monkeypatch.setattr(common_encoding, "read_bytes", lambda *_, **__: pytest.fail("read at once"))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_first_rows_tell_what_all_tell(tmp_path, monkeypatch, form):
    path = written(tmp_path, form)
    whole = look(path)
    assert whole.told_by is None

    in_pieces(monkeypatch)
    found = look(path)
    assert found.told_by is not None
    assert 50 <= found.told_by < ROWS
    assert found.raw.interactions.collect().rows() == whole.raw.interactions.collect().rows()
    assert found.raw.events == whole.raw.events
    assert replace(found, raw=whole.raw, told_by=None) == whole


@pytest.mark.parametrize(("encoding", "letters"), [("utf-8", "é"), ("cp1252", "é")])
def test_letters_of_a_large_file_are_looked_at_to_its_end(tmp_path, monkeypatch, encoding, letters):
    path = tmp_path / "log.csv"
    lines = written(tmp_path, "csv").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, f"k{letters};a1;3;2023-03-01 12:30:00;view;\n".encode(encoding)]))
    whole = look(path)
    assert whole.options.get("encoding") == (None if encoding == "utf-8" else encoding)

    in_pieces(monkeypatch)
    found = look(path)
    assert found.told_by is not None
    assert found.raw.interactions.collect().rows() == whole.raw.interactions.collect().rows()
    assert replace(found, raw=whole.raw, told_by=None) == whole


def test_what_is_no_text_is_refused_with_its_line(tmp_path, monkeypatch):
    path = written(tmp_path, "csv")
    path.write_bytes(path.read_bytes() + b"k\x81\xff;a1;3;;view;\n")
    with pytest.raises(InputError) as whole:
        look(path)

    monkeypatch.setattr(json_pieces, "WHOLE_BYTES", 4_000)
    monkeypatch.setattr("glta_datasets.files.CHUNK_BYTES", 1_000)
    with pytest.raises(InputError) as refused:
        look(path)
    assert str(refused.value) == str(whole.value)
    assert f"log.csv:{ROWS + 2}" in str(refused.value)


def test_a_value_that_no_first_row_has_is_lost_and_counted_as_prepare_counts_it(tmp_path, monkeypatch):
    path = written(tmp_path, "csv")
    path.write_bytes(path.read_bytes() + b"k1;;3;2023-03-01 12:30:00;view;\n")
    whole = look(path)

    in_pieces(monkeypatch)
    found = look(path)
    assert found.raw.read == whole.raw.read == ROWS + 1
    assert found.raw.place_of is not None
    assert found.raw.place_of(ROWS) == f"line {ROWS + 2}: 'k1;;3;2023-03-01 12:30:00;view;'"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8", "koi8-r"])
def test_a_large_csv_in_another_encoding_is_read_in_pieces(tmp_path, monkeypatch, encoding):
    path = tmp_path / "log.csv"
    letters = "ж" if encoding == "koi8-r" else "é"
    path.write_bytes(written(tmp_path, "csv", encoding, letters).read_bytes())
    table = Table("table", TableSettings(user="Kunde", item="Artikel", encoding=encoding))
    files = table.locate(path, None)  # type: ignore[arg-type]
    whole = table.read(files)
    assert letters in whole.interactions.collect()["user"].cast(pl.String)[0]

    in_pieces(monkeypatch)
    found = table.read(files)
    assert found.interactions.collect().rows() == whole.interactions.collect().rows()
    assert (found.files, found.warnings) == (whole.files, whole.warnings)


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp037", "shift_jis", "unknown-8"])
def test_text_whose_lines_cannot_be_found_is_read_at_once(tmp_path, monkeypatch, encoding):
    path = tmp_path / "log.csv"
    text = "Kunde;Artikel\n" + "k1;a1\nk2;a2\n" * 100
    path.write_bytes(text.encode(encoding if encoding != "unknown-8" else "utf-8"))
    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 100)
    table = Table("table", TableSettings(user="Kunde", item="Artikel", encoding=encoding))
    if encoding == "unknown-8":
        with pytest.raises(InputError, match="no encoding is called"):
            table.read(table.locate(path, None))  # type: ignore[arg-type]
        return
    assert table.read(table.locate(path, None)).read == 200  # type: ignore[arg-type]


LATE: dict[str, tuple[str, list[str], list[str]]] = {
    "points behind a comma": ("user;item;rating", ["u1;i1;2,5"], ["u2;i2;3.5"]),
    "a comma": ("user;item;rating", ["u1;i1;2"], ["u2;i2;3,5"]),
    "a comma that may be of thousands": ("user;item;rating", ["u1;i1;2,500"], ["u2;i2;3,5"]),
    "hours": ("user;item;date;time", ["u1;i1;2023-01-01;"], ["u2;i2;2023-01-02;12:30"]),
    "times": ("user;item;timestamp;bought", ["u1;i1;;2023-01-01"], ["u2;i2;2024-01-01;2023-01-01"]),
    "ratings": ("user;item;rating", ["u1;i1;"], ["u2;i2;3"]),
    "quantities": ("user;item;quantity", ["u1;i1;"], ["u2;i2;3"]),
    "another user": ("customer;kunde;item", [";u1;i1"], ["c2;u2;i2"]),
}


@pytest.mark.parametrize("late", LATE)
def test_what_stands_behind_the_first_rows_alone_is_told_too(tmp_path, monkeypatch, late):
    header, first, further = LATE[late]
    (tmp_path / "log.csv").write_text("\n".join([header, *first * 1_200, *further * 100, ""]))
    whole = look(tmp_path / "log.csv")
    assert whole.told_by is None

    in_pieces(monkeypatch)
    found = look(tmp_path / "log.csv")
    assert found.told_by is not None
    assert found.raw.interactions.collect().rows() == whole.raw.interactions.collect().rows()
    assert (found.raw.dropped, found.raw.examples) == (whole.raw.dropped, whole.raw.examples)
    assert replace(found, files=(), raw=whole.raw, told_by=None) == replace(whole, files=())


def test_a_field_that_no_first_record_has_may_be_the_user(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    late = [{"item": f"i{n % 9}", **({"user": f"u{n % 7}"} if n >= 200 else {})} for n in range(ROWS)]
    path.write_text("".join(json.dumps(record) + "\n" for record in late))
    whole = look(path)

    in_pieces(monkeypatch)
    found = look(path)
    assert found.told_by is not None
    assert replace(found, raw=whole.raw, told_by=None) == whole


def test_a_second_field_of_users_behind_the_first_rows_is_asked_about(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    late = [{"item": "i1", "user": f"u{n % 7}", **({"user_id": "c"} if n >= 200 else {})} for n in range(ROWS)]
    path.write_text("".join(json.dumps(record) + "\n" for record in late))
    in_pieces(monkeypatch)
    with pytest.raises(InputError, match="several columns could be the user"):
        look(path)
