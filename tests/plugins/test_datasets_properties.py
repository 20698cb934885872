"""Ids, times and delimited lines beside slow, obvious readers: the standard library's.

The normal run draws a hundred examples of each, the same every time; `make properties` draws twenty thousand.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import polars as pl
import pytest
from glta_datasets.delimited import read_delimited
from glta_datasets.ids import BLANKS, exact_record, id_of, ids_of
from glta_datasets.quotes import well_quoted
from glta_datasets.records import TOO_MANY_FIELDS, UNCLOSED_QUOTE, Records
from glta_datasets.times import MOST_SECONDS, times_of
from hypothesis import given, settings
from hypothesis import strategies as st

from glta_cli.core.errors import InputError

EXAMPLES: Final = "GLTA_PROPERTY_EXAMPLES"
# Few, and the same every time, unless somebody asks for more.
drawn = settings(
    max_examples=int(os.environ.get(EXAMPLES, "100")), derandomize=EXAMPLES not in os.environ, deadline=None
)


# --------------------------------------------------------------------------------------------------------- ids

letters = st.characters(exclude_categories=["Cs"])
ids = st.text(st.one_of(letters, st.sampled_from([" ", "\ufeff", "0", ".", "7"])), max_size=8)


@drawn
@given(st.lists(ids, max_size=6))
def test_ids_are_their_text_without_blanks(texts: list[str]) -> None:
    found = ids_of(pl.Series(texts, dtype=pl.String)).to_list()
    bare = [text.strip(BLANKS) for text in texts]
    assert all(text == text.strip() or set(text) & set("\x00") for text in bare)
    floats = [text for text in bare if text]
    if floats and all(text.endswith(".0") and text[:-2].removeprefix("-").isascii() for text in floats):
        floats = [text for text in floats if not text[:-2].removeprefix("-").isdigit()]
        if not floats:
            bare = [text.removesuffix(".0") for text in bare]
    assert found == bare
    assert [id_of(text) for text in texts] == [text.strip(BLANKS) for text in texts]


@drawn
@given(st.one_of(st.integers(), st.integers(-(10**60), 10**60)))
def test_json_integers_keep_every_digit(number: int) -> None:
    for written in (str(number), f"{number}.0", f"{number}.000"):
        line = f'{{"user": {written}, "rating": 4.5}}'.encode()
        assert id_of(exact_record(line)["user"]) == str(number)


@drawn
@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70).map(float), st.sampled_from([float("nan"), -0.0]))))
def test_whole_floats_of_parquet_are_integers(numbers: list[float | None]) -> None:
    expected = [None if n is None or n != n or abs(n) == float("inf") else str(int(n)) for n in numbers]
    whole = [n for n in numbers if n is None or n != n or abs(n) == float("inf") or n.is_integer()]
    if len(whole) == len(numbers):
        assert ids_of(pl.Series(numbers, dtype=pl.Float64)).to_list() == expected


# ------------------------------------------------------------------------------------------------------- times

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.one_of(st.none(), zones))


@st.composite
def written_moments(draw: st.DrawFn) -> tuple[str, int]:
    """A moment in one of the forms that ISO 8601 and the programs of this world give it, and its second."""
    moment = draw(moments)
    form = draw(st.sampled_from(["day", "minute", "second", "fraction"]))
    moment = moment.replace(microsecond=moment.microsecond if form == "fraction" else 0)
    if form in ("day", "minute"):
        moment = moment.replace(second=0)
    if form == "day":
        moment = moment.replace(hour=0, minute=0, tzinfo=None)
    seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // (timedelta(seconds=1))
    day = f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"
    if form == "day":
        return day, seconds
    clock = f"{moment.hour:02d}:{moment.minute:02d}" + ("" if form == "minute" else f":{moment.second:02d}")
    if form == "fraction":
        clock += f".{moment.microsecond:06d}"
    offset = ""
    if moment.tzinfo is not None:
        offset = moment.strftime("%z")
        offset = draw(st.sampled_from([offset, f"{offset[:3]}:{offset[3:]}"]))
        offset = draw(st.sampled_from(["", " "])) + offset
        if seconds % 60 == 0 and offset.strip() in ("+0000", "+00:00"):
            offset = draw(st.sampled_from([offset, "Z", "+00", " UTC"]))
    return day + draw(st.sampled_from(["T", " "])) + clock + offset, seconds


numbers = st.integers(-MOST_SECONDS, MOST_SECONDS)


@st.composite
def written_numbers(draw: st.DrawFn) -> tuple[str, int]:
    """Seconds in some unit, in the range in which its size tells the unit."""
    scale = draw(st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
    least = 0 if scale == 1 else MOST_SECONDS // 1000 + 1
    most = MOST_SECONDS if scale < 10**9 else 9_000_000_000
    ticks = draw(st.integers(least * scale, most * scale))
    return str(ticks), ticks // scale


wrong = st.sampled_from(["soon", "2020-13-01", "2021-02-29", "2020-01-01 24:01", "12:00", "1.2.3", "--", "9" * 30])


@drawn
@given(st.lists(st.one_of(st.none(), written_moments(), written_numbers(), wrong), max_size=6))
def test_times_are_those_of_datetime(written: list[tuple[str, int] | str | None]) -> None:
    texts = [pair[0] if isinstance(pair, tuple) else pair for pair in written]
    expected = [pair[1] if isinstance(pair, tuple) else None for pair in written]
    assert times_of(pl.Series(texts, dtype=pl.String)).seconds.to_list() == expected


# --------------------------------------------------------------------------------------------- delimited lines

COLUMNS: Final = ("user", "item", "comment")
fields = st.text(st.sampled_from('ab7 ,;"\n.é'), max_size=6)
rows_of_fields = st.lists(st.tuples(fields, fields, fields), max_size=8)


@drawn
@given(st.tuples(rows_of_fields, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans()))
def test_what_csv_writes_is_read_whole(drawn: tuple[list[tuple[str, str, str]], str, str, bool]) -> None:
    rows, separator, end, always = drawn
    content = io.StringIO()
    quoting = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    writer = csv.writer(content, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    if not well_quoted(content.getvalue().encode(), separator):
        # A field with as many lines and separators as a file in itself.
        return
    records = read_delimited(content.getvalue().encode(), "text", separator=separator)
    found = [tuple((value or "") for value in row) for row in records.frame.rows()]
    whole = [tuple(field.strip(BLANKS) for field in row) for row in rows]
    assert records.losses.counts == {}
    assert found == whole


plain_fields = st.text(st.sampled_from("ab7.é"), min_size=1, max_size=4)
good_lines = st.tuples(plain_fields, plain_fields, plain_fields).map(lambda row: (",".join(row), row, None))
odd_lines = st.one_of(
    st.tuples(plain_fields, plain_fields).map(lambda row: (",".join(row), (*row, None), None)),
    st.tuples(plain_fields, plain_fields, plain_fields).map(lambda row: (",".join(row) + ",,", row, None)),
    st.tuples(plain_fields, plain_fields, plain_fields).map(lambda row: (f'{row[0]},"{row[1]}",{row[2]}', row, None)),
    plain_fields.map(lambda field: (f"{field},b,c,more", None, TOO_MANY_FIELDS)),
    plain_fields.map(lambda field: (f'{field},b,"never', None, UNCLOSED_QUOTE)),
    st.sampled_from(["", "   "]).map(lambda blank: (blank, None, None)),
)


@drawn
@given(st.lists(st.one_of(good_lines, good_lines, odd_lines), max_size=12))
def test_every_line_is_a_row_or_is_counted(lines: list[tuple[str, tuple[str | None, ...] | None, str | None]]) -> None:
    content = "\n".join([",".join(COLUMNS), *(line for line, _, _ in lines)])
    records = read_delimited(content.encode(), "text", separator=",")
    expected: dict[str, int] = {}
    for _, _, reason in lines:
        if reason is not None:
            expected[reason] = expected.get(reason, 0) + 1
    assert records.frame.rows() == [row for _, row, _ in lines if row is not None]
    assert records.losses.counts == expected
    assert records.read == sum(1 for line, _, _ in lines if line.strip())
    for reason in expected:
        first = next(number for number, (_, _, why) in enumerate(lines, 2) if why == reason)
        assert records.losses.examples[reason].startswith(f"line {first}: ")


def rows_or_error(text: str) -> Records | InputError:
    try:
        return read_delimited(text.encode(), "text", separator=",")
    except InputError as error:
        return error


@drawn
@given(st.text(st.one_of(st.sampled_from('a,"\n\r; \t\x00'), letters), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text at all ends in anything but rows, losses or an error with a place."""
    records = rows_or_error(text)
    if isinstance(records, InputError):
        assert (records.location or "").startswith("text")
        return
    assert records.read == records.frame.height + records.losses.total
    for row in range(records.frame.height):
        assert records.place_of(row)


@drawn
@given(st.one_of(st.binary(max_size=20), st.text(st.sampled_from('{"a":17.0e,}'), max_size=20).map(str.encode)))
def test_any_line_of_json_is_a_record_or_none(line: bytes) -> None:
    try:
        record = exact_record(line)
    except ValueError:
        return
    if isinstance(record, dict):
        assert record.keys() == json.loads(line).keys()


@pytest.mark.parametrize("name", ["x^2", "x\x01"])
def test_a_header_that_starts_like_a_packed_stream_is_a_header(name: str) -> None:
    records = read_delimited(f"{name},user,item\n1,a,b\n".encode(), "text", separator=",")
    assert records.frame.rows() == [("1", "a", "b")]


@pytest.mark.slow
def test_twenty_thousand_examples_of_each() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | {EXAMPLES: "20000"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
