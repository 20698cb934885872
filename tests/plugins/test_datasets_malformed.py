"""Files that are not what they should be: a message with place, problem and hint, or rows counted."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

REVIEW = json.dumps({"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000})
PACKED = gzip.compress("".join(f"{REVIEW}\n" for _ in range(2000)).encode())


def prepared(name: str, source: Path, folder: Path, **options: object) -> PreparedDataset:
    settings = DatasetSettings(name=name, source=str(source), most_dropped=1, options=options)
    return prepare(settings, Workspace(folder / "workspace"))[0]


BAD_FILES = [
    ("amazon-software", "Software_5.json.gz", b"this is no gzip", ":1: the gzip data is broken", "gzip -t"),
    ("amazon-software", "Software_5.json.gz", PACKED[:-40], ": the gzip data is broken", "gzip -t"),
    ("amazon-software", "Software_5.json.gz", b"", ": the file is empty", "fetch the file again"),
    ("amazon-software", "Software_5.json", b"", ": the file is empty", "fetch the file again"),
    (
        "amazon-software",
        "Software_5.json",
        b'{"a": 1}\n',
        "not a file of Amazon reviews",
        "reviewerID and asin",
    ),
    (
        "amazon-software",
        "Software.csv",
        b"user,item\n1,2\n",
        "not a file of Amazon reviews",
        "user_id and parent_asin",
    ),
    (
        "amazon-software",
        "meta_Software.json",
        b'{"asin": "B1"}\n',
        "this is items of 2018",
        "reviewerID and asin",
    ),
    (
        "amazon-software",
        "Software.csv",
        b"user_id,parent_asin,stars,timestamp\n1,2,3,4\n",
        "Software.csv:1: no column rating; the columns are user_id, parent_asin, stars, timestamp",
        "is this the right file?",
    ),
    (
        "amazon-software",
        "Software_5.json",
        b'{"reviewerID": "A", "asin": "B"}\n',
        ":1: no field overall; the fields are reviewerID, asin",
        "is this the right file?",
    ),
    ("amazon-scientific", "Scientific.inter.json", b'{"0": [1, 2', ": not valid JSON", None),
    (
        "goodreads-poetry",
        "goodreads_interactions_poetry.json",
        b'{"user": "x"}\n',
        ":1: no field user_id and no field book_id; the fields are user",
        "is this the right file?",
    ),
    (
        "goodreads-poetry",
        "goodreads_interactions_poetry.json",
        b"\xff\xfe\x00\n",
        ":1: no line is a JSON object",
        "one record a line",
    ),
    ("movielens-100k", "u.data", b"", "u.data: the file is empty", "fetch the file again"),
    ("movielens-100k", "u.data", b"hello world\n", "no interaction is left", "look at the file"),
    ("movielens-100k", "u.data", b"1\t2\tx\ty\n", "u.data:1: no line can be read", "tabs between"),
    (
        "movielens-latest-small",
        "ratings.csv",
        b"user,movie,rating\n1,2,3\n",
        "ratings.csv:1: no column userId and no column movieId; the columns are user, movie, rating",
        "is this the right file?",
    ),
    ("movielens-1m", "ratings.parquet", b"PAR1 not really", "ratings.parquet: not a Parquet file", None),
    (
        "table",
        "t.csv",
        b"who,what\n1,2\n",
        "t.csv:1: no column is known as user or item; the columns are who, what",
        "name them: -o user=COLUMN -o item=COLUMN",
    ),
    ("table", "t.csv", b"user,item\n", "t.csv: there are no rows below the header", None),
    ("table", "t.csv", b"user,item\nZo\xeb,tea\n", "t.csv:2: not UTF-8: byte 0xeb", "iconv"),
    ("table", "t.csv", b"user,user\na,b\n", "t.csv:1: two columns have one name: user, user", None),
    (
        "table",
        "t.csv",
        b"user,item,rating\na,,4\n",
        "no interaction is left (missing item: 1)",
        "look at",
    ),
    (
        "table",
        "t.csv",
        b"user,item,rating\na,b,good\n",
        "t.csv:1: no line can be read",
        "ratings are numbers",
    ),
    ("table", "t.csv.gz", b"user,item\na,b\n", "t.csv.gz: the gzip data is broken", "gzip -t"),
    ("table", "t.parquet", b"nope", "t.parquet: not a Parquet file", None),
    ("table", "t.xlsx", b"x", "t.xlsx: its format is not told by its name", "rename or convert"),
    ("table", "t.jsonl", b"1\n2\n", "t.jsonl:1: no line is a JSON object", "one record a line"),
]


@pytest.mark.parametrize(("name", "file", "content", "problem", "hint"), BAD_FILES)
def test_a_bad_file_is_named_with_its_problem_and_a_hint(tmp_path, name, file, content, problem, hint):
    source = tmp_path / file
    source.write_bytes(content)
    with pytest.raises(InputError) as caught:
        prepared(name, source, tmp_path)
    message = str(caught.value)
    assert problem in message
    assert str(source) in message
    if hint is not None:
        assert f"hint: {hint}" in message or hint in message.partition("hint: ")[2]


def test_a_truncated_file_is_told_by_the_line_it_ends_at(tmp_path):
    source = tmp_path / "Software_5.json.gz"
    source.write_bytes(PACKED[:-40])
    with pytest.raises(InputError) as caught:
        prepared("amazon-software", source, tmp_path)
    line = int(caught.value.location.rpartition(":")[2])
    assert 1 <= line <= 2001


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amazon-software", "no file of reviews or ratings"),
        ("movielens-100k", "there is no u.data or ml-100k.inter"),
        ("goodreads-poetry", "there is no goodreads_interactions_poetry.json.gz"),
        ("lightgcn-gowalla", r"there is no train\.txt and no test\.txt"),
        ("table", "there is no file called interactions"),
    ],
)
def test_an_empty_folder_is_told_what_should_be_in_it(tmp_path, name, expected):
    source = tmp_path / "empty"
    source.mkdir()
    with pytest.raises(InputError, match=expected):
        prepared(name, source, tmp_path)


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b"0 1 2\n1 3 x 4\n2 y\n", ":2", "'x' is no integer"),
        (b"0 1.0\n", ":1", "'1.0' is no integer"),
        (b"0 -1\n", ":1", "'-1' is no integer"),
        (b"0 1\n\n0,1,2\n", ":3", "'0,1,2' is no integer"),
        (b"0 1\x1c2\n", ":1", "'1\x1c2' is no integer"),
        ("0 1\n٣ 4\n".encode(), ":2", "'٣' is no integer"),
        (b"user item\n0 1\n", ":1", "'user' is no integer"),
        (b"0 1\n\xff 2\n", ":2", "not UTF-8"),
        (b"", "", "the file is empty"),
        (b" \n\n", "", "the file is empty"),
    ],
)
def test_a_bad_line_of_an_adjacency_list_is_named(tmp_path, content, place, problem):
    (tmp_path / "train.txt").write_bytes(b"0 1 2\n")
    (tmp_path / "test.txt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        prepared("lightgcn-split", tmp_path, tmp_path)
    assert caught.value.location == f"{tmp_path / 'test.txt'}{place}"
    assert problem in caught.value.problem
    assert caught.value.hint
    if problem.endswith("integer"):
        assert "a line is a user and its items" in caught.value.hint


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"the archive holds no u\.data"):
        prepared("movielens-100k", tmp_path / "other.zip", tmp_path)


def test_single_bad_rows_are_counted_and_the_rest_is_used(tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("user,item,rating\na,x,5\na,y,oops\nb,x,4,extra\n,x,3\nc,,3\nd,x,nan\ne,x\na,x,5\n")
    dataset = prepared("table", source, tmp_path)
    assert dataset.summary()["dropped"] == {
        "too many fields": 1,
        "bad rating": 1,
        "missing user": 1,
        "missing item": 1,
        "duplicate": 1,
    }
    assert dataset.user_ids == ["a", "d", "e"]


def test_bad_lines_among_reviews_are_counted(tmp_path):
    source = tmp_path / "Software_5.json"
    lines = [REVIEW, "{broken", REVIEW.replace("B1", "B2"), "", REVIEW.replace('"A1"', "null"), "[1, 2]"]
    source.write_text("\n".join(lines))
    dataset = prepared("amazon-software", source, tmp_path)
    assert dataset.summary()["dropped"] == {"unreadable line": 2, "missing user": 1}
    assert dataset.summary()["interactions"] == 2


def test_a_named_column_that_is_not_there_has_a_near_one(tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("customer_no,item\na,x\n")
    with pytest.raises(InputError) as caught:
        prepared("table", source, tmp_path, user="customerno")
    assert "no column 'customerno'; the columns are customer_no, item" in str(caught.value)
    assert "did you mean 'customer_no'?" in str(caught.value)


def test_a_missing_second_file_is_named(tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("user,item\na,x\n")
    with pytest.raises(InputError, match=r"films\.csv: no such file"):
        prepared("table", source, tmp_path, items="films.csv")


def test_damage_in_a_file_that_is_needed_is_not_passed_over(tmp_path):
    folder = tmp_path / "amazon"
    folder.mkdir()
    (folder / "Software_5.json.gz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="the gzip data is broken"):
        prepared("amazon-software", folder, tmp_path)
