"""What `glta prepare` says came in: files and columns, rows, dates, items; and again when it is up to date."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.time_span import time_span
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

DAY = 86_400
NOW = 1_760_000_000
ROWS = [(f"C-{n % 7}", f"{n % 11:05d}", 1_700_000_000 + n * DAY, f"{n},5", "view") for n in range(60)]
HEADER = "customer;sku;ts;price;event\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rows = "".join(";".join(map(str, row)) + "\n" for row in ROWS)
    (tmp_path / "log.csv").write_text(HEADER + rows + "C-1;00001;0;1,5;cart\n;00002;1700000000;1,5;cart\n")
    items = "".join(f"{n:05d};Thing {n};9\n" for n in range(1, 13)) + "00001;Another thing;9\n"
    (tmp_path / "products.csv").write_text("sku;name;stock\n" + items)
    return tmp_path


def prepare_command(folder: Path, *arguments: str):
    from glta_cli.main import app

    source = str(folder / "log.csv")
    words = ["prepare", "table", "--source", source, "-o", "items=products.csv", "--data-dir", str(folder / "data")]
    return CliRunner().invoke(app, [*words, *arguments], catch_exceptions=False)


def test_every_column_is_taken_or_ignored_with_an_example(shop):
    shown = prepare_command(shop).stdout
    assert "log.csv: csv, ';' between fields, utf-8, 62 rows" in shown
    for row in (
        ("user", "customer", "such as C-0"),
        ("item", "sku", "such as 00000"),
        ("timestamp", "ts", "such as 1700000000"),
        ("ignored", "price", "such as 0,5"),
        ("event", "event", "such as view"),
        ("title", "name", "such as Thing 1"),
        ("for --where", "stock", "such as 9"),
    ):
        assert any(
            line.split("  ")[0].strip() == row[0] and all(cell in line for cell in row) for line in shown.splitlines()
        )
    assert max(map(len, shown.splitlines())) <= 80


def test_the_same_is_said_of_what_is_up_to_date_and_in_json(shop):
    first = prepare_command(shop)
    again = prepare_command(shop)
    assert "up to date" in again.stderr
    assert again.stdout == first.stdout
    account = json.loads(prepare_command(shop, "--json").stdout)["account"]
    assert account["rows"] == {"read": 62, "kept": 60, "lost": 1}
    assert account["times"] == {"first": "2023-11-14T22:13:20Z", "last": "2024-01-12T22:13:20Z", "far": 1}
    assert account["items"] == {"unmet": 2, "without_text": 1, "only_in_item_file": 0}
    assert [file["file"] for file in account["files"]] == ["log.csv", "products.csv"]


def test_a_lost_row_and_an_odd_time_are_shown_with_their_lines(shop):
    remarks = " ".join(prepare_command(shop).stderr.split())
    assert (
        "1 of 62 rows (1.6%) cannot be used: missing user 1, such as line 63: ';00002;1700000000;1,5;cart'" in remarks
    )
    assert "2023-11-14 to 2024-01-12: 1970-01-01T00:00:00Z (line 62: 'C-1;00001;0;1,5;cart')" in remarks
    assert "several titles in products.csv: 1, such as 00001: 'Thing 1' and 'Another thing'" in remarks


def test_descriptions_of_one_product_that_differ_are_shown_where_they_begin_to(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\na,1\nb,2\n")
    shared = "a lamp of brass with a shade of linen: "
    products = ["1,Lamp,<b>Short</b>", "1,Lamp,Short", f"2,Tent,{shared}white", f"2,Tent,{shared}red and blue", "3,,"]
    (tmp_path / "products.csv").write_text("item,title,description\n" + "\n".join(products) + "\n")
    settings = DatasetSettings(
        name="table", source=str(tmp_path / "log.csv"), options={"items": str(tmp_path / "products.csv")}
    )
    dataset, _ = prepare(settings, Workspace(tmp_path / "data"))
    # Markup alone is no difference, and nothing is said of titles, which do not differ.
    assert [warning for warning in dataset.warnings if "several" in warning] == [
        "items with several descriptions in products.csv: 1, such as 2: "
        "'...of linen: white' and '...of linen: red and blue'; the first counts"
    ]


def test_a_third_of_the_rows_is_not_lost_in_silence(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,timestamp\n" + "a,x,2020-01-01\nb,x,2020-01-02\nc,y,soon\nd,y,later\n")
    settings = DatasetSettings(name="table", source=str(log))
    with pytest.raises(InputError) as caught:
        prepare(settings, Workspace(tmp_path / "data"))
    assert "2 of 4 rows (50.0%) cannot be used: bad time 2, such as line 4: 'c,y,soon'" in str(caught.value)
    assert "--set dataset.most_dropped=1" in str(caught.value)
    told = settings.model_copy(update={"most_dropped": 0.5})
    dataset, _ = prepare(told, Workspace(tmp_path / "data"))
    assert dataset.user_ids == ["a", "b"]
    again, up_to_date = prepare(settings, Workspace(tmp_path / "data"))
    assert up_to_date
    assert again.artefact.path == dataset.artefact.path


def test_what_was_asked_for_or_repeats_is_no_loss(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,rating\n" + "a,x,5\n" * 8 + "a,y,1\n" * 8)
    dataset, _ = prepare(
        DatasetSettings(name="table", source=str(log), min_rating=3, kcore=1), Workspace(tmp_path / "data")
    )
    assert dataset.account["rows"] == {"read": 16, "kept": 1, "lost": 0}
    assert not any("cannot be used" in warning for warning in dataset.warnings)


def test_an_unrated_row_counts_unless_a_least_rating_is_asked_for(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,rating\n" + "".join(f"a,i{n},{5 if n < 8 else ''}\n" for n in range(10)))
    settings = DatasetSettings(name="table", source=str(log))
    dataset, _ = prepare(settings, Workspace(tmp_path / "data"))
    assert (dataset.summary()["interactions"], dataset.summary()["dropped"]) == (10, {})
    rated, _ = prepare(settings.model_copy(update={"min_rating": 1.0}), Workspace(tmp_path / "data"))
    assert (rated.summary()["interactions"], rated.summary()["dropped"]) == (8, {"missing rating": 2})


@pytest.mark.parametrize(
    ("times", "first", "last", "far"),
    [
        ([NOW, NOW - DAY], NOW - DAY, NOW, ()),
        ([None, NOW, None], NOW, NOW, ()),
        ([0, NOW, NOW - DAY, NOW * 4], NOW - DAY, NOW, (0, 3)),
        ([NOW - 20 * 365 * DAY + n * 300 * DAY for n in range(24)], NOW - 20 * 365 * DAY, NOW - 400 * DAY, ()),
        ([NOW - 9 * 365 * DAY, NOW, NOW, NOW], NOW, NOW, (0,)),
        ([NOW - DAY, NOW, NOW + 3 * DAY], NOW - DAY, NOW, (2,)),
    ],
)
def test_times_beyond_years_of_silence_or_ahead_of_now_are_far(times, first, last, far):
    span = time_span(pl.Series(times, dtype=pl.Int64), NOW)
    assert (span.first, span.last, span.far, span.far_rows) == (first, last, len(far), far)


@pytest.mark.parametrize("times", [[], [None], [0, 1, 2, 3000]])
def test_numbers_that_are_no_dates_have_no_span(times):
    assert time_span(pl.Series(times, dtype=pl.Int64), NOW) is None


def test_a_run_says_in_a_line_what_came_in(shop, capsys):
    from glta_cli.recipe.files import recipe_from
    from glta_cli.stages.pipeline import Pipeline

    recipe = recipe_from({"dataset": {"name": "table", "source": str(shop / "log.csv")}}, [])
    Pipeline("shop", recipe, Workspace(shop / "data")).prepared()
    remarks = capsys.readouterr().err
    assert "  62 rows read, 60 kept, 1.6% could not be used; 2023-11-14 to 2024-01-12\n" in remarks
