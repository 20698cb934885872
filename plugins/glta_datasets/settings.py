"""The loaders' own settings: `dataset.options` of a recipe, `-o KEY=VALUE` of `glta prepare`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from glta_cli.plugin import Settings

EventWeight = Annotated[float, Field(gt=0, le=1e6)]


def _name_of(value: Any) -> Any:
    """A column's number as its name, which it has where there is no header."""
    return str(value) if type(value) is int else value


Column = Annotated[str, BeforeValidator(_name_of)]


class NoSettings(Settings):
    """A dataset with nothing to choose."""


class AmazonSettings(Settings):
    """Which release of the Amazon reviews; with a source, the files themselves tell."""

    version: Literal[2014, 2018, 2023] | None = Field(
        None,
        description="release to download; null takes the newest that has the category (amazon-sports: 2014)",
    )
    subset: Literal["5core", "full"] = Field(
        "5core", description="the release's own 5-core file, or all its interactions"
    )


class GoodreadsSettings(Settings):
    """What a description is made of."""

    shelves: int = Field(
        5, ge=0, le=2**31 - 1, description="readers' most popular shelves named in a book's description"
    )


class TableSettings(Settings):
    """Columns of a user's own files, by name or number; null finds the common names, such as user_id."""

    user: Column | None = Field(None, description="column of user ids")
    item: Column | None = Field(None, description="column of item ids")
    rating: Column | None = Field(None, description="column of ratings")
    timestamp: Column | tuple[Column, ...] | None = Field(
        None, description="column of times: seconds, milliseconds or dates; or two, such as [date, time]"
    )
    timestamp_format: str | None = Field(
        None,
        min_length=1,
        description="how times are written, such as %d.%m.%Y %H:%M; null finds seconds and dates by looking",
    )
    decimal: Literal[".", ","] | None = Field(None, description="before a rating's decimals; null finds it by looking")
    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None = Field(
        None, description="of the interactions, whatever their file is called; null takes the name's ending"
    )
    event: Column | None = Field(None, description="column of events, such as view, cart and purchase")
    events: dict[str, EventWeight] | None = Field(
        None,
        min_length=1,
        description="what a row of each event counts for, such as {purchase: 3, view: 1}: repeated ones add up, and "
        "rows of other events are dropped; null counts every row alike",
    )
    keep: tuple[str, ...] | None = Field(
        None, min_length=1, description="the events whose rows are kept, all counting the same; null keeps all"
    )
    seen: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="the events that keep an item out of the answers to its user, such as [purchase]; null: all do",
    )
    weight: Column | None = Field(
        None, description="column of what a row counts for, such as a quantity: repeated rows add up; times its event"
    )
    split: Column | None = Field(
        None, description="column with train, valid or test; kept by `dataset.split.strategy: given`"
    )
    separator: str | None = Field(
        None, min_length=1, max_length=8, description="between the fields of a line; null finds it in the first line"
    )
    header: bool = Field(
        True, description="whether the first line of CSV or TSV names the columns; without, they are called 1, 2, ..."
    )
    encoding: str | None = Field(None, description="of the text, such as cp1252; null takes UTF-8")
    items: str | None = Field(
        None, description="second file, with the items' texts; relative to the folder of the first"
    )
    items_item: Column | None = Field(None, description="column of item ids in the second file")
    title: Column | None = Field(None, description="column of titles in the second file")
    description: Column | tuple[Column, ...] | None = Field(
        None, description="column or columns of further text in the second file"
    )
    items_header: bool = Field(True, description="whether the second file has a header, as `header` says of the first")
    unmet_items: bool = Field(
        True, description="whether items of the second file that nobody met yet can be recommended, by their texts"
    )
