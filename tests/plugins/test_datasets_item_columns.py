"""The further columns of items, as the loaders give them: each in the type its values are of."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from glta_datasets.item_columns import of_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from glta_cli.core.errors import PluginError
from glta_cli.data.item_columns import LONGEST_ON_AVERAGE
from glta_cli.data.loader_outputs import check_raw
from glta_cli.data.preparation import prepare
from glta_cli.plugin import RawDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        (["1", "-2", "+30", "", None], [1, -2, 30, None, None]),
        (["0.5", "1e3", "2", "n/a"], [0.5, 1000.0, 2.0, None]),
        (["4,5", "10"], [4.5, 10.0]),
        (["1,299.50", "3.00"], [1299.5, 3.0]),
        (["1,299", "2,450"], ["1,299", "2,450"]),
        (["$9.99", "$ 1,000.00"], [9.99, 1000.0]),
        (["9,99 €", "12 €"], [9.99, 12.0]),
        (["USD 5", "USD 6"], [5, 6]),
        (["$5", "€6"], ["$5", "€6"]),
        (["5", "$6"], ["5", "$6"]),
        (["0042", "0007"], ["0042", "0007"]),
        (["99999999999999999999"], ["99999999999999999999"]),
        (["True", "FALSE"], [True, False]),
        (["2024-05-13", "2024/1/2"], [date(2024, 5, 13), date(2024, 1, 2)]),
        (["13.05.2024", "01.02.2023"], [date(2024, 5, 13), date(2023, 2, 1)]),
        (["2024-05-13 12:30", "2024-05-14"], [datetime(2024, 5, 13, 12, 30), datetime(2024, 5, 14)]),
        (["01/02/2024"], ["01/02/2024"]),
        (["1950-03-02"], [date(1950, 3, 2)]),
        (["Action|Sci-Fi", "Drama", "| War |"], [["Action", "Sci-Fi"], ["Drama"], ["War"]]),
        (["garden|outdoor", *["garden"] * 12], ["garden|outdoor", *["garden"] * 12]),
        (["a|b", *["a"] * 8], [["a", "b"], *[["a"]] * 8]),
        ([*[f"a|{n}" for n in range(6)], *["a"] * 60], [*[["a", f"{n}"] for n in range(6)], *[["a"]] * 60]),
        (["red", " blue "], ["red", "blue"]),
        (["-", "none"], [None, None]),
        (["1.2.3", "4.5.6"], ["1.2.3", "4.5.6"]),
        (["E", "+"], ["E", "+"]),
    ],
)
def test_a_column_is_what_all_of_its_values_are(texts: list[str | None], meant: list[Any]) -> None:
    assert of_texts(pl.Series("x", texts, dtype=pl.String)).to_list() == meant


def test_a_named_sign_settles_what_may_be_thousands() -> None:
    texts = pl.Series("price", ["1,299", "2,450"])
    assert of_texts(texts, decimal=",").to_list() == [1.299, 2.45]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62) | st.none(), max_size=20))
def test_whole_numbers_stay_what_they_are(numbers: list[int | None]) -> None:
    texts = pl.Series("n", [None if number is None else str(number) for number in numbers], dtype=pl.String)
    assert of_texts(texts).to_list() == numbers


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=20))
def test_no_text_stops_it(texts: list[str]) -> None:
    assert len(of_texts(pl.Series("x", texts, dtype=pl.String))) == len(texts)


def prepared(folder: Path, name: str, source: Path, **options: Any) -> Any:
    settings = DatasetSettings(name=name, source=str(source), options=options)
    return prepare(settings, Workspace(folder / "data"))[0]


def by_item(dataset: Any) -> dict[str, dict[str, Any]]:
    return dict(zip(dataset.item_ids, dataset.item_columns.to_dicts(), strict=True))


def test_lists_of_json_stay_lists_and_long_texts_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\na,1\nb,2\nb,3\n")
    products = [
        {"item": 1, "title": "Kettle", "tags": ["new", "steel"], "size": {"cm": 3}, "price": 9.5, "story": "x" * 900},
        {"item": 2, "title": "Lamp", "tags": [], "price": 3, "story": "y", "empty": ""},
    ]
    (tmp_path / "products.jsonl").write_text("".join(json.dumps(each) + "\n" for each in products))
    dataset = prepared(tmp_path, "table", tmp_path / "log.csv", items="products.jsonl")
    columns = by_item(dataset)
    assert columns["1"] == {"tags": ["new", "steel"], "size": 3, "price": 9.5}
    assert columns["2"] == {"tags": None, "size": None, "price": 3.0}
    assert columns["3"] == dict.fromkeys(("tags", "size", "price"))
    assert dataset.account["columns"] == {
        "kept": {"tags": "list", "size": "number", "price": "number"},
        "left_out": {"story": "long texts", "empty": "nothing in it"},
    }
    roles = {column["name"]: column["role"] for column in dataset.account["files"][1]["columns"]}
    assert roles == {"item": "item", "title": "title", "tags": "description"} | {
        **{"size": "filter", "price": "filter", "story": None, "empty": None},
    }
    assert LONGEST_ON_AVERAGE < 900 / 2


def test_types_of_parquet_are_kept_and_what_is_no_value_is_not(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,sku\na,1\nb,2\n")
    pl.DataFrame(
        {
            "sku": ["1", "1", "2"],
            "title": ["Kettle", "Kettle", "Lamp"],
            "price": [None, 2.5, float("nan")],
            "made": [date(2024, 1, 1), None, date(2023, 1, 1)],
            "kinds": [["a", "b"], None, ["c"]],
            "parts": [{"x": 1}, None, None],
            "picture": [b"1", b"2", b"3"],
        }
    ).write_parquet(tmp_path / "products.parquet")
    columns = by_item(prepared(tmp_path, "table", tmp_path / "log.csv", items="products.parquet"))
    # Of several rows of an item the first value that is one.
    assert columns["1"] == {"price": 2.5, "made": date(2024, 1, 1), "kinds": ["a", "b"]}
    assert columns["2"] == {"price": None, "made": date(2023, 1, 1), "kinds": ["c"]}


def test_films_have_genres_and_a_year(tmp_path: Path) -> None:
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "u.data").write_text("1\t1\t5\t100\n2\t2\t4\t101\n")
    flags = ["0"] * 19
    flags[1] = flags[15] = "1"
    rows = [["1", "Alien (1979)", "", "", "", *flags], ["2", "unknown", "", "", "", *["0"] * 19]]
    (folder / "u.item").write_text("".join("|".join(row) + "\n" for row in rows))
    columns = by_item(prepared(tmp_path, "movielens-100k", folder))
    assert columns == {"1": {"genres": ["Action", "Sci-Fi"], "year": 1979}, "2": {"genres": None, "year": None}}


def test_products_of_amazon_have_brand_categories_and_price(tmp_path: Path) -> None:
    folder = tmp_path / "amazon"
    folder.mkdir()
    review = {"reviewerID": "U", "asin": "B1", "overall": 5.0, "unixReviewTime": 1_500_000_000}
    reviews = [review, {**review, "asin": "B2"}]
    items = [
        {"asin": "B1", "title": "Mug", "brand": "Acme", "category": ["Home", "Mugs"], "price": "$1,005.99 - $9"},
        {"asin": "B2", "title": "Cup", "brand": "", "category": [], "main_cat": "Home", "price": ".a{color:red}"},
    ]
    for name, records in (("Gift_Cards_5.json.gz", reviews), ("meta_Gift_Cards.json.gz", items)):
        with gzip.open(folder / name, "wt") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    columns = by_item(prepared(tmp_path, "amazon-gift-cards", folder))
    assert columns["B1"] == {
        **{"brand": "Acme", "categories": ["Home", "Mugs"], "main_category": None, "price": 1005.99},
    }
    assert columns["B2"] == {"brand": None, "categories": None, "main_category": "Home", "price": None}


def test_books_have_shelves_a_year_and_pages(tmp_path: Path) -> None:
    loans = [{"user_id": "u", "book_id": str(book), "rating": 4, "date_added": ""} for book in (1, 2)]
    shelves = [{"count": "9", "name": "to-read"}, {"count": "5", "name": "poetry"}, {"count": "2", "name": "war"}]
    book = {"book_id": "1", "title": "Poems", "popular_shelves": shelves, "description": ""}
    books = [
        {**book, "publication_year": "1999", "num_pages": "120", "language_code": "eng", "average_rating": "4.25"},
        {**book, "book_id": "2", "popular_shelves": [], "publication_year": "", "language_code": ""},
    ]
    for name, records in (("interactions", loans), ("books", books)):
        with gzip.open(tmp_path / f"goodreads_{name}_poetry.json.gz", "wt") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    columns = by_item(prepared(tmp_path, "goodreads-poetry", tmp_path))
    assert columns["1"] == {
        **{"shelves": ["poetry", "war"], "publication_year": 1999, "language_code": "eng", "num_pages": 120},
        **{"average_rating": 4.25},
    }
    assert set(columns["2"].values()) == {None}


def test_a_loader_written_before_has_none_and_is_as_right_as_before(tmp_path: Path) -> None:
    check_raw(RawDataset(pl.LazyFrame({"user": ["a"], "item": ["x"]})))
    (tmp_path / "log.csv").write_text("user,item\na,1\nb,2\n")
    dataset = prepared(tmp_path, "table", tmp_path / "log.csv")
    assert dataset.item_columns.width == 0
    assert not dataset.artefact.has("item_columns.parquet")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (pl.DataFrame({"item": ["x"]}), "item_columns that are a DataFrame, not a polars LazyFrame"),
        (pl.LazyFrame({"id": ["x"]}), "item_columns without a column item of strings"),
        (pl.LazyFrame({"item": ["x"], "raw": [b"1"]}), "item_columns whose raw is Binary, not numbers, booleans"),
        (pl.LazyFrame({"item": ["x"], "deep": [[[1]]]}), "item_columns whose deep is List"),
    ],
)
def test_a_slip_of_a_loader_is_named(columns: Any, told: str) -> None:
    raw = RawDataset(pl.LazyFrame({"user": ["a"], "item": ["x"]}), item_columns=columns)
    with pytest.raises(PluginError, match=told.replace("(", r"\(")):
        check_raw(raw)
