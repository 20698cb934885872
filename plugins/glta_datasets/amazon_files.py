"""What a file of an Amazon release is, told from its name and its first line."""

from __future__ import annotations

import ast
import codecs
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from glta_cli.plugin import InputError
from glta_datasets.catalogue import AMAZON_CATEGORIES
from glta_datasets.files import first_line, first_lines
from glta_datasets.json_lines import UNPARSABLE
from glta_datasets.packing import PACKED_SUFFIXES

SUFFIXES: Final = (".json", ".jsonl", ".csv")
# Of a file's lines, to find one that tells what it is.
_LINES_LOOKED_AT: Final = 5
PARTS: Final = ("train", "valid", "test")

# What questions, reviews of one's own making and features of images have beside the id of an item.
NOT_ABOUT_ITEMS: Final = frozenset(
    {
        *("reviewerID", "user_id", "reviewText", "overall", "rating", "helpful"),
        *("question", "questionType", "questions", "answer", "answers", "answerType", "qaid"),
        *("embedding", "image_feature", "features_vector"),
    }
)


class Kind(Enum):
    """The formats of the releases' files."""

    REVIEWS = "reviews of 2014 and 2018: JSON lines with reviewerID and asin"
    REVIEWS_2023 = "reviews of 2023: JSON lines with user_id and parent_asin"
    RATINGS_2023 = "ratings of 2023: CSV with user_id and parent_asin"
    SPLIT_2023 = "one part of the last-out split of 2023: CSV with a column history"
    ITEMS_2014 = "items of 2014: Python literals with asin"
    ITEMS_2018 = "items of 2018: JSON lines with asin"
    ITEMS_2023 = "items of 2023: JSON lines with parent_asin"
    ITEMS_CSV = "items of 2023 as CSV with parent_asin"
    SEQUENCES = "LC-Rec: one JSON object, users and their items in order"
    SEQUENCE_ITEMS = "LC-Rec: one JSON object, items and their texts"


INTERACTION_KINDS: Final = (
    Kind.RATINGS_2023,
    Kind.REVIEWS,
    Kind.REVIEWS_2023,
    Kind.SEQUENCES,
    Kind.SPLIT_2023,
)
ITEM_KINDS: Final[dict[Kind, tuple[Kind, ...]]] = {
    Kind.REVIEWS: (Kind.ITEMS_2018, Kind.ITEMS_2014),
    Kind.REVIEWS_2023: (Kind.ITEMS_2023, Kind.ITEMS_CSV),
    Kind.RATINGS_2023: (Kind.ITEMS_2023, Kind.ITEMS_CSV),
    Kind.SPLIT_2023: (Kind.ITEMS_2023, Kind.ITEMS_CSV),
    Kind.SEQUENCES: (Kind.SEQUENCE_ITEMS,),
}


@dataclass(frozen=True)
class Recognised:
    """A file and what it is."""

    path: Path
    kind: Kind

    @property
    def category(self) -> str:
        """The category in the file's name, such as Gift_Cards, in lower case."""
        stem = self.path.name.split(".")[0].lower()
        return re.sub(r"_5$", "", re.sub(r"^(reviews|meta)_", "", stem))

    @property
    def is_core(self) -> bool:
        """Whether the name says that it is the release's 5-core."""
        return self.path.name.split(".")[0].endswith("_5")


def recognise(path: Path) -> Recognised | None:
    """The file with its format, or None when it is of no release.

    Raises:
        InputError: the file is empty, or its gzip data is damaged at once.
    """
    kind = _kind(path)
    return None if kind is None else Recognised(path, kind)


def recognised_in(folder: Path) -> list[Recognised]:
    """The files of a folder that belong to a release, by name; one that cannot be read is passed over."""
    found = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or Path(_unpacked_name(path)).suffix.lower() not in SUFFIXES:
            continue
        try:
            recognised = recognise(path)
        except InputError:
            # Damage matters only in a file that is needed: its name tells, and reading it then reports.
            recognised = _by_name(path)
        if recognised is not None:
            found.append(recognised)
    return found


def choose_interactions(found: Iterable[Recognised], category: str, subset: str, place: Path) -> list[Recognised]:
    """The file of interactions, or the parts of a split when there is no whole file.

    Prefers the category asked for, then the subset asked for.

    Raises:
        InputError: there is none, or several are as good.
    """
    candidates = [file for file in found if file.kind in INTERACTION_KINDS]
    candidates = [f for f in candidates if f.category == category.lower()] or candidates
    whole = [file for file in candidates if file.kind is not Kind.SPLIT_2023]
    if not whole and candidates:
        return sorted(candidates, key=lambda f: PARTS.index(part_of(f.path) or PARTS[-1]))
    whole = [file for file in whole if file.is_core == (subset == "5core")] or whole
    if len(whole) == 1:
        return whole
    if not whole:
        raise InputError(
            "no file of reviews or ratings",
            location=str(place),
            hint=f"expected names such as {category}_5.json.gz or {category}.csv.gz",
        )
    raise InputError(
        f"several files of interactions: {', '.join(file.path.name for file in whole)}",
        location=str(place),
        hint="name one of them with --source",
    )


def choose_items(found: Iterable[Recognised], interactions: Recognised) -> Recognised | None:
    """The file of item texts that goes with the interactions, or None."""
    kinds = ITEM_KINDS[interactions.kind]
    candidates = [file for file in found if file.kind in kinds]
    same = [file for file in candidates if file.category == interactions.category]
    if same:
        return same[0]
    # Items of another category belong to other reviews; a table under a name of its own serves if it is the only one.
    known = {category.lower() for releases in AMAZON_CATEGORIES.values() for category in releases.values()}
    if interactions.category in known:
        candidates = [file for file in candidates if file.category not in known]
    unnamed = [file for file in candidates if not file.path.name.startswith("meta_")]
    return (unnamed or candidates)[0] if len(candidates) == 1 or len(unnamed) == 1 else None


def python_literal(line: bytes) -> object:
    """One line of the metadata of 2014, which is a Python dict and no JSON."""
    if b'"' not in line and b"\\" not in line:
        # Python writes a text with an apostrophe in double quotes: here every single quote opens or closes one.
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(line.replace(b"'", b'"'))
    return ast.literal_eval(line.decode("utf-8"))


def _kind(path: Path) -> Kind | None:
    if path.name.endswith(".inter.json"):
        first_line(path)
        return Kind.SEQUENCES
    if path.name.endswith(".item.json"):
        first_line(path)
        return Kind.SEQUENCE_ITEMS
    # A line or two may be broken: they are counted when the file is read.
    kinds = (_line_kind(line, path) for line in islice(first_lines(path), _LINES_LOOKED_AT))
    if ".csv" in path.name.lower():
        return next(kinds, None)
    return next((kind for kind in kinds if kind is not None), None)


def _line_kind(line: bytes, path: Path) -> Kind | None:
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError("this is UTF-16", location=f"{path}:1", hint="convert it: iconv -f utf-16 -t utf-8")
    if ".csv" in path.name.lower():
        return _csv_kind(line.decode("utf-8", errors="replace"))
    with suppress(ValueError):
        return _record_kind(orjson.loads(line))
    try:
        record = python_literal(line)
    except UNPARSABLE:
        return None
    return Kind.ITEMS_2014 if isinstance(record, dict) and _describes_item(record, "asin") else None


def _csv_kind(header: str) -> Kind | None:
    columns = {"".join(name.split()).casefold().strip('"') for name in header.split(",")}
    if {"user_id", "parent_asin"} <= columns:
        return Kind.SPLIT_2023 if "history" in columns else Kind.RATINGS_2023
    return Kind.ITEMS_CSV if "parent_asin" in columns else None


def _record_kind(record: object) -> Kind | None:
    if not isinstance(record, dict):
        return None
    if {"reviewerID", "asin"} <= record.keys():
        return Kind.REVIEWS
    if {"user_id", "parent_asin"} <= record.keys():
        return Kind.REVIEWS_2023
    if _describes_item(record, "parent_asin"):
        return Kind.ITEMS_2023
    return Kind.ITEMS_2018 if _describes_item(record, "asin") else None


def _describes_item(record: dict[str, object], key: str) -> bool:
    """Whether a record is about an item alone: other files of the releases carry the id of one, too."""
    return key in record and not NOT_ABOUT_ITEMS & record.keys()


def _unpacked_name(path: Path) -> str:
    return path.name[: -len(path.suffix)] if path.suffix.lower() in PACKED_SUFFIXES else path.name


def _by_name(path: Path) -> Recognised | None:
    """What the releases' own names say, for a file whose content says nothing."""
    name = _unpacked_name(path)
    kinds = {
        r"meta_.*\.jsonl": Kind.ITEMS_2023,
        r"meta_.*\.json": Kind.ITEMS_2018,
        r".*_5\.json": Kind.REVIEWS,
        r"[A-Z]\w*\.csv": Kind.RATINGS_2023,
    }
    for pattern, kind in kinds.items():
        if re.fullmatch(pattern, name):
            return Recognised(path, kind)
    return None


def part_of(path: Path) -> str | None:
    """The part of a published split that a file is by its name: train, valid or test."""
    return next((part for part in PARTS if f".{part}." in path.name.lower()), None)
