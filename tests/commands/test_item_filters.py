"""Items are chosen by columns that `prepare` kept, and by lists: on the command line and in Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.run import Run
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import read_sealed_json, write_sealed_json
from glta_cli.main import app
from glta_cli.serving.conditions import condition_of
from glta_cli.serving.item_filter import _of_lists, _of_texts

ITEMS = 24
KINDS = ("shoes", "lamps", "Tents")
BRANDS = ("Acme", "Dune, Inc.", "")


def products() -> pl.DataFrame:
    """Every third item is a pair of shoes; the last two items nobody met."""
    numbers = range(ITEMS)
    return pl.DataFrame(
        {
            "sku": [f"P-{n:02}" for n in numbers],
            "name": [f"{KINDS[n % 3].title()}, no. {n}" for n in numbers],
            "category": [KINDS[n % 3] for n in numbers],
            "brand": [BRANDS[n // 2 % 3] for n in numbers],
            "price": [f"{5 + 1.5 * n:.2f}" for n in numbers],
            "released": [f"2024-{n % 12 + 1:02}-15" for n in numbers],
            "tags": ["new|on sale" if n % 4 == 0 else "classic" for n in numbers],
            "in_stock": ["true" if n % 2 else "false" for n in numbers],
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, products, and the data folder of a run `shop` that EASE answers for."""
    folder = tmp_path_factory.mktemp("filters")
    generator = np.random.default_rng(0)
    rows = [
        f"C-{user:02},P-{item:02},{1_700_000_000 + user * 1_000 + place}\n"
        for user in range(20)
        for place, item in enumerate(generator.choice(ITEMS - 2, 8, replace=False))
    ]
    (folder / "log.csv").write_text("customer,sku,ts\n" + "".join(rows))
    products().write_csv(folder / "products.csv")
    recipe = {
        "dataset": {"name": "table", "source": str(folder / "log.csv"), "options": {"items": "products.csv"}},
        "graph": {"options": {"dimension": 8}, "training": {"epochs": 1}},
        "backbone": {"name": "tiny"},
        "text": {"tokens": 16, "dimensions": 8},
        "fusion": {"terms": ["ease"]},
    }
    (folder / "shop.yaml").write_text(yaml.safe_dump(recipe))
    words = ["recommend", "--recipe", str(folder / "shop.yaml"), "--user", "C-01", "--data-dir", str(folder / "data")]
    CliRunner().invoke(app, words, catch_exceptions=False)
    return folder


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    return glta_cli.load("shop", made / "data")


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own, to be changed."""
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def glta(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--data-dir", str(folder / "data")], catch_exceptions=False)


def found(folder: Path, *words: str) -> list[str]:
    """The ids that are recommended to C-01, the best first."""
    answer = json.loads(glta(folder, "recommend", "--user", "C-01", "-k", "50", "--json", *words).stdout)
    return [entry["item"] for entry in answer["recommendations"]]


NUMBERS = pl.col("price").cast(pl.Float64)
MEANT: dict[str, pl.Expr] = {
    "category=shoes": pl.col("category") == "shoes",
    "CATEGORY=TENTS": pl.col("category") == "Tents",
    "category=shoes|lamps": pl.col("category").is_in(["shoes", "lamps"]),
    "brand!=Acme": pl.col("brand") != "Acme",
    'brand="dune, inc."': pl.col("brand") == "Dune, Inc.",
    "price<20": NUMBERS < 20,
    "price>=20": NUMBERS >= 20,
    "price=5|6.5": NUMBERS.is_in([5.0, 6.5]),
    "price!=5": NUMBERS != 5,
    "released<2024-03": pl.col("released") < "2024-03",
    "released<=2024-03": pl.col("released") < "2024-04",
    "released>2024-03": pl.col("released") >= "2024-04",
    "released=2024-03": pl.col("released").str.starts_with("2024-03"),
    "released>=2024-03-15": pl.col("released") >= "2024-03-15",
    "tags=On Sale": pl.col("tags").str.contains("on sale"),
    "tags!=new": ~pl.col("tags").str.contains("new"),
    "category=shoes or price<20": (pl.col("category") == "shoes") | (NUMBERS < 20),
    "price<9 or tags=on sale or category=tents": (NUMBERS < 9)
    | pl.col("tags").str.contains("on sale")
    | (pl.col("category") == "Tents"),
    "in_stock=yes": pl.col("in_stock") == "true",
}


@pytest.mark.parametrize("condition", MEANT)
def test_a_condition_leaves_what_meets_it_in_the_order_it_had(run: Run, condition: str) -> None:
    meeting = set(products().filter(MEANT[condition])["sku"])
    everything = run.recommend(["C-01"], ITEMS)["item"].to_list()
    chosen = run.recommend(["C-01"], ITEMS, where=condition)["item"].to_list()
    assert chosen == [item for item in everything if item in meeting]
    with_seen = run.recommend(["C-01"], ITEMS, where=condition, include_seen=True)["item"].to_list()
    assert set(with_seen) == meeting


def test_all_conditions_hold_for_users_and_for_somebody_new(made: Path, run: Run) -> None:
    both = ("category=shoes", "price<20")
    meeting = set(products().filter(MEANT["category=shoes"] & MEANT["price<20"])["sku"])
    assert set(found(made, "--where", both[0], "--where", both[1], "--include-seen")) == meeting
    frame = run.recommend_for(["P-01", "lamps, NO. 4"], ITEMS, where=both)
    assert set(frame["item"]) == meeting


def test_lists_are_files_of_lines_or_tables_or_names_between_commas(made: Path, tmp_path: Path) -> None:
    everything = found(made)
    some = everything[:3]
    lines, table, parquet = (tmp_path / name for name in ("ids.txt", "stock.csv", "stock.parquet"))
    lines.write_text("\n".join(some) + "\n\n")
    frame = pl.DataFrame({"count": [1, 2, 3], "product_id": some})
    frame.write_csv(table)
    frame.write_parquet(parquet)
    headless = tmp_path / "headless.csv"
    headless.write_text("\n".join(some))
    title = dict(zip(products()["sku"], products()["name"], strict=True))[some[0]]
    semicolons, tabs, quoted = (tmp_path / name for name in ("excel.csv", "stock.tsv", "quoted.txt"))
    frame.write_csv(semicolons, separator=";")
    frame.write_csv(tabs, separator="\t")
    titles = [dict(zip(products()["sku"], products()["name"], strict=True))[item] for item in some]
    quoted.write_text("".join(f'"{title}"\n' for title in titles))  # each title has a comma
    files = (lines, table, parquet, headless, semicolons, tabs, quoted)
    for given in (*map(str, files), f'"{title.upper()}",{some[1]}, {some[2]}'):
        assert found(made, "--only", given) == some, given
        assert found(made, "--except", given) == everything[3:], given


def test_unknown_names_are_counted_and_none_but_unknown_ones_refused(made: Path, run: Run) -> None:
    words = ["recommend", "--user", "C-01", "--only", "P-22,P-23,NOPE"]
    told = glta(made, *words)
    assert "1 of 3 names is no item's, such as 'NOPE'" in " ".join(told.stderr.split())
    assert "among the 2 items that are chosen" in told.stdout
    answer = json.loads(glta(made, *words, "--json").stdout)
    assert (answer["among"], answer["remarks"]) == (2, ["1 of 3 names is no item's, such as 'NOPE'"])
    with pytest.warns(UserWarning, match="1 of 2 names is no item's, such as 'NOPE'"):
        assert run.recommend("C-01", only=["P-22", "NOPE"])["item"].to_list() == ["P-22"]
    with pytest.raises(InputError, match="not one of 2 names is the id or the title of an item, such as 'P-99'"):
        run.recommend(["C-01"], only=["P-99", "NOPE"])
    with pytest.raises(InputError) as refused:
        glta(made, "recommend", "--user", "C-01", "--except", "P-9")
    assert str(refused.value).startswith("--except: no item has the id or the title 'P-9'")


def test_how_many_of_the_chosen_were_met_is_told(made: Path) -> None:
    words = ("--where", "category=shoes")
    met = len(found(made, *words, "--include-seen")) - len(found(made, *words))
    assert met > 1
    told = f"{met} of them were met: --include-seen shows them"
    assert told in glta(made, "recommend", "--user", "C-01", *words).stdout
    assert "were met" not in glta(made, "recommend", "--user", "C-01", *words, "--include-seen").stdout
    stranger = glta(made, "recommend", "--history", "P-00,P-03", *words).stdout
    assert "2 of them were met" in stranger


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("price<19,99", "write 19.99; price is"),
        ("price<20€", "write 20; price is"),
        ("price<1,299", "write 1299 or 1.299; price is"),
        ("price<$1.299,50", "write 1299.50; price is"),
        ("price<cheap", "price is"),
    ],
)
def test_a_number_in_another_spelling_is_refused_with_how_to_write_it(run: Run, condition: str, hint: str) -> None:
    with pytest.raises(InputError) as refused:
        run.recommend(["C-01"], where=condition)
    assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize(("written", "asked"), [("Größe 8", "grösse 8"), ("GRÖSSE 8", "größe 8"), ("ΟΔΟΣ", "οδοσ")])
def test_texts_are_compared_with_their_case_folded(written: str, asked: str) -> None:
    column = pl.Series("brand", [written, None, "Acme"])
    assert _of_texts(column, condition_of(f"brand={asked}")).to_list() == [True, None, False]
    assert _of_texts(column, condition_of("brand=ACME")).to_list() == [False, None, True]


@pytest.mark.parametrize("written", ["Bad &amp; K&ouml;rper", "Bad &amp;amp; Körper", "Bad & Körper"])
def test_texts_are_compared_as_titles_are_shown_without_html_entities(written: str) -> None:
    for column in (pl.Series("category", [written, None, "AT&T"]), pl.Series("category", [[written], None, ["AT&T"]])):
        choose = _of_texts if column.dtype == pl.String else _of_lists
        for asked in ("bad & körper", written):
            assert choose(column, condition_of(f"category={asked}")).fill_null(False).to_list() == [True, False, False]
        assert choose(column, condition_of("category=at&t")).fill_null(False).to_list() == [False, False, True]


def test_of_many_texts_those_with_an_entity_are_read_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from glta_cli.data import item_text

    read: list[str] = []
    unescaped = item_text.unescaped
    monkeypatch.setattr(item_text, "unescaped", lambda text: read.append(text) or unescaped(text))
    column = pl.Series("category", ["Salt & Pepper", "R&amp;B", None] * 50)
    assert _of_texts(column, condition_of("category=r&b")).to_list() == [False, True, None] * 50
    assert set(read) <= {"R&amp;B", "r&b"}
    assert len(read) <= 2


def test_everyone_is_answered_by_the_same_choice(made: Path, run: Run, tmp_path: Path) -> None:
    lists = tmp_path / "lists.csv"
    words = ["recommend", "--users", "all", "-o", str(lists), "-k", "3", "--where", "category=shoes"]
    told = glta(made, *words, "--except", "P-00,NOPE")
    assert "1 of 2 names is no item's, such as 'NOPE'" in " ".join(told.stderr.split())
    users = run.index.user_ids.tolist()
    alone = run.recommend(users, 3, where="category=shoes", without="P-00")
    written = pl.read_csv(lists)
    assert written["item"].to_list() == alone["item"].to_list()
    assert set(written["item"]) <= set(products().filter(MEANT["category=shoes"])["sku"]) - {"P-00"}


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (["catgory=shoes"], r"no column 'catgory'[\s\S]*did you mean 'category'\?[\s\S]*price \(number\)"),
        (["category=shoe"], r"no item has category 'shoe'[\s\S]*nearest is 'shoes'"),
        (["category!=shoe"], r"no item has category 'shoe'"),
        (["tags=sale"], r"no item has tags 'sale'[\s\S]*nearest is 'on sale'"),
        (["price=5.1"], r"no item has price '5.1'[\s\S]*nearest are '5', '6.5', '8'"),
        (["price<5"], r"no item has price<5[\s\S]*price is 5.0 to 39.5"),
        (["price<cheap"], r"price holds numbers, and 'cheap' is none"),
        (["price=nan"], r"price holds numbers, and 'nan' is none"),
        (["released>spring"], r"released holds dates, and 'spring' is none"),
        (["released=2023"], r"no item has released '2023'[\s\S]*2024-01-15 to 2024-12-15"),
        (["in_stock=maybe"], r"in_stock is true or false, not 'maybe'"),
        (["category<shoes"], r"category holds text, which < does not compare"),
        (["category=shoes", "category=lamps"], r"no item meets all[\s\S]*category=shoes: 8, category=lamps: 8"),
        (["category"], r"'category' is no condition"),
        (["category=shoes or catgory=lamps"], r"no column 'catgory'"),
        (["category=shoes or category=shoe"], r"no item has category 'shoe'"),
        (["category=shoes and price<20"], r"no item has category[\s\S]*each on its own"),
        (["price<20 and category=shoes or price<5"], r"price holds numbers[\s\S]*each on its own"),
        (["price<20,category=shoes"], r"price holds numbers[\s\S]*each on its own"),
        (["category=shoes, price<20"], r"no item has category[\s\S]*each on its own"),
        (["(category=shoes or price<20)"], r"no column '\(category'[\s\S]*there are no brackets; of several"),
        (["category=shoes or price<20)"], r"price holds numbers[\s\S]*there are no brackets; of several"),
        (["category=shoes or price="], r"'price=' names no value"),
        (
            ["category=shoes or price<6", "category=lamps", "price>30"],
            r"category=shoes or price<6: \d+, category=lamps: 8",
        ),
    ],
)
def test_what_cannot_be_chosen_by_is_told(run: Run, where: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        run.recommend(["C-01"], where=where)


def test_choices_that_leave_nothing_together_are_refused_with_their_counts(made: Path, run: Run) -> None:
    with pytest.raises(InputError, match=r"no item is left to answer with \(only: 1 item, where: 8\)"):
        run.recommend(["C-01"], only="P-01", where="category=shoes")
    with pytest.raises(InputError) as refused:
        glta(made, "recommend", "--user", "C-01", "--only", "nowhere.csv")
    assert "--only nowhere.csv: no such file" in str(refused.value)


def test_a_wrong_condition_is_told_before_anything_is_trained(tmp_path: Path, tiny_recipe_file: Path) -> None:
    words = ["recommend", "--user", "u1", "--recipe", str(tiny_recipe_file), "--where", "category"]
    with pytest.raises(InputError, match="--where: 'category' is no condition"):
        glta(tmp_path, *words)
    assert not (tmp_path / "data" / "stages").exists()


def test_a_published_run_chooses_without_its_dataset(own: Path) -> None:
    shoes = found(own, "--where", "category=shoes")
    shutil.rmtree(own / "data" / "stages" / "prepare")
    assert found(own, "--where", "category=shoes") == shoes


def forget_columns(folder: Path) -> None:
    """Make every dataset and index one that an earlier version published."""
    for manifest in (folder / "data" / "stages").glob("*/*/manifest.json"):
        content = read_sealed_json(manifest, [])
        content.pop("checksum", None)
        content["details"].pop("item_columns", None)
        if content["outputs"].pop("item_columns.parquet", None):
            (manifest.parent / "item_columns.parquet").unlink()
        write_sealed_json(manifest, content)


def prepare_words(folder: Path) -> tuple[str, ...]:
    return "prepare", "--recipe", str(folder / "shop.yaml")


def test_what_an_earlier_version_prepared_says_so_and_is_prepared_again(own: Path) -> None:
    shoes = found(own, "--where", "category=shoes")
    before = {path.name: path.read_bytes() for path in own.glob("data/stages/prepare/*/*.parquet")}
    forget_columns(own)
    assert found(own)  # without a choice it answers as it did
    with pytest.raises(GltaError, match=r"kept no columns[\s\S]*glta update takes them in[\s\S]*--again"):
        found(own, "--where", "category=shoes")
    assert "--again keeps them" in " ".join(glta(own, *prepare_words(own)).stderr.split())
    assert "written" in glta(own, *prepare_words(own), "--again").stderr
    assert {path.name: path.read_bytes() for path in own.glob("data/stages/prepare/*/*.parquet")} == before
    assert found(own, "--where", "category=shoes") == shoes


def test_so_does_an_update(own: Path) -> None:
    recipe = yaml.safe_load((own / "shop.yaml").read_text())
    recipe["dataset"]["source"] = str(own / "log.csv")
    (own / "shop.yaml").write_text(yaml.safe_dump(recipe))
    glta(own, "recommend", "--user", "C-01", "--recipe", str(own / "shop.yaml"))
    forget_columns(own)
    glta(own, "update")
    assert found(own, "--where", "category=shoes")


def test_an_update_follows_the_columns_and_what_is_listed(own: Path) -> None:
    log = ("--source", str(own / "log.csv"))
    free = found(own, "--where", "category=shoes")
    changed = products().with_columns(
        category=pl.when(pl.col("sku") == free[0]).then(pl.lit("boots")).otherwise("category")
    )
    changed.filter(pl.col("sku") != free[1]).write_csv(own / "products.csv")
    told = json.loads(glta(own, "update", *log, "--json").stdout)
    assert told["new"]["columns"] == 1
    assert found(own, "--where", "category=boots") == [free[0]]
    assert free[1] not in found(own, "--where", "category=shoes")
    with pytest.raises(InputError, match="1 is listed no more"):
        found(own, "--only", free[1])


def test_the_genres_of_films_choose_them(shared_data: Path, tmp_path: Path) -> None:
    recipe = {
        "dataset": {"name": "movielens-100k", "source": str(shared_data / "ml-100k"), "min_rating": 3},
        "graph": {"options": {"dimension": 8}, "training": {"epochs": 1}},
        "backbone": {"name": "tiny"},
        "text": {"tokens": 16, "dimensions": 8},
        "fusion": {"terms": ["ease"]},
    }
    (tmp_path / "films.yaml").write_text(yaml.safe_dump(recipe))
    glta(tmp_path, "recommend", "--recipe", str(tmp_path / "films.yaml"), "--user", "42")
    lines = (shared_data / "ml-100k" / "u.item").read_text(encoding="latin-1").splitlines()
    fields = [line.split("|") for line in lines]
    # Of the nineteen flags at the end the sixth is Comedy; a title ends with the year.
    meant = {each[0] for each in fields if each[-19:][5] == "1" and each[1].strip().endswith(("(1995)", "(1996)"))}
    films = glta_cli.load("films", tmp_path / "data")
    where = ["genres=comedy", "year>=1995", "year<=1996"]
    chosen = films.recommend(["42"], 2_000, where=where, include_seen=True)["item"].to_list()
    assert set(chosen) == meant & set(films.catalogue.ids)
    assert len(chosen) > 100
