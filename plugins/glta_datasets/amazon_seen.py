"""What is told of a file of an Amazon release: which of its fields are taken, and for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from glta_cli.plugin import SeenFile
from glta_datasets.amazon_files import Kind, Recognised, python_literal
from glta_datasets.amazon_sequences import seen_sequence_items, seen_sequences
from glta_datasets.seen_records import seen_csv, seen_json_lines

_OF_2014: Final = {"reviewerID": "user", "asin": "item", "overall": "rating", "unixReviewTime": "timestamp"}
_OF_2023: Final = {"user_id": "user", "parent_asin": "item", "rating": "rating", "timestamp": "timestamp"}
_TEXTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("brand", "store", "categories", "category"), "description"),
    **dict.fromkeys(("description", "features", "feature", "details"), "description"),
    "title": "title",
    "asin": "item",
    "parent_asin": "item",
    **dict.fromkeys(("main_category", "main_cat", "price", "average_rating", "rating_number"), "filter"),
}


def seen_release_file(file: Recognised, rows: int | None = None) -> Iterator[SeenFile]:
    """The file with its fields.

    Args:
        rows: its records, where they are counted.
    """
    match file.kind:
        case Kind.REVIEWS:
            yield seen_json_lines(file.path, _OF_2014, rows)
        case Kind.REVIEWS_2023:
            yield seen_json_lines(file.path, _OF_2023, rows)
        case Kind.RATINGS_2023 | Kind.SPLIT_2023:
            yield seen_csv(file.path, _OF_2023, rows)
        case Kind.ITEMS_2018:
            yield seen_json_lines(file.path, _TEXTS)
        case Kind.ITEMS_2023:
            # An item goes by its parent there, whatever else it is called.
            yield seen_json_lines(file.path, {name: role for name, role in _TEXTS.items() if name != "asin"})
        case Kind.ITEMS_2014:
            yield seen_json_lines(file.path, _TEXTS, parse=python_literal)
        case Kind.SEQUENCES:
            yield seen_sequences(file.path, rows)
        case Kind.SEQUENCE_ITEMS:
            yield seen_sequence_items(file.path, _TEXTS)
        case Kind.ITEMS_CSV:
            yield seen_csv(file.path, _TEXTS)
