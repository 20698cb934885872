"""A million rows with a thousand faults planted among them: rows kept and rows dropped are all that were written."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from glta_cli.data.preparation import prepare
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

COLUMNS: Final = ("user", "item", "rating", "timestamp", "comment")
FIRST: Final = 1_500_000_000

Row = list[Any]
Fault = Callable[[Row], Row]
Record = tuple[Row, str | None, str | None]


def changed(column: str, value: Any) -> Fault:
    def change(row: Row) -> Row:
        return [value if name == column else field for name, field in zip(COLUMNS, row, strict=True)]

    return change


# Faults that any format can have, with the reason under which each is counted.
FAULTS: Final[list[tuple[str, Fault]]] = [
    ("bad rating", changed("rating", "good")),
    ("bad rating", changed("rating", "4,5x")),
    ("bad time", changed("timestamp", "yesterday")),
    ("bad time", changed("timestamp", "2020-02-31 10:00")),
    ("missing user", changed("user", "  ")),
    ("missing item", changed("item", None)),
    ("missing rating", changed("rating", "n/a")),
    ("missing timestamp", changed("timestamp", "NaT")),
]
# Forms that look like faults and are none.
HARMLESS: Final[list[Fault]] = [
    lambda row: [f" {row[0]} ", f"\u00a0{row[1]}", *row[2:]],
    lambda row: [*row[:3], str(int(row[3]) * 1000), row[4]],
    lambda row: [*row[:3], "2020-09-13T12:26:40.5Z", row[4]],
    lambda row: [*row[:2], f" {row[2]} ", *row[3:]],
]


def rows(count: int) -> Iterator[Row]:
    """Distinct pairs of a user and an item, all in order."""
    for number in range(count):
        user, item = divmod(number, 100)
        yield [f"u{user}", f"i{item}", str(1 + number % 5), str(FIRST + number), "fine"]


def planted(count: int, faults: int, seed: int) -> dict[int, int]:
    """Where a fault is planted, and which: a number below those of `FAULTS`, of a format's own, and of no fault."""
    draw = random.Random(seed)
    return {place: draw.randrange(1 << 30) for place in draw.sample(range(count), faults)}


def written(count: int, faults: int, seed: int, own: list[str]) -> Iterator[Record]:
    """Each record: its fields, the name of a fault of the format's own, and the reason it is dropped for."""
    places = planted(count, faults, seed)
    kinds = len(FAULTS) + len(HARMLESS) + len(own)
    for number, row in enumerate(rows(count)):
        if number not in places:
            yield row, None, None
            continue
        kind = places[number] % kinds
        if kind < len(FAULTS):
            reason, change = FAULTS[kind]
            yield change(row), None, reason
        elif kind < len(FAULTS) + len(HARMLESS):
            yield HARMLESS[kind - len(FAULTS)](row), None, None
        else:
            name = own[kind - len(FAULTS) - len(HARMLESS)]
            yield row, name, name


def write_delimited(path: Path, separator: str, records: Iterator[Record]) -> Counter[str]:
    reasons: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(separator.join(COLUMNS) + "\n")
        for row, own, reason in records:
            fields = ["" if field is None else str(field) for field in row]
            # What holds the separator is quoted, as it should be.
            fields = [f'"{field}"' if separator in field else field for field in fields]
            if own == "too many fields":
                fields += ["more", "and more"]
            elif own == "unclosed quote":
                fields[-1] = '"never closed'
            file.write(separator.join(fields) + "\n")
            reasons[reason or "kept"] += 1
    return reasons


def write_json(path: Path, records: Iterator[Record]) -> Counter[str]:
    reasons: Counter[str] = Counter()
    with path.open("w", encoding="utf-8") as file:
        for row, own, reason in records:
            line = json.dumps(dict(zip(COLUMNS, row, strict=True)))
            if own == "unreadable line":
                line = line[: 10 + len(line) % 20]
            elif own == "missing user":
                line = line.replace('"user": ', '"user": [1, 2], "other": ')
            file.write(line + "\n")
            reasons[reason or "kept"] += 1
    return reasons


def write_parquet(path: Path, records: Iterator[Record]) -> Counter[str]:
    columns: list[Row] = []
    reasons: Counter[str] = Counter()
    for row, _, reason in records:
        columns.append(row)
        reasons[reason or "kept"] += 1
    pl.DataFrame(columns, schema=dict.fromkeys(COLUMNS, pl.String), orient="row").write_parquet(path)
    return reasons


FORMATS: Final = {
    "csv": (lambda path, records: write_delimited(path, ",", records), ["too many fields", "unclosed quote"]),
    "tsv": (lambda path, records: write_delimited(path, "\t", records), ["too many fields", "unclosed quote"]),
    "jsonl": (write_json, ["unreadable line", "missing user"]),
    "parquet": (write_parquet, []),
}


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize(
    ("count", "faults", "seed"),
    [(5_000, 300, 1), (5_000, 1, 2), pytest.param(1_000_000, 1_000, 3, marks=pytest.mark.slow)],
)
def test_every_planted_fault_is_counted_under_its_reason(tmp_path, suffix, count, faults, seed):
    write, own = FORMATS[suffix]
    path = tmp_path / f"log.{suffix}"
    reasons = write(path, written(count, faults, seed, own))
    kept = reasons.pop("kept")
    dataset, _ = prepare(DatasetSettings(name="table", source=str(path)), Workspace(tmp_path / "workspace"))
    summary = dataset.summary()
    assert summary["dropped"] == dict(reasons)
    assert summary["interactions"] == kept
    assert kept + sum(reasons.values()) == count
    table = pl.read_parquet(dataset.artefact.file("interactions.parquet"))
    # A time in another unit or form is no time of 1970.
    assert table["timestamp"].min() >= FIRST
    assert table["timestamp"].max() <= max(FIRST + count, 1_600_000_000)
    assert set(dataset.examples) == {reason for reason in reasons if not reason.startswith("missing")}
