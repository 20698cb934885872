"""The fast readers beside slow, obvious ones: pieces of files, JSON columns, and double colons."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import polars as pl
import pytest
from glta_datasets import files
from glta_datasets.files import BYTE_ORDER_MARK, chunks_of, first_line, lines_of
from glta_datasets.json_lines import columns_of
from glta_datasets.packing import PACKED_STARTS
from glta_datasets.records import UNREADABLE, Losses
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from glta_cli.core.errors import InputError
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

FIELDS = {"user": pl.String, "item": pl.String, "rating": pl.Float64, "time": pl.Int64}
repeatedly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 40)


@repeatedly
@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_chunks_are_the_file_cut_behind_lines(tmp_path, small_chunks, content, packed):
    assume(not content.startswith((*PACKED_STARTS, BYTE_ORDER_MARK)))
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(content) if packed else content)
    chunks = list(chunks_of(path))
    # A carriage return alone ends a line too, and comes as a line feed.
    content = re.sub(rb"\r*\n|\r", b"\n", content)
    assert re.sub(rb"\r\n", b"\n", b"".join(chunks)) == content
    assert all(chunk.endswith(b"\n") for chunk in chunks[:-1])
    filled = [line for line in content.split(b"\n") if line.strip()]
    assert [line.removesuffix(b"\r") for line in lines_of(path) if line.strip()] == filled
    assert len(list(lines_of(path))) == content.removesuffix(b"\n").count(b"\n") + 1
    assert first_line(path).rstrip(b"\r\n") == (filled[0] if filled else b"")


def test_several_gzip_members_are_one_file(tmp_path):
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"a\nb\n") + gzip.compress(b"c\n"))
    assert list(lines_of(path)) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("cut", [200, 2_000, -30, -4])
def test_damage_is_placed_near_the_last_line_that_can_be_read(tmp_path, cut):
    path = tmp_path / "cut.gz"
    content = "".join(f"line {number * number}\n" for number in range(2_000)).encode()
    path.write_bytes(gzip.compress(content)[:cut])
    with pytest.raises(InputError, match="the gzip data is broken") as caught:
        list(lines_of(path))
    line = int(caught.value.location.rpartition(":")[2])
    assert 1 <= line <= 2_001
    assert line > 1_000 or cut > 0


def test_a_caller_may_stop_early(tmp_path, small_chunks):
    path = tmp_path / "long.gz"
    path.write_bytes(gzip.compress(b"a line\n" * 1_000))
    assert next(lines_of(path)) == b"a line"


# ---------------------------------------------------------------------------------------------- JSON columns


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
records = st.fixed_dictionaries(
    {},
    optional={
        "user": st.one_of(st.none(), texts, st.integers(0, 99)),
        "item": st.one_of(st.none(), texts),
        "rating": st.one_of(st.none(), st.integers(1, 5), st.floats(1, 5), st.sampled_from(["4", "good"])),
        "time": st.one_of(st.none(), st.integers(0, 2**40), st.sampled_from([1.5e9, "1500000000"])),
        "text": st.one_of(texts, st.lists(texts, max_size=2)),
    },
)
good_lines = records.map(lambda record: json.dumps(record))
other_lines = st.sampled_from(
    ["", "  ", "{broken", "[1, 2]", "7", "null", '{"user": NaN}', '{"user": "a"} {"user": "b"}']
)


def slow_columns(lines: list[str]) -> tuple[list[tuple], int]:
    """Rows and unreadable lines, by the standard library alone."""
    rows, bad = [], 0
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=lambda name: None)
        except ValueError:
            record = None
        if isinstance(record, dict):
            rows.append(tuple(_as(kind, record.get(name)) for name, kind in FIELDS.items()))
        else:
            bad += 1
    return rows, bad


def _as(kind: type[pl.DataType], value: object) -> object:
    if value is None or kind is pl.String:
        return None if value is None else str(value)
    try:
        return float(value) if kind is pl.Float64 else int(value)
    except ValueError:
        return None


@repeatedly
@given(st.lists(st.one_of(good_lines, good_lines, other_lines), max_size=30))
def test_columns_hold_what_a_loop_over_the_lines_finds(tmp_path, small_chunks, lines):
    path = tmp_path / "records.json"
    path.write_text("\n".join([json.dumps(dict.fromkeys(FIELDS)), *lines]))
    losses = Losses()
    frame = columns_of(path, FIELDS, ("user", "item"), losses).frame
    rows, bad = slow_columns(lines)
    assert frame.schema == FIELDS
    assert frame.rows()[1:] == rows
    assert losses.counts.get(UNREADABLE, 0) == bad


def test_what_is_not_asked_for_is_not_kept(tmp_path):
    path = tmp_path / "records.json"
    path.write_text('{"user": "a", "item": "x", "rating": 5, "time": 1, "text": "' + "long " * 100 + '"}\n')
    assert columns_of(path, FIELDS, ("user",), Losses()).frame.columns == list(FIELDS)


# --------------------------------------------------------------------------------------------- double colons


@repeatedly
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 10**9)).map(
                lambda row: "::".join(map(str, row))
            ),
            st.sampled_from(
                ["broken", "1::2", "1:2::3::4::5", "1::2::x::4", "1::2::3::4::5", "é::2::3::4", "1::2::3::"]
            ),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_double_colons_are_read_as_if_they_were_tabs(tmp_path, lines):
    from glta_cli.data.preparation import loader_of

    path = tmp_path / "ratings.dat"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    loader = loader_of(DatasetSettings(name="movielens-1m"))
    whole, lost = [], {"too many fields": 0, "bad rating": 0}
    for row in csv.reader((line.replace("::", "\t") for line in lines), delimiter="\t", quoting=csv.QUOTE_NONE):
        fields = [field or None for field in row] + [None] * (4 - len(row))
        if len(row) > 4 or fields[2] == "x":
            lost["too many fields" if len(row) > 4 else "bad rating"] += 1
        else:
            rating, time = fields[2], fields[3]
            whole.append((*fields[:2], None if rating is None else float(rating), None if time is None else int(time)))
    if not whole:
        return
    raw = loader.read({"ratings": path})
    assert raw.interactions.collect().rows() == whole
    assert {reason: raw.dropped.get(reason, 0) for reason in lost} == lost
    assert raw.read == len(lines)


# ------------------------------------------------------------------------------------------------- a table


def prepared_table(folder: Path, content: str):
    from glta_cli.data.preparation import prepare

    source = folder / "t.csv"
    source.write_text(content)
    settings = DatasetSettings(name="table", source=str(source), most_dropped=1)
    return prepare(settings, Workspace(folder / "workspace"))[0]


@pytest.mark.parametrize("word", ["n/a", "NA", " None ", "null", "-", "  "])
def test_a_word_for_no_rating_is_a_missing_rating(tmp_path, word):
    dataset = prepared_table(tmp_path, f"user,item,rating\na,x,5\na,y,{word}\nb,x,oops\n")
    assert dataset.summary()["dropped"] == {"bad rating": 1}
    assert dataset.summary()["interactions"] == 2


def test_a_rating_nobody_gave_is_no_column_of_ratings(tmp_path):
    assert prepared_table(tmp_path, "user,item,rating\na,x,n/a\na,y,n/a\n").summary()["dropped"] == {}


def test_an_empty_table_is_not_fetched_again(tmp_path):
    with pytest.raises(InputError, match="the file is empty") as caught:
        prepared_table(tmp_path, "\n")
    assert "write one row a line" in str(caught.value)
    assert "fetch" not in str(caught.value)


def test_a_table_too_small_to_test_on_warns(tmp_path):
    dataset = prepared_table(tmp_path, "user,item\na,x\n")
    assert dataset.summary()["split"] == {"train": 1, "valid": 0, "test": 0}
    assert any("nothing is left to test on" in warning for warning in dataset.warnings)
