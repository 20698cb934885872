"""The real files in place: counts as their README gives them, and texts that come out whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

FOLDERS = [
    ("ml-100k", "movielens-100k", (943, 1_682, 100_000)),
    ("ml-latest-small-2016", "movielens-latest-small", (671, 9_066, 100_004)),
    ("ml-1m-implicit", "movielens-1m", (6_040, 3_706, 1_000_209)),
    ("amazon-giftcards-2018-raw", "amazon-gift-cards", (458, 148, 2_972)),
    ("amazon-allbeauty-2023-5core", "amazon-all-beauty", (253, 356, 2_535)),
    ("amazon-sports-2014", "amazon-sports", (35_598, 18_357, 296_337)),
    ("amazon-scientific-2018", "amazon-scientific", (8_317, 4_344, 58_492)),
    ("lightgcn-gowalla", "lightgcn-gowalla", (29_858, 40_981, 1_027_370)),
]


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    workspace = Workspace(tmp_path_factory.mktemp("real"))
    known: dict[str, PreparedDataset] = {}

    def get(folder: str, name: str) -> PreparedDataset:
        if folder not in known:
            settings = DatasetSettings(name=name, source=str(shared_data / folder))
            known[folder], _ = prepare(settings, workspace)
        return known[folder]

    return get


@pytest.mark.parametrize(("folder", "name", "counts"), FOLDERS)
def test_counts_are_those_of_the_source(prepared, folder, name, counts):
    summary = prepared(folder, name).summary()
    read = summary["interactions"] + sum(summary["dropped"].values())
    assert (summary["users"], summary["items"], read) == counts
    assert set(summary["dropped"]) <= {"duplicate"}
    assert sum(summary["split"].values()) == summary["interactions"]


def test_repeated_reviews_of_2018_are_counted(prepared):
    summary = prepared("amazon-giftcards-2018-raw", "amazon-gift-cards").summary()
    assert (summary["interactions"], summary["dropped"]) == (2_965, {"duplicate": 7})


@pytest.mark.parametrize(
    ("folder", "name", "item", "text"),
    [
        ("ml-100k", "movielens-100k", "1", "Toy Story (1995). Animation, Children's, Comedy"),
        ("ml-100k", "movielens-100k", "543", "Miserables, Les (1995). Drama, Musical"),
        (
            "ml-latest-small-2016",
            "movielens-latest-small",
            "11",
            "American President, The (1995). Comedy, Drama",
        ),
        ("ml-1m-implicit", "movielens-1m", "73", "Misérables, Les (1995). Drama, Musical"),
    ],
)
def test_texts_keep_accents_commas_and_genres(prepared, folder, name, item, text):
    dataset = prepared(folder, name)
    found = dataset.texts[dataset.item_ids.index(item)]
    assert found.startswith(text)


@pytest.mark.parametrize(("folder", "name", "counts"), FOLDERS)
def test_no_markup_is_left_in_a_text(prepared, folder, name, counts):
    texts = prepared(folder, name).texts
    assert all(texts)
    assert not any(mark in text for text in texts for mark in ("&amp;", "&quot;", "&nbsp;", "<br", "</", "\n"))


def test_the_metadata_of_2014_is_read_though_it_is_no_json(prepared):
    dataset = prepared("amazon-sports-2014", "amazon-sports")
    text = dataset.texts[dataset.item_ids.index("1881509818")]
    assert text == "ghost armorers tool 332 punch hunting fishing"
    assert dataset.user_ids[0] == "AIXZKN4ACSKI"


def test_the_whole_file_of_2023_is_preferred_to_the_parts_of_its_split(prepared):
    inputs = prepared("amazon-allbeauty-2023-5core", "amazon-all-beauty").artefact.manifest["inputs"]
    assert {role: content["file"] for role, content in inputs.items()} == {
        "interactions": "All_Beauty.csv.gz",
        "items": "filterd_meta_items.csv",
    }


def test_the_parts_of_the_split_alone_give_the_same_interactions(shared_data, tmp_path, prepared):
    source = tmp_path / "parts"
    source.mkdir()
    for part in ("train", "valid", "test"):
        name = f"All_Beauty.{part}.csv.gz"
        (source / name).symlink_to(shared_data / "amazon-allbeauty-2023-5core" / name)
    parts, _ = prepare(DatasetSettings(name="amazon-all-beauty", source=str(source)), Workspace(tmp_path))
    whole = prepared("amazon-allbeauty-2023-5core", "amazon-all-beauty")

    def pairs(dataset: PreparedDataset) -> set[tuple[str, str]]:
        history = dataset.history()
        indices = zip(history.users.tolist(), history.items.tolist(), strict=True)
        return {(dataset.user_ids[user], dataset.item_ids[item]) for user, item in indices}

    assert pairs(parts) == pairs(whole)
    assert not parts.has_text


def test_the_order_of_lc_rec_serves_leave_last_out(shared_data, tmp_path):
    settings = DatasetSettings.model_validate(
        {
            "name": "amazon-scientific",
            "source": str(shared_data / "amazon-scientific-2018"),
            "split": {"strategy": "leave-last-out"},
        }
    )
    dataset, _ = prepare(settings, Workspace(tmp_path))
    user = dataset.user_ids.index("1")
    assert [dataset.item_ids[item] for item in dataset.history().of(user)] == ["9", "10", "11", "12", "6"]
    assert [dataset.item_ids[item] for item in dataset.split("test").of(user)] == ["6"]


def pairs_of(*files: Path) -> set[tuple[str, str]]:
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    return {(user, item) for user, *items in lines for item in items}


def test_the_parts_of_gowalla_are_its_files(shared_data, tmp_path):
    folder = shared_data / "lightgcn-gowalla"
    given = {"name": "lightgcn-gowalla", "source": str(folder), "split": {"strategy": "given"}}
    dataset, _ = prepare(DatasetSettings.model_validate(given), Workspace(tmp_path))
    assert dataset.summary()["split"] == {"train": 719_081, "valid": 91_047, "test": 217_242}
    assert dataset.summary()["dropped"] == {}
    users, items = np.array(dataset.user_ids), np.array(dataset.item_ids)
    for name in ("train", "valid", "test"):
        part = dataset.split(name)
        found = set(zip(users[part.users].tolist(), items[part.items].tolist(), strict=True))
        assert found == pairs_of(folder / f"{name}.txt")


def test_gowalla_in_its_authors_two_files_is_tested_on_the_same(shared_data, tmp_path):
    folder = shared_data / "lightgcn-gowalla"
    joined = [file.read_text().splitlines() for file in (folder / "train.txt", folder / "valid.txt")]
    (tmp_path / "train.txt").write_text("".join(f"{line}\n" for lines in joined for line in lines))
    (tmp_path / "test.txt").symlink_to(folder / "test.txt")
    given = {"name": "lightgcn-gowalla", "source": str(tmp_path), "split": {"strategy": "given"}}
    dataset, _ = prepare(DatasetSettings.model_validate(given), Workspace(tmp_path / "workspace"))
    sizes = dataset.summary()["split"]
    # Every user of the official training part has at least eight items, so each gives some to validation.
    assert sizes["test"] == 217_242
    assert sizes["train"] + sizes["valid"] == 810_128
    assert dataset.split("valid").counts.min() == 1
    assert sizes["valid"] == pytest.approx(81_013, rel=0.02)


def test_a_table_reads_the_same_files(shared_data, tmp_path):
    settings = DatasetSettings(
        name="table",
        source=str(shared_data / "ml-latest-small-2016" / "ratings.csv"),
        options={"items": "movies.csv"},
    )
    dataset, _ = prepare(settings, Workspace(tmp_path))
    # 59 of the films listed were rated by nobody.
    assert (dataset.user_count, dataset.item_count) == (671, 9_125)
    assert dataset.account["items"] == {"unmet": 59, "without_text": 0, "only_in_item_file": 0}
    assert dataset.texts[dataset.item_ids.index("1")].startswith("Toy Story (1995). Adventure|Animation")
