"""Rows are what the file says: every record is a row or is counted, whatever its quotes, blanks and separators."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

ROWS = [
    (user, item, (user + item) % 5 + 1, 1_600_000_000 + 100 * user + item) for user in range(30) for item in range(8)
]


def delimited(separator: str = ",", header: str = "user,item,rating,timestamp", end: str = "\n") -> str:
    lines = [header.replace(",", separator), *(separator.join(map(str, row)) for row in ROWS)]
    return "".join(line + end for line in lines)


@pytest.fixture
def read(tmp_path: Path):
    """Prepare one file, or several of which the first is the source."""

    def get(files: dict[str, str | bytes], loader: str = "table", **settings: object) -> PreparedDataset:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        source = str(tmp_path / next(iter(files)))
        return prepare(
            DatasetSettings.model_validate({"name": loader, "source": source, **settings}), Workspace(tmp_path)
        )[0]

    return get


def accounted(dataset: PreparedDataset) -> int:
    summary = dataset.summary()
    return int(summary["interactions"] + sum(summary["dropped"].values()))


# ---------------------------------------------------------------------------------------------------- quotes


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("broken", [(5,), (5, 100), (5, 6), (239,), (0, 50, 51, 200)])
def test_a_quote_that_is_never_closed_costs_its_own_line(read, suffix, broken):
    separator = "," if suffix == "csv" else "\t"
    lines = [separator.join(("user", "item", "comment"))]
    for number, (user, item, _, _) in enumerate(ROWS):
        lines.append(separator.join((str(user), str(item), '"never closed' if number in broken else "ok")))
    dataset = read({f"log.{suffix}": "\n".join(lines) + "\n"})
    assert dataset.summary()["interactions"] == len(ROWS) - len(broken)
    assert dataset.summary()["dropped"] == {"unclosed quote": len(broken)}
    assert dataset.examples["unclosed quote"].startswith(f"line {broken[0] + 2}: '")


def test_an_open_quote_that_a_later_inch_closes_swallows_no_rows(read):
    comments = {5: '"open', 100: '5"'}
    lines = [f"{user},{item},{comments.get(number, 'ok')}" for number, (user, item, _, _) in enumerate(ROWS)]
    dataset = read({"log.csv": "user,item,comment\n" + "\n".join(lines)})
    assert dataset.summary()["interactions"] == len(ROWS) - 1
    assert dataset.summary()["dropped"] == {"unclosed quote": 1}


def test_quoted_line_breaks_commas_and_quotes_stay_in_their_field(read):
    items = 'item,title,description\n1,"One, ""the"" first","Line one\nline two\n\nline four"\n2,12" vinyl,"x"\n'
    dataset = read({"log.csv": "user,item\na,1\na,2\n", "i.csv": items}, options={"items": "i.csv"})
    assert dataset.titles == ['One, "the" first', '12" vinyl']
    assert dataset.texts[0] == 'One, "the" first. Line one line two line four'


# --------------------------------------------------------------------------------------------------- separators


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::", " "])
def test_the_separator_is_found_in_the_first_line(read, separator):
    dataset = read({"log.csv": delimited(separator)})
    assert (dataset.user_count, dataset.item_count, accounted(dataset)) == (30, 8, 240)


@pytest.mark.parametrize("separator", ["~", "<>", "\\t", "tab"])
def test_another_separator_is_named(read, separator):
    written = "\t" if separator in ("\\t", "tab") else separator
    dataset = read({"log.csv": delimited(written)}, options={"separator": separator})
    assert (dataset.user_count, dataset.item_count) == (30, 8)


def test_a_separator_that_is_not_found_is_asked_for(read):
    with pytest.raises(InputError) as caught:
        read({"log.csv": delimited("~")})
    assert "-o separator=" in str(caught.value)


@pytest.mark.parametrize("end", [",\n", ",,\n", ",\r\n"])
def test_lines_may_end_in_a_separator_where_the_header_does_not(read, end):
    body = delimited(end=end).split("\n", 1)[1]
    dataset = read({"log.csv": "user,item,rating,timestamp\n" + body})
    assert (dataset.summary()["interactions"], dataset.summary()["dropped"]) == (240, {})


def test_lines_with_more_fields_than_the_header_are_counted_and_shown(read):
    content = delimited().replace("\n3,4,3,1600000304\n", "\n3,4,3,1600000304,more\n")
    dataset = read({"log.csv": content})
    assert dataset.summary()["dropped"] == {"too many fields": 1}
    assert dataset.examples == {"too many fields": "line 30: '3,4,3,1600000304,more'"}


def test_a_header_shorter_than_every_line_is_told(read):
    with pytest.raises(InputError) as caught:
        read({"log.csv": "user,item\n1,2,3\n1,3,4\n"})
    assert "too many fields: 2, such as line 2: '1,2,3'" in str(caught.value)
    assert "the first line has to name as many columns" in str(caught.value)


@pytest.mark.parametrize("blank", ["\n", "   \n", "\r\n"])
def test_a_blank_line_is_no_record(read, blank):
    dataset = read({"log.csv": delimited().replace("\n", "\n" + blank) + blank})
    assert (dataset.summary()["interactions"], dataset.summary()["dropped"]) == (240, {})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_break_will_do(read, end):
    assert read({"log.csv": delimited(end=end)}).summary()["interactions"] == 240


# ----------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize("header", ["userid,UserItem", " User Id , ITEM ID ", "\ufeffUser_ID,item-id", '"user","item"'])
def test_common_names_are_found_whatever_their_case_blanks_and_marks(read, header):
    options = {"item": "useritem"} if "UserItem" in header else {}
    dataset = read({"log.csv": f"{header}\na,1\nb, 1\n"}, options=options)
    assert (dataset.user_ids, dataset.item_ids) == (["a", "b"], ["1"])


@pytest.mark.parametrize("header", ["UserId,MovieId,Rating,Timestamp", " userid , movieid , rating , timestamp "])
def test_a_published_layout_has_its_columns_found_the_same_way(read, header):
    dataset = read(
        {"ratings.csv": f"{header}\n1,10,5,1600000000\n2,10,4,1600000001\n"}, loader="movielens-latest-small"
    )
    assert (dataset.user_ids, dataset.item_ids) == (["1", "2"], ["10"])


@pytest.mark.parametrize(
    "content", ["1,2,5,1600000000\n1,3,4,1600000001\n", "1,1,5\n2,2,5\n", "u1,i1,2020-09-13\nu2,i1,2020-09-13\n"]
)
def test_a_missing_header_is_told_as_such(read, content):
    with pytest.raises(InputError, match="looks like data") as caught:
        read({"log.csv": content})
    assert "write the names of the columns into a first line" in str(caught.value)


def test_a_missing_header_is_told_where_a_column_is_named(read):
    with pytest.raises(InputError, match="looks like data"):
        read({"log.csv": "1,2,5\n2,2,5\n"}, options={"user": "user"})


def test_a_column_that_may_as_well_have_been_meant_is_told(read):
    dataset = read({"log.csv": "user,User,item\n1,2,3\n"})
    assert dataset.user_ids == ["1"]
    assert "column 'user' is taken as user, not 'User': -o user=COLUMN chooses" in dataset.warnings


def test_a_least_rating_without_a_known_column_says_how_to_name_it(read):
    with pytest.raises(InputError) as caught:
        read({"log.csv": "user,item,punteggio\n1,2,3\n"}, min_rating=3.0)
    assert "-o rating=COLUMN" in str(caught.value)
    with pytest.raises(InputError) as caught:
        read({"log.csv": "user,item,punteggio\n1,2,\n"}, min_rating=3.0, options={"rating": "punteggio"})
    assert "-o rating" not in str(caught.value)


def test_an_empty_column_of_times_is_not_asked_to_be_named_again(read):
    settings = {"split": {"strategy": "leave-last-out"}, "options": {"timestamp": "when"}}
    with pytest.raises(InputError, match="the column of times holds none") as caught:
        read({"log.csv": "user,item,when\n1,2,\n1,3,\n"}, **settings)
    assert "-o timestamp" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "null", "None", "n/a", "N/A", "<NA>", ""])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_word_for_no_title_is_no_title(read, tmp_path, word, suffix):
    texts = pl.DataFrame({"item": ["1", "2"], "title": ["Tea", word], "description": [word, word]})
    path = tmp_path / f"i.{suffix}"
    {"csv": texts.write_csv, "jsonl": texts.write_ndjson, "parquet": texts.write_parquet}[suffix](path)
    dataset = read({"log.csv": "user,item\na,1\na,2\n"}, options={"items": path.name})
    assert dataset.described.tolist() == [True, False]
    assert dataset.texts == ["Tea", "2"]


def test_a_word_for_none_among_ids_is_kept_and_told(read):
    dataset = read({"log.csv": "user,item\nnan,1\na,1\n"})
    assert dataset.user_ids == ["nan", "a"]
    assert "1 row has 'nan' for its user: it is taken as an id" in dataset.warnings


# -------------------------------------------------------------------------------------------------------- splits


PARTS = "user,item,part\n" + "".join(
    f"{u},{i},{'Train' if i < 5 else 'val' if i < 6 else 'TEST'}\n" for u, i, _, _ in ROWS
)


def test_a_table_brings_its_own_split(read):
    given = {"split": {"strategy": "given"}, "options": {"split": "part"}}
    assert read({"log.csv": PARTS}, **given).summary()["split"] == {"train": 150, "valid": 30, "test": 60}


def test_a_split_column_of_other_words_is_refused_where_it_is_named(read):
    with pytest.raises(InputError, match="'fold7' in column part is no part of a split"):
        read({"log.csv": "user,item,part\n1,2,train\n1,3,fold7\n"}, options={"split": "part"})


@pytest.mark.parametrize("loader", ["table", "lightgcn-split"])
def test_a_published_split_that_is_divided_anew_is_told(read, tmp_path, loader):
    files: dict[str, str | bytes] = {"log.csv": PARTS.replace("part", "split")}
    if loader == "lightgcn-split":
        files = {"train.txt": "0 1 2 3\n1 1 2 3\n", "test.txt": "0 4\n1 5\n"}
    told = "the source comes divided into parts of its own, which ratio divides anew: `--split given` keeps them"
    assert told in read(files, loader=loader).warnings
    assert told not in read(files, loader=loader, split={"strategy": "given"}).warnings


def test_the_parts_of_amazons_own_split_may_be_kept(read, tmp_path):
    header = "user_id,parent_asin,rating,timestamp,history\n"
    for part, item in (("train", "A"), ("valid", "B"), ("test", "C")):
        rows = "".join(f"u{user},{item},5.0,1600000000000,\n" for user in range(4))
        (tmp_path / f"Software.{part}.csv").write_text(header + rows)
    settings = {"name": "amazon-software", "source": str(tmp_path), "split": {"strategy": "given"}}
    dataset, _ = prepare(DatasetSettings.model_validate(settings), Workspace(tmp_path / "workspace"))
    assert dataset.summary()["split"] == {"train": 4, "valid": 4, "test": 4}


# ------------------------------------------------------------------------------------------------ Amazon's metadata


REVIEWS = "".join(
    json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": 1_600_000_000}) + "\n"
    for user in ("A", "B")
    for item in ("B1", "B2")
)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("meta_Baby.json", {"asin": "B1", "title": "of another category"}),
        ("qa_Software.json", {"asin": "B1", "question": "does it run?", "answer": "no"}),
        ("features.json", {"asin": "B1", "reviewText": "mine", "title": "of no item"}),
    ],
)
def test_a_file_that_is_not_the_categorys_metadata_is_not_taken_for_it(read, tmp_path, name, record):
    (tmp_path / name).write_text(json.dumps(record) + "\n")
    folder = tmp_path / "Software_5.json"
    folder.write_text(REVIEWS)
    dataset, _ = prepare(DatasetSettings(name="amazon-software", source=str(folder)), Workspace(tmp_path / "w"))
    assert not dataset.has_text
    assert any(warning.startswith("no metadata lies beside Software_5.json") for warning in dataset.warnings)


def test_a_broken_first_line_is_counted_as_any_other(read):
    dataset = read({"Software_5.json": "{broken\n" + REVIEWS}, loader="amazon-software")
    assert (dataset.summary()["interactions"], dataset.summary()["dropped"]) == (4, {"unreadable line": 1})
    assert dataset.examples == {"unreadable line": "line 1: '{broken'"}


def test_a_longer_separator_may_stand_within_quotes(read):
    dataset = read({"log.csv": 'user::item\n"a::b"::c\nd::e::f\n'}, most_dropped=1)
    assert dataset.user_ids == ["a::b"]
    assert dataset.examples == {"too many fields": "line 3: 'd::e::f'"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_movielens_in_either_encoding_keeps_its_accents(read, tmp_path, encoding):
    (tmp_path / "movies.dat").write_bytes("1::Misérables, Les (1995)::Drama\n".encode(encoding))
    dataset = read({"ratings.dat": "\ufeff1::1::5::978300760\n"}, loader="movielens-1m")
    assert (dataset.user_ids, dataset.titles) == (["1"], ["Misérables, Les (1995)"])


@pytest.mark.parametrize("name", ["*", "^.*$", "^$", "^[$"])
def test_a_column_may_have_any_name(read, name):
    dataset = read(
        {"log.csv": f"{name},item\na,1\nb,2\n", "i.csv": f"{name},item\nOne,1\nTwo,2\n"},
        options={"user": name, "items": "i.csv", "title": name, "description": name},
    )
    assert (dataset.user_ids, dataset.item_ids, dataset.titles) == (["a", "b"], ["1", "2"], ["One", "Two"])
