"""A large file of a published release is read in pieces, and all that is said of it is as if it were read at once."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from glta_datasets import delimited_pieces, json_lines
from glta_datasets.amazon import Amazon
from glta_datasets.movielens import MovieLens
from glta_datasets.settings import AmazonSettings, NoSettings

from glta_cli.plugin import InputError

ROWS = 300


def said(loader: Any, source: Path) -> dict[str, Any] | str:
    """All that is said of a release and its rows; the error where it is refused."""
    try:
        raw = loader.read(loader.locate(source, None))
    except InputError as error:
        return str(error)
    rows = raw.interactions.collect()
    return {
        "rows": rows.rows(),
        "columns": rows.columns,
        "told": [raw.place_of(row) for row in range(0, rows.height, 31)] if raw.place_of else None,
        "items": None if raw.items is None else raw.items.collect().rows(),
        "dropped": raw.dropped,
        "examples": raw.examples,
        "warnings": raw.warnings,
        "files": raw.files,
        "read": raw.read,
    }


def rating(number: int) -> tuple[str, str, str, str]:
    return str(number % 31 + 1), str(number % 23 + 1), str(number % 5 + 1), str(1_000_000_000 + 977 * number)


ODD_ROWS = {
    "plain": {},
    "halves": {7: ("3", "4", "3.5", "1000000000")},
    "no rating": {150: ("3", "4", "bad", "1000000001")},
    "no time": {200: ("3", "4", "2", "soon")},
    "too many fields": {120: ("3", "4", "2", "1000000002", "5")},
    "few fields": {130: ("3", "4")},
    "nothing": {140: ("", "", "", "")},
    "letters": {250: ("é", "4", "2", "1000000003")},
}


def lines(separator: str, odd: str) -> str:
    return "".join(separator.join(ODD_ROWS[odd].get(n, rating(n))) + "\n" for n in range(ROWS))


def movielens(folder: Path, edition: str, odd: str) -> Path:
    """The ratings and films of an edition, as GroupLens writes them."""
    match edition:
        case "movielens-100k":
            (folder / "u.data").write_text(lines("\t", odd))
        case "movielens-1m":
            (folder / "ratings.dat").write_text(lines("::", odd))
            (folder / "movies.dat").write_bytes(
                "".join(f"{n}::Film {n} (1990)::Drama\n" for n in range(1, 24)).encode()
            )
        case "movielens-latest-small":
            (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines(",", odd))
    return folder


@pytest.mark.parametrize("odd", ODD_ROWS)
@pytest.mark.parametrize("edition", ["movielens-100k", "movielens-1m", "movielens-latest-small"])
def test_ratings_of_movielens(tmp_path, monkeypatch, edition, odd):
    source, loader = movielens(tmp_path, edition, odd), MovieLens(edition, NoSettings())
    whole = said(loader, source)
    assert isinstance(whole, dict)

    if odd not in ("letters", "nothing"):
        monkeypatch.setattr("glta_datasets.movielens_files.read_bytes", _not_ratings)
    for size in (40, 900, 2_500):
        monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", size)
        found = said(loader, source)
        assert isinstance(found, dict)
        if edition == "movielens-1m" and odd in ("too many fields", "few fields"):
            # At once, all lines are shown as they were mended for one of them, with blanks for colons.
            found, whole = ({**one, "told": None, "files": None} for one in (found, whole))
        assert found == whole, size


def _not_ratings(path: Path) -> bytes:
    assert "ratings" not in path.name, "read at once"
    return path.read_bytes()


def test_ratings_in_an_archive(tmp_path, monkeypatch):
    folder = movielens(tmp_path, "movielens-1m", "no rating")
    archive = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("ratings.dat", "movies.dat"):
            packed.write(folder / name, f"ml-1m/{name}")
    loader = MovieLens("movielens-1m", NoSettings())
    whole = said(loader, archive)
    assert isinstance(whole, dict)
    assert whole["examples"]["bad rating"].startswith("line 151: ")

    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 900)
    monkeypatch.setattr(
        "glta_datasets.movielens_files.read_member",
        lambda archive, member, path: _member(archive, member),
    )
    assert said(loader, archive) == whole


def _member(archive: zipfile.ZipFile, member: str) -> bytes:
    assert "ratings" not in member, "read at once"
    return archive.read(member)


def test_a_damaged_archive_is_told_as_by_whoever_reads_it_at_once(tmp_path, monkeypatch):
    folder = movielens(tmp_path, "movielens-1m", "plain")
    archive = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(folder / "ratings.dat", "ml-1m/ratings.dat")
    content = bytearray(archive.read_bytes())
    content[2_000] ^= 255
    archive.write_bytes(content)
    loader = MovieLens("movielens-1m", NoSettings())
    whole = said(loader, archive)
    assert isinstance(whole, str)
    assert "not a readable archive" in whole

    monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", 900)
    assert said(loader, archive) == whole


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("odd", ["plain", "no rating", "too many fields", "few fields"])
def test_ratings_of_amazon(tmp_path, monkeypatch, odd, parts):
    header = "user_id,parent_asin,rating,timestamp" + (",history" if parts else "") + "\n"
    for name in ["All_Beauty.train", "All_Beauty.valid"] if parts else ["All_Beauty"]:
        text = header + lines(",", odd).replace("\n", ",\n" if parts else "\n")
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    loader = Amazon("amazon-beauty", AmazonSettings(version=2023))
    whole = said(loader, tmp_path)
    assert isinstance(whole, dict)
    assert ("split" in whole["columns"]) == parts

    monkeypatch.setattr("glta_datasets.rating_pieces.read_bytes", lambda path: pytest.fail("read at once"))
    for size in (60, 900):
        monkeypatch.setattr(delimited_pieces, "PIECE_BYTES", size)
        assert said(loader, tmp_path) == whole, size


ODD_REVIEWS: dict[str, dict[int, Any]] = {
    "plain": {},
    "blanks": {90: {"reviewerID": " A3 ", "asin": "B4"}},
    "numbers": {91: {"reviewerID": 12345678901234567890123, "asin": 7}},
    "nothing": {92: {"reviewerID": None}},
}


@pytest.mark.parametrize("odd", ODD_REVIEWS)
def test_reviews_of_amazon_keep_no_texts(tmp_path, monkeypatch, odd):
    rows = []
    for number in range(ROWS):
        user, item, stars, second = rating(number)
        row = {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": float(stars), "unixReviewTime": int(second)}
        rows.append(json.dumps({**row, **ODD_REVIEWS[odd].get(number, {})}))
    rows.insert(100, "no record")
    (tmp_path / "Gift_Cards_5.json.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    loader = Amazon("amazon-gift-cards", AmazonSettings())
    # What it was before: texts, of each line.
    monkeypatch.setattr("glta_datasets.amazon.id_kinds", dict)
    monkeypatch.setattr(
        "glta_datasets.amazon.columns_of",
        lambda path, types, needed, losses, ids: json_lines.columns_of(path, types, needed, losses),
    )
    monkeypatch.setattr("glta_datasets.amazon._reviews", _with_any_kinds())
    as_texts = said(loader, tmp_path)
    monkeypatch.undo()
    assert isinstance(as_texts, dict)

    monkeypatch.setattr("glta_datasets.files.CHUNK_BYTES", 700)
    assert said(loader, tmp_path) == as_texts


def _with_any_kinds() -> Any:
    from glta_datasets import amazon

    reviews = amazon._reviews
    return lambda path, fields, ticks, losses, warnings, kinds: reviews(
        path, fields, ticks, losses, warnings, {"user": None, "item": None}
    )
