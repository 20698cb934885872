"""Amazon reviews, releases 2014, 2018 and 2023, each in its own formats.

Sources: McAuley et al., SIGIR 2015 (2014); Ni et al., EMNLP 2019 (2018); Hou et al., arXiv:2403.03952 (2023);
the LC-Rec layout: Zheng et al., ICDE 2024.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, assert_never

import polars as pl
from rich.markup import escape

from glta_cli.plugin import Fetch, GltaError, InputError, RawDataset, say
from glta_datasets.amazon_columns import column_values, item_columns
from glta_datasets.amazon_files import (
    INTERACTION_KINDS,
    Kind,
    Recognised,
    choose_interactions,
    choose_items,
    part_of,
    python_literal,
    recognise,
    recognised_in,
)
from glta_datasets.amazon_seen import seen_release_file
from glta_datasets.amazon_sequences import sequences_of, whole_json
from glta_datasets.catalogue import AMAZON_CATEGORIES
from glta_datasets.columns import columns_named
from glta_datasets.delimited import NUMBERS, read_delimited
from glta_datasets.files import read_bytes
from glta_datasets.ids import exact_record, id_of
from glta_datasets.json_lines import UNPARSABLE, Parser, Record, columns_of, records_of
from glta_datasets.numbers import with_numbers, written
from glta_datasets.rating_pieces import Types, id_kinds, read_ratings
from glta_datasets.records import Losses, Records, lost_texts, raw_dataset, with_ids
from glta_datasets.settings import AmazonSettings
from glta_datasets.times import absurd_years

UCSD: Final = "https://mcauleylab.ucsd.edu/public_datasets/data"

# Interactions of the 5-core, interactions of the whole release, items.
ADDRESSES: Final[Mapping[int, tuple[str, str, str]]] = {
    2014: (
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_{}_5.json.gz",
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_{}.json.gz",
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/meta_{}.json.gz",
    ),
    2018: (
        f"{UCSD}/amazon_v2/categoryFilesSmall/{{}}_5.json.gz",
        f"{UCSD}/amazon_v2/categoryFiles/{{}}.json.gz",
        f"{UCSD}/amazon_v2/metaFiles2/meta_{{}}.json.gz",
    ),
    2023: (
        f"{UCSD}/amazon_2023/benchmark/5core/rating_only/{{}}.csv.gz",
        f"{UCSD}/amazon_2023/benchmark/0core/rating_only/{{}}.csv.gz",
        f"{UCSD}/amazon_2023/raw/meta_categories/meta_{{}}.jsonl.gz",
    ),
}

# The literature means the release of 2014 when it says Amazon Sports.
USUAL_RELEASE: Final[Mapping[str, int]] = {"amazon-sports": 2014}

# Details that tell one copy of an item from another, not what it is.
DULL_DETAILS: Final = re.compile(
    r"dimension|weight|shipping|upc|number|rank|date|count|asin|discontinued|size", re.IGNORECASE
)
# The first key of a line of metadata, cheap to find before the whole line is parsed.
ITEM_ID: Final = re.compile(rb"""["'](?:parent_)?asin["']\s*:\s*["']([^"']+)["']""")
# Pages of 2018 were saved with their scripts: such a title is none.
SCRIPT: Final = re.compile(r"getTime\(\)|function\s*\(|\bvar \w+\s*=")


class Amazon:
    """Loads one category, from the release's own files wherever they lie."""

    def __init__(self, name: str, options: AmazonSettings) -> None:
        self.name = name
        self.options = options
        self.releases = AMAZON_CATEGORIES[name]

    @property
    def release(self) -> int:
        """The release to download."""
        version = self.options.version or USUAL_RELEASE.get(self.name) or max(self.releases)
        if version not in self.releases:
            raise InputError(
                f"the release of {version} has no such category",
                location=f"dataset {self.name}",
                hint=f"it is in {', '.join(map(str, self.releases))}",
            )
        return version

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """Roles `interactions` (`interactions-2` and on for the parts of a split) and, if there, `items`."""
        if source is None:
            return self._fetched(fetch)
        category = self.releases[max(self.releases)]
        if source.is_dir():
            found = recognised_in(source)
            chosen = choose_interactions(found, category, self.options.subset, source)
        else:
            only = recognise(source)
            if only is None or only.kind not in INTERACTION_KINDS:
                problem = "not a file of Amazon reviews or ratings" if only is None else f"this is {only.kind.value}"
                raise InputError(
                    problem,
                    location=str(source),
                    hint="reviews have reviewerID and asin, or user_id and parent_asin",
                )
            chosen = [only]
            found = recognised_in(source.parent)
        files = {"interactions" if n == 1 else f"interactions-{n}": f.path for n, f in enumerate(chosen, 1)}
        items = choose_items(found, chosen[0])
        return files if items is None else {**files, "items": items.path}

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        paths = [path for role, path in files.items() if role.startswith("interactions")]
        recognised = [_required_kind(path) for path in paths]
        losses = Losses()
        warnings: list[str] = []
        kinds = id_kinds()
        parts = [_with_kinds(_read_interactions(file, losses, warnings, kinds), kinds) for file in recognised]
        rows = pl.concat(parts, how="diagonal")
        if "split" in rows.columns and rows["split"].has_nulls():
            # A file whose name tells no part: then there is no split.
            rows = rows.drop("split")
        raw = raw_dataset(rows, losses, warnings)
        self._warn_of_other_category(recognised[0], raw)
        if recognised[0].kind is Kind.SEQUENCES:
            raw.warnings.append("the times are places in each user's list: they order, but are no dates")
        raw.files = tuple(
            seen
            for file, part in zip(recognised, parts, strict=True)
            for seen in seen_release_file(file, part.height + (losses.total if len(parts) == 1 else 0))
        )
        if "items" in files:
            wanted = set(pl.concat(part.select("item") for part in parts)["item"].drop_nulls().unique())
            described = _required_kind(files["items"])
            items, columns = _read_items(described, wanted, raw.warnings)
            raw.items, raw.item_columns = items.lazy(), columns.lazy()
            raw.files += tuple(seen_release_file(described))
        else:
            raw.warnings.append(f"no metadata lies beside {paths[0].name}: no titles, no descriptions")
        return raw

    def _fetched(self, fetch: Fetch) -> Mapping[str, Path]:
        core, whole, items = ADDRESSES[self.release]
        category = self.releases[self.release]
        files = {"interactions": fetch.url((core if self.options.subset == "5core" else whole).format(category))}
        try:
            files["items"] = fetch.url(items.format(category))
        except GltaError as error:
            say(f"[yellow]warning:[/] {escape(f'{error.problem} ({error.location})')}")
        return files

    def _warn_of_other_category(self, file: Recognised, raw: RawDataset) -> None:
        other = {name for name, releases in AMAZON_CATEGORIES.items() if file.category in _lower(releases.values())}
        if other and self.name not in other:
            raw.warnings.append(f"{file.path.name} is {other.pop()} by its name, not {self.name}")


def _lower(categories: Iterable[str]) -> set[str]:
    return {category.lower() for category in categories}


def _required_kind(path: Path) -> Recognised:
    recognised = recognise(path)
    if recognised is None:
        raise InputError(
            "the first line is that of no Amazon release",
            location=f"{path}:1",
            hint="reviews are JSON with reviewerID and asin, or CSV with user_id and parent_asin",
        )
    return recognised


# --------------------------------------------------------------------------------------------- interactions


def _with_kinds(rows: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Ids as categories that all files share: in each they may have become others where they were trimmed."""
    return rows.with_columns(rows[name].cast(kind) for name, kind in kinds.items() if rows.schema[name] != kind)


def _read_interactions(
    file: Recognised, losses: Losses, warnings: list[str], kinds: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    match file.kind:
        case Kind.REVIEWS:
            fields = ("reviewerID", "asin", "overall", "unixReviewTime")
            return _reviews(file.path, fields, 1, losses, warnings, kinds)
        case Kind.REVIEWS_2023:
            fields = ("user_id", "parent_asin", "rating", "timestamp")
            return _reviews(file.path, fields, 1000, losses, warnings, kinds)
        case Kind.RATINGS_2023:
            return _ratings(file.path, losses, warnings, kinds)
        case Kind.SPLIT_2023:
            part = part_of(file.path)
            rows = _ratings(file.path, losses, warnings, kinds)
            return rows if part is None else rows.with_columns(split=pl.lit(part))
        case Kind.SEQUENCES:
            return sequences_of(file.path)
        case _:
            raise InputError(f"this is {file.kind.value}", location=str(file.path), hint="interactions are needed")


def _reviews(
    path: Path,
    fields: tuple[str, str, str, str],
    ticks: int,
    losses: Losses,
    warnings: list[str],
    kinds: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """Reviews as JSON lines; `ticks` a second in their times."""
    types = dict(zip(fields, (pl.String, pl.String, pl.Float64, pl.Int64), strict=True))
    ids = {fields[0]: kinds["user"], fields[1]: kinds["item"]}
    records = columns_of(path, types, fields[:3], losses, ids)
    frame = records.renamed(dict(zip(fields, ("user", "item", "rating", "timestamp"), strict=True))).frame
    if ticks > 1:
        frame = frame.with_columns(pl.col("timestamp") // ticks)
    warnings += absurd_years(frame["timestamp"])
    return with_ids(frame, str(path))


def _parsed_ratings(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    records = read_delimited(content, place, separator=",", types=types)
    names = {"user_id": "user", "parent_asin": "item", "rating": "rating", "timestamp": "timestamp"}
    return columns_named(records, names, tuple(names), place)


def _ratings(path: Path, losses: Losses, warnings: list[str], kinds: Mapping[str, pl.DataType]) -> pl.DataFrame:
    place = str(path)
    records = read_ratings(path, _parsed_ratings, kinds, header=True)
    expected = "a line is user_id,parent_asin,rating,timestamp"
    read, told = with_numbers(records, place=place, expected=expected)
    losses.update(read.losses)
    warnings += told
    return with_ids(read.frame, place, stripped=read.stripped)


# ---------------------------------------------------------------------------------------------------- items


def _read_items(file: Recognised, wanted: set[str], warnings: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Title and description of the wanted items, and what else is said of them."""
    losses = Losses()
    rows, columns = [], []
    for item, record in _item_records(file, wanted, losses):
        rows.append((item, _title(record), _description(record)))
        columns.append((item, *column_values(record)))
    warnings += lost_texts(file.path, losses)
    types = {"item": pl.String, "title": pl.String, "description": pl.String}
    return pl.DataFrame(rows, schema=types, orient="row"), item_columns(columns)


def _item_records(file: Recognised, wanted: set[str], losses: Losses) -> Iterator[tuple[str, Record]]:
    match file.kind:
        case Kind.ITEMS_2014:
            yield from _lines(file.path, "asin", wanted, losses, python_literal)
        case Kind.ITEMS_2018:
            yield from _lines(file.path, "asin", wanted, losses, exact_record)
        case Kind.ITEMS_2023:
            yield from _lines(file.path, "parent_asin", wanted, losses, exact_record)
        case Kind.ITEMS_CSV:
            place = str(file.path)
            texts = read_delimited(read_bytes(file.path), place, separator=",")
            losses.update(texts.losses)
            frame = with_ids(texts.frame, place, ("parent_asin",))
            for record in frame.filter(pl.col("parent_asin").is_in(wanted)).iter_rows(named=True):
                yield record["parent_asin"], {**record, "details": _literal(record.get("details"))}
        case Kind.SEQUENCE_ITEMS:
            for written, record in whole_json(file.path).items():
                item = id_of(written)
                if item in wanted and isinstance(record, dict):
                    yield str(item), record
        case Kind.REVIEWS | Kind.REVIEWS_2023 | Kind.RATINGS_2023 | Kind.SPLIT_2023 | Kind.SEQUENCES:
            raise InputError(f"this is {file.kind.value}", location=str(file.path), hint="item texts are needed")
        case _:
            assert_never(file.kind)


def _lines(path: Path, key: str, wanted: set[str], losses: Losses, parse: Parser) -> Iterator[tuple[str, Record]]:
    def parse_wanted(line: bytes) -> Any:
        # The metadata of a category is up to a hundred times its 5-core: most lines need no parsing.
        found = ITEM_ID.search(line)
        if found and b"\\" not in found.group(1) and id_of(found.group(1).decode("utf-8", "replace")) not in wanted:
            return {}
        return parse(line)

    for record in records_of(path, losses, parse_wanted):
        item = id_of(record.get(key))
        if item in wanted:
            yield str(item), record


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text) if text else None
    except UNPARSABLE:
        return None


def _title(record: Record) -> str | None:
    title = record.get("title")
    return written(title) if isinstance(title, str) and not SCRIPT.search(title) else None


def _description(record: Record) -> str | None:
    """Brand, categories, then the description, or else features and details."""
    brand = record.get("brand") or record.get("store")
    shared, categories = _categories(record.get("categories") or record.get("category"))
    description = _words(record.get("description"), " ")
    if not description:
        features = _words(record.get("features") or record.get("feature"), " ")
        description = features or _details(record.get("details"))
    parts = [brand if isinstance(brand, str) else None, categories, description]
    return ". ".join(part.strip().removesuffix(".") for part in parts if part and part.strip()) or shared


def _categories(categories: Any) -> tuple[str | None, str | None]:
    """The topmost category, which all items share, and the most specific path below it."""
    if isinstance(categories, str):
        categories = categories.split(",")
    if not isinstance(categories, list) or not categories:
        return None, None
    if all(isinstance(path, list) for path in categories):
        categories = max(categories, key=len)
    names = [name.strip() for name in categories if isinstance(name, str) and name.strip()]
    if not names:
        return None, None
    # Some paths of 2018 go on with sentences of the description.
    below = [name for name in names[1:] if name != names[0] and len(name) <= 60 and "</" not in name]
    return names[0], ", ".join(dict.fromkeys(below)) or None


def _words(value: Any, separator: str) -> str | None:
    if isinstance(value, str):
        if value.startswith("['") and value.endswith("']"):
            return _words(_literal(value), separator)
        return value if value != "[]" else None
    if isinstance(value, list):
        return separator.join(part for part in value if isinstance(part, str)) or None
    return None


def _details(details: Any) -> str | None:
    if not isinstance(details, dict):
        return None
    told = [
        f"{key.strip(': ')}: {value.strip()}"
        for key, value in details.items()
        if isinstance(value, str) and not DULL_DETAILS.search(key)
    ]
    return ", ".join(told) or None
