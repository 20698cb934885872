"""Every layout a loader knows, in fixtures written as the releases write them."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from glta_cli.core.errors import GltaError, InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def prepared_from(tmp_path: Path) -> Callable[..., PreparedDataset]:
    def get(name: str, source: Path, **options: object) -> PreparedDataset:
        settings = DatasetSettings(name=name, source=str(source), most_dropped=1, options=options)
        return prepare(settings, Workspace(tmp_path / "workspace"))[0]

    return get


def gzipped(path: Path, lines: list[str]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def pairs(dataset: PreparedDataset) -> list[tuple[str, str]]:
    history = dataset.history()
    indices = zip(history.users.tolist(), history.items.tolist(), strict=True)
    return sorted((dataset.user_ids[user], dataset.item_ids[item]) for user, item in indices)


class Offline:
    """A network that reaches nothing but, if given, one wheel."""

    def __init__(self, wheel: Path | None = None) -> None:
        self.wheel = wheel
        self.asked: list[str] = []

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        self.asked.append(url)
        raise GltaError("cannot be downloaded: unreachable", location=url, hint="put the file at HERE")

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        if self.wheel is None:
            raise GltaError("pip cannot fetch it", location=requirement)
        return self.wheel


def loader(name: str, **options: object):
    component = installed().find("dataset", name)
    return component.target()(name, component.config().model_validate(options))


# ------------------------------------------------------------------------------------------------- MovieLens


def test_movielens_100k_takes_the_copy_inside_recbole_when_grouplens_is_unreachable(tmp_path):
    wheel = tmp_path / "recbole.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        folder = "recbole/dataset_example/ml-100k"
        archive.writestr(
            f"{folder}/ml-100k.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t5\t881250949\n",
        )
        archive.writestr(
            f"{folder}/ml-100k.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tToy Story\t1995\tAnimation Children's Comedy\n",
        )
    network = Offline(wheel)
    movielens = loader("movielens-100k")
    raw = movielens.read(movielens.locate(None, network))
    assert network.asked == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip"]
    assert raw.interactions.collect().rows() == [("7", "1", 5.0, 881250949)]
    assert raw.items.collect().rows() == [("1", "Toy Story (1995)", "Animation, Children's, Comedy")]


def test_movielens_without_any_network_says_what_to_put_where():
    with pytest.raises(GltaError) as caught:
        loader("movielens-100k").locate(None, Offline())
    assert "recbole==1.2.1: pip cannot fetch it" in str(caught.value)
    assert "put the file at HERE" in str(caught.value)


@pytest.mark.parametrize("inside", ["", "ml-1m/"])
def test_movielens_1m_is_read_from_its_archive(tmp_path, prepared_from, inside):
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr(f"{inside}ratings.dat", "1::10::5::978300760\n1::20::3::978300000\nbroken\n")
        archive.writestr(f"{inside}movies.dat", "10::Léon: The Professional (1994)::Crime|Drama\n".encode("latin-1"))
    dataset = prepared_from("movielens-1m", tmp_path / "ml-1m.zip")
    assert [dataset.item_ids[item] for item in dataset.history().of(0)] == ["20", "10"]
    assert dataset.texts[dataset.item_ids.index("10")] == "Léon: The Professional (1994). Crime, Drama"
    assert dataset.summary()["dropped"] == {"missing item": 1}


# --------------------------------------------------------------------------------------------------- Amazon


REVIEWS = [
    {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000, "reviewText": "fine"},
    {"reviewerID": "A1", "asin": "B2", "overall": 4.0, "unixReviewTime": 900},
    {"reviewerID": "A2", "asin": "B1", "overall": 1.0, "unixReviewTime": 1100},
]


def test_the_release_of_2014_is_recognised_by_its_python_literals(tmp_path, prepared_from):
    gzipped(tmp_path / "reviews_Baby_5.json.gz", [json.dumps(review) for review in REVIEWS])
    gzipped(
        tmp_path / "meta_Baby.json.gz",
        [
            "{'asin': 'B1', 'title': \"Baby's first\", 'brand': 'Acme', "
            "'categories': [['Baby', 'Toys', 'Blocks'], ['Baby']], 'description': 'It&#39;s soft'}",
            "{'asin': 'B9', 'title': 'never bought'}",
            "{'asin': 'B2', 'title': 'unfinished",
        ],
    )
    dataset = prepared_from("amazon-baby", tmp_path)
    assert pairs(dataset) == [("A1", "B1"), ("A1", "B2"), ("A2", "B1")]
    assert [dataset.item_ids[item] for item in dataset.history().of(0)] == ["B2", "B1"]
    assert dataset.texts[0] == "Baby's first. Acme. Toys, Blocks. It's soft"
    assert "1 line of meta_Baby.json.gz cannot be read" in dataset.warnings


def test_the_release_of_2018_has_lists_repeated_items_and_entities(tmp_path, prepared_from):
    gzipped(tmp_path / "Software_5.json.gz", [json.dumps(review) for review in REVIEWS])
    metadata = [
        {
            "asin": "B1",
            "title": "Tax &amp;amp; Co",
            "category": ["Software", "Tax"],
            "description": ["First.", "<p>Second</p>"],
        },
        {"asin": "B1", "title": "repeated"},
        {"asin": "B2", "title": "var aPageStart = (new Date()).getTime();", "feature": ["Fast", "Small"]},
    ]
    gzipped(tmp_path / "meta_Software.json.gz", [json.dumps(item) for item in metadata])
    dataset = prepared_from("amazon-software", tmp_path, version=2023)
    assert dataset.titles == ["Tax & Co", "B2"]
    assert dataset.texts == ["Tax & Co. Tax. First. Second", "Fast Small"]


def test_the_release_of_2023_counts_milliseconds_and_parents(tmp_path, prepared_from):
    gzipped(
        tmp_path / "Software.csv.gz",
        ["user_id,parent_asin,rating,timestamp", "U1,P1,5.0,1547589356557", "U1,P2,1.0,1547589000000"],
    )
    metadata = [{"parent_asin": "P1", "title": "One", "store": "Shop", "categories": ["Software", "Games"]}]
    gzipped(tmp_path / "meta_Software.jsonl.gz", [json.dumps(item) for item in metadata])
    dataset = prepared_from("amazon-software", tmp_path)
    table = pl.read_parquet(dataset.artefact.file("interactions.parquet"))
    assert table["timestamp"].to_list() == [1547589000, 1547589356]
    assert dataset.texts[0] == "One. Shop. Games"


def test_raw_reviews_of_2023_load_too(tmp_path, prepared_from):
    review = {"user_id": "U1", "parent_asin": "P1", "asin": "C1", "rating": 4.0, "timestamp": 1547589356557}
    dataset = prepared_from("amazon-software", gzipped(tmp_path / "Software.jsonl.gz", [json.dumps(review)]))
    assert pairs(dataset) == [("U1", "P1")]


def test_without_metadata_the_interactions_load_with_a_warning(tmp_path, prepared_from):
    source = gzipped(tmp_path / "Software_5.json.gz", [json.dumps(review) for review in REVIEWS])
    dataset = prepared_from("amazon-software", source)
    assert not dataset.has_text
    assert dataset.texts == ["B1", "B2"]
    assert "no metadata lies beside Software_5.json.gz: no titles, no descriptions" in dataset.warnings


def test_another_categorys_file_is_read_with_a_warning(tmp_path, prepared_from):
    source = gzipped(tmp_path / "Gift_Cards_5.json.gz", [json.dumps(review) for review in REVIEWS])
    warnings = prepared_from("amazon-software", source).warnings
    assert "Gift_Cards_5.json.gz is amazon-gift-cards by its name, not amazon-software" in warnings


def test_of_several_files_the_category_and_subset_asked_for_is_taken(tmp_path, prepared_from):
    for name in ("Software_5", "Software", "Gift_Cards_5"):
        gzipped(tmp_path / f"{name}.json.gz", [json.dumps({**REVIEWS[0], "reviewerID": name})])
    assert prepared_from("amazon-software", tmp_path).user_ids == ["Software_5"]
    assert prepared_from("amazon-software", tmp_path, subset="full").user_ids == ["Software"]
    with pytest.raises(InputError, match="several files of interactions"):
        prepared_from("amazon-books", tmp_path, subset="5core")


@pytest.mark.parametrize(
    ("name", "options", "address"),
    [
        ("amazon-sports", {}, "categoryFiles/reviews_Sports_and_Outdoors_5.json.gz"),
        ("amazon-sports", {"version": 2023}, "5core/rating_only/Sports_and_Outdoors.csv.gz"),
        ("amazon-fashion", {"version": 2018}, "categoryFilesSmall/AMAZON_FASHION_5.json.gz"),
        ("amazon-gift-cards", {"subset": "full"}, "0core/rating_only/Gift_Cards.csv.gz"),
        ("amazon-luxury-beauty", {}, "categoryFilesSmall/Luxury_Beauty_5.json.gz"),
        ("goodreads-young-adult", {}, "byGenre/goodreads_interactions_young_adult.json.gz"),
    ],
)
def test_a_download_asks_for_the_releases_own_file(name, options, address):
    network = Offline()
    with pytest.raises(GltaError, match="put the file at HERE"):
        loader(name, **options).locate(None, network)
    assert network.asked[0].endswith(address)


def test_a_release_without_the_category_is_an_error():
    with pytest.raises(InputError, match="release of 2014 has no such category") as caught:
        loader("amazon-gift-cards", version=2014).locate(None, Offline())
    assert "it is in 2018, 2023" in str(caught.value)


# ------------------------------------------------------------------------------------------------ Goodreads


def test_goodreads_has_numbers_as_strings_and_shelves_as_genres(tmp_path, prepared_from):
    interaction = {
        "user_id": "8842281e",
        "book_id": "130580",
        "is_read": True,
        "rating": "4",
        "date_added": "Tue Nov 17 11:37:35 -0800 2015",
    }
    gzipped(
        tmp_path / "goodreads_interactions_poetry.json.gz",
        [
            json.dumps(interaction),
            json.dumps({**interaction, "book_id": "7", "rating": "0", "date_added": "Mon Nov 16 11:37:35 -0800 2015"}),
            json.dumps({**interaction, "book_id": "8", "date_added": "someday"}),
            "{not json",
        ],
    )
    book = {
        "book_id": "130580",
        "title": "Leaves of Grass",
        "description": "Poems &amp; more",
        "popular_shelves": [{"count": "90", "name": "to-read"}, {"count": "50", "name": "poetry"}],
    }
    gzipped(tmp_path / "goodreads_books_poetry.json.gz", [json.dumps(book)])
    dataset = prepared_from("goodreads-poetry", tmp_path)
    table = pl.read_parquet(dataset.artefact.file("interactions.parquet"))
    assert table["timestamp"].to_list() == [1447702655, 1447789055]
    assert table["rating"].to_list() == [0.0, 4.0]
    assert dataset.summary()["dropped"] == {"unreadable line": 1, "missing timestamp": 1}
    assert "Leaves of Grass. poetry. Poems & more" in dataset.texts


# ---------------------------------------------------------------------------------------------- adjacency lists


def lists(folder: Path, **parts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for part, content in parts.items():
        (folder / f"{part}.txt").write_text(content)
    return folder


def divided(source: Path, workspace: Path, **split: object) -> PreparedDataset:
    values = {"name": "lightgcn-split", "source": str(source), "split": {"strategy": "given", **split}}
    return prepare(DatasetSettings.model_validate(values), Workspace(workspace))[0]


def part_of(dataset: PreparedDataset, name: str) -> set[tuple[str, str]]:
    part = dataset.split(name)
    indices = zip(part.users.tolist(), part.items.tolist(), strict=True)
    return {(dataset.user_ids[user], dataset.item_ids[item]) for user, item in indices}


def test_adjacency_lists_keep_their_parts_whatever_their_spaces(tmp_path):
    source = lists(
        tmp_path / "split", train="0 10 11 \r\n1  12\t10\n\n2\n", valid="0 12\n1\n", test="1 11\n007 10\n0 13"
    )
    dataset = divided(source, tmp_path)
    assert part_of(dataset, "train") == {("0", "10"), ("0", "11"), ("1", "12"), ("1", "10")}
    assert part_of(dataset, "valid") == {("0", "12")}
    assert part_of(dataset, "test") == {("1", "11"), ("007", "10"), ("0", "13")}
    assert dataset.user_ids == ["0", "1", "007"]
    assert dataset.summary()["dropped"] == {}
    assert not any("split" in warning for warning in dataset.warnings)


def test_without_a_validation_list_a_share_of_training_is_drawn_and_said(tmp_path):
    training = "".join(f"{user} {' '.join(map(str, range(20)))}\n" for user in range(10))
    source = lists(tmp_path / "split", train=training, test="".join(f"{user} 90 91\n" for user in range(10)))
    dataset = divided(source, tmp_path, validation=0.2)
    assert dataset.summary()["split"] == {"train": 160, "valid": 40, "test": 20}
    assert set(dataset.split("valid").counts.tolist()) == {4}
    told = "the given split has no validation part: 40 of its training interactions were drawn for it"
    assert told in dataset.warnings
    again, other = (divided(source, tmp_path / "again", validation=0.2, seed=seed) for seed in (0, 1))
    assert part_of(again, "valid") == part_of(dataset, "valid") != part_of(other, "valid")


def test_a_pair_of_two_lists_is_kept_in_the_first_and_counted(tmp_path):
    source = lists(tmp_path / "split", train="0 1 2 2\n", valid="0 3 2\n", test="0 4 3 1\n")
    dataset = divided(source, tmp_path)
    assert [part_of(dataset, name) for name in ("train", "valid", "test")] == [
        {("0", "1"), ("0", "2")},
        {("0", "3")},
        {("0", "4")},
    ]
    assert dataset.summary()["dropped"] == {"duplicate": 1, "in an earlier part of the split": 3}
    ratio = divided(source, tmp_path / "ratio", strategy="ratio")
    assert ratio.summary()["dropped"] == {"duplicate": 4}


def test_another_strategy_divides_a_divided_source_anew(tmp_path):
    training = "".join(f"{user} {' '.join(map(str, range(20)))}\n" for user in range(10))
    source = lists(tmp_path / "split", train=training, test="0 90\n")
    dataset = divided(source, tmp_path, strategy="ratio")
    assert dataset.summary()["split"] == {"train": 161, "valid": 20, "test": 20}
    assert not any("given split" in warning for warning in dataset.warnings)


def test_a_filter_leaves_the_parts_of_what_stays(tmp_path):
    source = lists(tmp_path / "split", train="0 1 2 9\n1 1 2\n5 8\n", valid="0 3\n1 3\n", test="0 4\n1 4\n")
    values = {"name": "lightgcn-split", "source": str(source), "kcore": 2, "split": {"strategy": "given"}}
    dataset, _ = prepare(DatasetSettings.model_validate(values), Workspace(tmp_path))
    assert part_of(dataset, "train") == {("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")}
    assert part_of(dataset, "valid") == {("0", "3"), ("1", "3")}
    assert part_of(dataset, "test") == {("0", "4"), ("1", "4")}
    assert dataset.summary()["dropped"] == {"k-core": 2}


def test_a_split_whose_test_list_is_filtered_away_says_so(tmp_path):
    source = lists(tmp_path / "split", train="0 1 2\n1 1 2\n", valid="0 3\n", test="0 4\n")
    values = {"name": "lightgcn-split", "source": str(source), "kcore": 2, "split": {"strategy": "given"}}
    dataset, _ = prepare(DatasetSettings.model_validate(values), Workspace(tmp_path))
    assert dataset.summary()["split"] == {"train": 4, "valid": 0, "test": 0}
    assert "the given split has no test part: nothing is left to test on" in dataset.warnings


class Mirror:
    """Serves what is asked for from a folder, by file name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, int | None, str | None]] = []

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        self.asked.append((url, size, sha256))
        return self.folder / url.rpartition("/")[2]

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        raise AssertionError(requirement)


def test_gowalla_is_fetched_as_its_authors_divide_it(tmp_path):
    mirror = Mirror(lists(tmp_path / "gowalla", train="0 1 2\n", test="0 3\n"))
    gowalla = loader("lightgcn-gowalla")
    raw = gowalla.read(gowalla.locate(None, mirror))
    assert raw.interactions.collect().rows() == [("0", "1", "train"), ("0", "2", "train"), ("0", "3", "test")]
    address = "https://raw.githubusercontent.com/kuandeng/LightGCN/"
    assert [url.startswith(address) for url, _, _ in mirror.asked] == [True, True]
    assert [url.rpartition("/Data/")[2] for url, _, _ in mirror.asked] == ["gowalla/train.txt", "gowalla/test.txt"]


def test_gowalla_without_a_network_says_what_to_put_where_and_the_general_split_asks_for_a_source():
    with pytest.raises(GltaError, match="put the file at HERE"):
        loader("lightgcn-gowalla").locate(None, Offline())
    network = Offline()
    with pytest.raises(InputError, match="no place to be fetched from") as caught:
        loader("lightgcn-split").locate(None, network)
    assert network.asked == []
    assert "glta prepare lightgcn-split --source FOLDER" in str(caught.value)


def test_one_list_stands_for_its_folder_and_any_other_file_is_refused(tmp_path):
    source = lists(tmp_path / "split", train="0 1 2\n", test="0 3\n", notes="0 4\n")
    found = loader("lightgcn-split").locate(source / "train.txt", Offline())
    assert found == {part: source / f"{part}.txt" for part in ("train", "test")}
    with pytest.raises(InputError, match="none of the split's files"):
        loader("lightgcn-split").locate(source / "notes.txt", Offline())
    (source / "test.txt").unlink()
    with pytest.raises(InputError, match=r"there is no test\.txt"):
        loader("lightgcn-split").locate(source, Offline())


# ---------------------------------------------------------------------------------------------------- table


ROWS = pl.DataFrame(
    {"userId": ["u1", "u1", "u2"], "itemId": ["10", "20", "10"], "score": [5.0, 3.0, 4.0], "time": [3, 1, 2]}
)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "csv.gz", "jsonl.gz"])
def test_every_format_of_a_table_gives_the_same(tmp_path, prepared_from, suffix):
    path = tmp_path / f"mine.{suffix}"
    match suffix.removesuffix(".gz"):
        case "csv":
            content = ROWS.write_csv().encode()
        case "tsv":
            content = ROWS.write_csv(separator="\t").encode()
        case "jsonl":
            content = ROWS.write_ndjson().encode()
        case _:
            ROWS.write_parquet(path)
            content = path.read_bytes()
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    dataset = prepared_from("table", path)
    assert dataset.user_ids == ["u1", "u2"]
    assert [dataset.item_ids[item] for item in dataset.history().of(0)] == ["20", "10"]


def test_columns_and_item_texts_are_named_in_options(tmp_path, prepared_from):
    (tmp_path / "log.csv").write_text("who,what\nann,1\nbob,1\n")
    pl.DataFrame({"code": [1.0], "label": ["Tea"], "a": ["Hot"], "b": ["Green"]}).write_parquet(tmp_path / "x.parquet")
    dataset = prepared_from(
        "table",
        tmp_path / "log.csv",
        user="who",
        item="what",
        items="x.parquet",
        items_item="code",
        title="label",
        description=["a", "b"],
    )
    assert dataset.texts == ["Tea. Hot. Green"]


@pytest.mark.parametrize(
    "times",
    [
        ["1500000000", "1500000060"],
        ["1500000000000", "1500000060000"],
        ["2017-07-14T02:40:00", "2017-07-14 02:41:00"],
    ],
)
def test_times_come_in_seconds_milliseconds_or_iso(tmp_path, prepared_from, times):
    if "T" in times[0]:
        times = [times[0], times[1].replace(" ", "T")]
    source = tmp_path / "times.csv"
    source.write_text(f"user,item,timestamp\nu,a,{times[0]}\nu,b,{times[1]}\n")
    table = pl.read_parquet(prepared_from("table", source).artefact.file("interactions.parquet"))
    assert table["timestamp"].to_list() == [1500000000, 1500000060]


fields = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(fields, fields), min_size=1, max_size=12, unique=True),
    st.sampled_from(["csv", "jsonl"]),
)
def test_any_id_survives_the_way_in_and_out_but_for_blanks_around_it(tmp_path_factory, records, suffix):
    folder = tmp_path_factory.mktemp("ids")
    frame = pl.DataFrame(records, schema=["user", "item"], orient="row")
    path = folder / f"ids.{suffix}"
    if suffix == "csv":
        frame.write_csv(path, quote_style="always")
    else:
        frame.write_ndjson(path)
    dataset, _ = prepare(DatasetSettings(name="table", source=str(path)), Workspace(folder))
    assert pairs(dataset) == sorted({(user.strip(), item.strip()) for user, item in records})
