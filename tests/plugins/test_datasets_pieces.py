"""A large file is read in pieces, and what is read and told is the same as if it were read at once."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from glta_datasets import delimited_pieces, json_pieces
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.plugin import InputError

HEADER = "user_id,note,item_id,rating,date,late\n"
ODD_LINES = {
    "too many fields": "u1,x,i1,3,2020-01-02,,,7\n",
    "no rating": "u2,x,i2,bad,2020-01-02,\n",
    "no time": "u2,x,i3,4,soon,\n",
    "nothing": "\n \n",
    "header again": HEADER,
    "few fields": "u3,x,i9\n",
    "quotes": '"u4","a, b","i ""4""",5,2020-01-05,\n',
    "a line break in quotes": 'u5,"two\nlines, here",i5,5,2020-01-05,\n',
    "blanks": "  u6 ,x, i6,5,2020-01-05,\n",
    "letters": "üser,ñ,ítem,5,2020-01-05,\n",
    "windows": "u7,x,i7,5,2020-01-05,\r\n",
    "a mark": "\ufeffu8,x,i8,5,2020-01-05,\n",
    "late": "u9,x,i9,5,2020-01-05,a first value\n",
    "open quote": 'u10,"never closed,i10,5,2020-01-05,\n',
}


def log(*odd: str) -> str:
    draw = random.Random(0)
    lines = [f"u{draw.randrange(30)},x{n},i{draw.randrange(20)},{n % 5},2020-01-{n % 28 + 1}," for n in range(120)]
    places = {draw.randrange(20, 100): ODD_LINES[name] for name in odd}
    return HEADER + "".join(places.get(n, "") + line + "\n" for n, line in enumerate(lines))


def read(path: Path, **options: Any) -> dict[str, Any] | str:
    """All that is said of a file and its rows; the error where it is refused."""
    table = Table("table", TableSettings(**options))
    try:
        raw = table.read(table.locate(path, None))  # type: ignore[arg-type]
    except InputError as error:
        return str(error)
    rows = raw.interactions.collect()
    assert raw.place_of is not None
    told = [raw.place_of(row) for row in range(0, rows.height, 7)]
    return {
        "rows": rows.rows(),
        "columns": rows.columns,
        "told": told,
        "dropped": raw.dropped,
        "examples": raw.examples,
        "warnings": raw.warnings,
        "files": raw.files,
        "read": raw.read,
    }


@pytest.mark.parametrize(
    "odd",
    [
        (),
        *((name,) for name in ODD_LINES),
        ("quotes", "no rating"),
        ("letters", "too many fields"),
        ("letters", "windows", "no rating"),
    ],
)
def test_pieces_come_to_the_same_as_the_whole(tmp_path, monkeypatch, odd):
    path = tmp_path / "log.csv"
    path.write_bytes(log(*odd).encode())
    whole = read(path)

    for size in (50, 333, 1500):
        monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", size)
        assert read(path) == whole


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("sep=;\n" + log("no rating").replace(",", ";"), {}),
        (log("no rating").replace(",", "::"), {"separator": "::"}),
        (log("no rating").removeprefix(HEADER), {"header": False, "user": "1", "item": "3", "timestamp": "5"}),
        (log("no rating").replace("date,late", "date,time").replace("-1,\n", "-1,12:30\n"), {}),
        ("\n\n" + log("no time"), {"user": "note", "rating": "late"}),
        (log().replace("\n", "\r"), {}),
        (log("letters"), {"encoding": "utf-8"}),
    ],
    ids=["named separator", "long separator", "no header", "date and time", "named columns", "returns", "encoding"],
)
def test_however_it_is_written(tmp_path, monkeypatch, content, options):
    path = tmp_path / "log.csv"
    path.write_bytes(content.encode())
    whole = read(path, **options)

    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 200)
    assert read(path, **options) == whole


def test_a_large_file_that_is_in_order_is_not_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text(log("letters", "too many fields"))
    whole = read(path)

    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 200)
    monkeypatch.setattr("glta_datasets.table_files.read_bytes", lambda *_, **__: pytest.fail("read at once"))
    assert read(path) == whole


@pytest.mark.parametrize("quoted", [False, True])
def test_a_line_longer_than_a_piece_may_be_is_not_cut(tmp_path, monkeypatch, quoted):
    path = tmp_path / "log.csv"
    long = "y" * 600 if not quoted else '"' + "y" * 600 + ',\n"'
    path.write_text(log().replace("x50,", f"{long},"))
    whole = read(path)

    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 200)
    monkeypatch.setattr(delimited_pieces, "LONGEST_LINE", 100)
    assert read(path) == whole


JSON_RECORDS = {
    "plain": {},
    "a number as text": {70: {"item_id": "  i7 "}, 90: {"item_id": 12}},
    "floats": {40: {"item_id": 7.0}, 41: {"item_id": 7.5}},
    "huge numbers": {60: {"user_id": 2**70}},
    "exact numbers": {60: {"user_id": 12345678901234567890123}},
    "lists": {50: {"item_id": ["a", "b"], "tags": ["x", 1]}, 51: {"item_id": {"k": 3}}},
    "a late field": {110: {"rating": "4,5", "colour": "blue"}},
    "booleans": {30: {"item_id": True}},
    "nothing": {20: {"item_id": None}, 21: {"user_id": "", "rating": "n/a"}},
    "odd times": {33: {"time": "soon"}, 34: {"time": "2020-09-13"}},
}


@pytest.mark.parametrize("number_ids", [False, True])
@pytest.mark.parametrize("odd", JSON_RECORDS)
def test_batches_of_json_lines_come_to_the_same_as_the_whole(tmp_path, monkeypatch, odd, number_ids):
    draw = random.Random(0)
    lines = []
    for number in range(120):
        user, item = draw.randrange(30), draw.randrange(20)
        ids = {"user_id": user, "item_id": item} if number_ids else {"user_id": f"u{user}", "item_id": f"i{item}"}
        lines.append(json.dumps({**ids, "time": 1_600_000_000 + number, **JSON_RECORDS[odd].get(number, {})}))
    lines.insert(80, "no record")
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))
    whole = read(path)

    monkeypatch.setattr(json_pieces, "WHOLE_BYTES", 0)
    monkeypatch.setattr("glta_datasets.table_files._json_table", lambda *_: pytest.fail("read at once"))
    for size in (1, 16, 50):
        monkeypatch.setattr(json_pieces, "BATCH_RECORDS", size)
        assert read(path) == whole


@pytest.mark.parametrize("name", ["log.jsonl.gz", "log.jsonl"])
def test_a_packed_file_is_as_large_as_its_text(tmp_path, monkeypatch, name):
    lines = [json.dumps({"user_id": f"u{n % 9}", "item_id": f"i{n % 7}", "time": 1_600_000_000}) for n in range(500)]
    text = "\n".join(lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text))
    assert path.stat().st_size < len(text) // 4
    whole = read(path)

    monkeypatch.setattr(json_pieces, "WHOLE_BYTES", len(text))
    monkeypatch.setattr("glta_datasets.table_files._json_table", lambda *_: pytest.fail("read at once"))
    assert read(path) == whole


def test_a_damaged_packed_file_is_told_as_by_whoever_reads_it_at_once(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"user_id": 1, "item_id": 2}\n' * 500)[:-20])
    whole = read(path)
    assert isinstance(whole, str)

    monkeypatch.setattr(json_pieces, "WHOLE_BYTES", 1_000)
    assert read(path) == whole
