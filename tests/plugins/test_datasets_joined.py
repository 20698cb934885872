"""Files that were joined of several: line breaks of every kind, marks and headers in the middle."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path

import pytest
from glta_datasets import files

from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

PAIRS = [(user, item) for user in range(20) for item in range(6)]
ROWS = [f"{user},{item},4" for user, item in PAIRS]
HEADER = "user,item,rating"


@pytest.fixture
def prepared(tmp_path: Path):
    def get(content: str, name: str = "log.csv", **options: object) -> PreparedDataset:
        source = tmp_path / name
        source.write_bytes(content.encode(str(options.get("encoding", "utf-8"))))
        settings = DatasetSettings.model_validate({"name": "table", "source": str(source), "options": options})
        return prepare(settings, Workspace(tmp_path / "workspace"))[0]

    return get


def lines_with(ends: list[str], lines: list[str]) -> str:
    return "".join(line + end for line, end in zip(lines, cycle(ends), strict=False))


def records() -> list[str]:
    return [json.dumps({"user": user, "item": item, "rating": 4}) for user, item in PAIRS]


ENDS = [["\n", "\r\n", "\r"], ["\n", *["\r"] * 200], ["\r"] * 120 + ["\n"], ["\r\r\n"], ["\r", "\r\n"], ["\r"]]


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_line_breaks_of_several_kinds_end_lines_each(prepared, ends, quoted, suffix):
    rows = [row.replace(",", '","').join('""') if quoted else row for row in ROWS]
    separator = "," if suffix == "csv" else "\t"
    dataset = prepared(lines_with(ends, [HEADER, *rows]).replace(",", separator), f"log.{suffix}")
    assert dataset.summary()["interactions"] == len(ROWS)
    assert dataset.summary()["dropped"] == {}
    assert dataset.user_count == 20
    assert dataset.item_count == 6


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("chunk", [64, files.CHUNK_BYTES])
def test_json_lines_end_in_any_line_break(prepared, monkeypatch, ends, encoding, chunk):
    monkeypatch.setattr(files, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(files, "LONGEST_LINE", 2 * chunk)
    options = {} if encoding == "utf-8" else {"encoding": encoding}
    dataset = prepared(lines_with(ends, records()), "log.jsonl", **options)
    assert dataset.summary()["interactions"] == len(PAIRS)
    assert dataset.summary()["dropped"] == {}


def test_a_quote_left_open_among_returns_costs_its_own_line(prepared):
    rows = [f'"{row}' if number == 7 else row for number, row in enumerate(ROWS)]
    dataset = prepared(lines_with(["\n", "\r"], [HEADER, *rows]))
    assert dataset.summary()["interactions"] == len(ROWS) - 1
    assert dataset.summary()["dropped"] == {"unclosed quote": 1}
    assert dataset.examples["unclosed quote"].startswith("line 9:")


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff"])
def test_a_byte_order_mark_before_a_quoted_field_costs_nothing(prepared, mark):
    rows = [
        f'{mark if number % 10 == 0 else ""}"{row.replace(",", chr(34) + ",", 1)}' for number, row in enumerate(ROWS)
    ]
    dataset = prepared("\n".join([HEADER, *rows]))
    assert dataset.summary()["interactions"] == len(ROWS)
    assert dataset.user_ids == [str(user) for user in range(20)]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("header", [HEADER, '"user","item","rating"', "user, item ,rating"])
@pytest.mark.parametrize("odd", ["", '9,9,"open\n'])
def test_a_header_in_the_middle_is_counted_and_is_no_row(prepared, mark, header, odd):
    half = len(ROWS) // 2
    dataset = prepared("\n".join([header, *ROWS[:half], mark + header, *ROWS[half:], odd, "1,77777,no"]))
    dropped = {"repeated header": 1, "bad rating": 1} | ({"unclosed quote": 1} if odd else {})
    assert dataset.summary()["interactions"] == len(ROWS)
    assert dataset.summary()["dropped"] == dropped
    assert dataset.examples["repeated header"].startswith(f"line {half + 2}: ")
    assert "77777" in dataset.examples["bad rating"]


def test_a_header_in_the_middle_of_columns_without_numbers_is_no_interaction(prepared):
    pairs = [f"{user},{item}" for user, item in PAIRS]
    dataset = prepared("\n".join(["user,item,", *pairs[:50], "user,item,", *pairs[50:], "user,5", "User,item"]))
    assert dataset.summary()["dropped"] == {"repeated header": 1}
    assert dataset.summary()["interactions"] == len(PAIRS) + 2
