"""What is told of the files a loader of public data reads: every column or field, taken or ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glta_cli.data.preparation import prepare
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


def files_told(name: str, source: Path, folder: Path, split: str = "ratio") -> list[dict[str, Any]]:
    settings = DatasetSettings.model_validate({"name": name, "source": str(source), "split": {"strategy": split}})
    dataset, _ = prepare(settings, Workspace(folder))
    assert dataset.account is not None
    return dataset.account["files"]


def roles(file: dict[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    return {column["name"]: (column["role"], column["example"]) for column in file["columns"]}


def test_adjacency_lists_tell_what_their_numbers_are(tmp_path: Path) -> None:
    source = tmp_path / "lists"
    source.mkdir()
    (source / "train.txt").write_text("0 10 11 12 13\n1 12\n")
    (source / "test.txt").write_text("0 14\n1\n")
    train, test = files_told("lightgcn-split", source, tmp_path / "w", split="given")
    assert (train["file"], train["rows"], train["form"]["format"]) == ("train.txt", 5, "a user and its items a line")
    assert roles(train) == {"first number of a line": ("user", "0"), "numbers behind it": ("item", "10, 11, 12")}
    assert (test["file"], test["rows"]) == ("test.txt", 1)


def test_sequences_tell_of_their_keys_lists_and_fields(tmp_path: Path) -> None:
    source = tmp_path / "Scientific"
    source.mkdir()
    (source / "Scientific.inter.json").write_text(json.dumps({"0": [1, 2, 3, 4], "1": [2, 3, 1]}))
    items = {str(item): {"title": f"Thing {item}", "brand": "B", "price": "3.50"} for item in range(5)}
    (source / "Scientific.item.json").write_text(json.dumps(items))
    log, texts = files_told("amazon-scientific", source, tmp_path / "w")
    assert (log["file"], log["rows"], log["form"]["format"]) == ("Scientific.inter.json", 7, "one JSON object")
    assert roles(log) == {
        "key": ("user", "0"),
        "list behind it": ("item", "1, 2, 3"),
        "place in the list": ("timestamp", "0"),
    }
    assert (texts["file"], texts["rows"]) == ("Scientific.item.json", 5)
    assert roles(texts) == {
        "key": ("item", "0"),
        "title": ("title", "Thing 0"),
        "brand": ("description", "B"),
        "price": ("filter", "3.50"),
    }


def test_recbole_files_tell_their_own_columns_and_those_ignored(tmp_path: Path) -> None:
    source = tmp_path / "ml-100k"
    source.mkdir()
    rows = [f"{user}\t{item}\t4\t88{user}25094{item}\t7" for user in (1, 2) for item in (1, 2, 3)]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tage:float\n"
    (source / "ml-100k.inter").write_text(header + "\n".join(rows) + "\n")
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\turl:token\n"
    films = [f"{item}\tFilm {item}\t1995\tDrama War\tx.org" for item in (1, 2, 3)]
    (source / "ml-100k.item").write_text(header + "\n".join(films) + "\n")
    log, texts = files_told("movielens-100k", source, tmp_path / "w")
    assert roles(log) == {
        "user_id:token": ("user", "1"),
        "item_id:token": ("item", "1"),
        "rating:float": ("rating", "4"),
        "timestamp:float": ("timestamp", "881250941"),
        "age:float": (None, "7"),
    }
    assert roles(texts) == {
        "item_id:token": ("item", "1"),
        "movie_title:token_seq": ("title", "Film 1"),
        "release_year:token": ("title", "1995"),
        "class:token_seq": ("description", "Drama War"),
        "url:token": (None, "x.org"),
    }


def test_files_of_grouplens_tell_what_stands_between_fields_and_what_is_ignored(tmp_path: Path) -> None:
    source = tmp_path / "ml-1m"
    source.mkdir()
    (source / "ratings.dat").write_text("1::7::4::978300760\n1::8::5::978300761\n2::7::3::978300762\n")
    (source / "movies.dat").write_text("7::Film (1995)::Drama|War\n8::Other (1996)::Comedy\n")
    log, texts = files_told("movielens-1m", source, tmp_path / "w")
    assert log["form"]["separator"] == texts["form"]["separator"] == "::"
    assert roles(texts)["genres"] == ("description", "Drama|War")
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text("1\t7\t4\t978300760\n2\t7\t3\t978300762\n")
    (folder / "u.item").write_text("7|Film (1995)|01-Jan-1995||x.org|" + "|".join("0" * 18 + "1") + "\n")
    told = roles(files_told("movielens-100k", folder, tmp_path / "w")[1])
    assert told["url"] == (None, "x.org")
    assert told["title"] == ("title", "Film (1995)")
    assert told["Western"] == ("description", "1")
