"""What came out of a file of records: the rows, and every record that did not become one, by its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import InputError, RawDataset, SeenColumn, counted
from glta_datasets.ids import ids_of

# The reasons for which a record is left out, as `glta prepare` prints them.
UNREADABLE: Final = "unreadable line"
TOO_MANY_FIELDS: Final = "too many fields"
UNCLOSED_QUOTE: Final = "unclosed quote"
REPEATED_HEADER: Final = "repeated header"
BAD_RATING: Final = "bad rating"
BAD_TIME: Final = "bad time"
BAD_WEIGHT: Final = "bad weight"
NOT_IN_EVENTS: Final = "event not in events"
NOT_KEPT: Final = "event not in keep"

_BETWEEN_WORDS: Final = re.compile(r"[ \t\n\r\f\v]+")
# Of a line that is shown as an example.
MOST_SHOWN: Final = 80


@dataclass
class Losses:
    """Records left out: how many for each reason, and an example of each.

    Attributes:
        counts: by reason.
        examples: where the first record of a reason stands, and what it looks like: `line 17: '...'`.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, count: int = 1, example: str | None = None) -> None:
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + count
            if example is not None:
                self.examples.setdefault(reason, example)

    def update(self, other: Losses) -> None:
        for reason, count in other.counts.items():
            self.add(reason, count, other.examples.get(reason))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def told(self) -> str:
        """All reasons in one sentence."""
        return "; ".join(
            f"{reason}: {count:,}" + (f", such as {self.examples[reason]}" if reason in self.examples else "")
            for reason, count in self.counts.items()
        )


@dataclass
class Records:
    """The rows of a file.

    Attributes:
        frame: one row a record.
        losses: the records that are no row.
        place_of: where row i of the frame stands in the file, as an example of a loss is written.
        stripped: whether no text has blanks around it.
        form: how the file is written: `format` and, of text, `separator` and `encoding`.
        columns: the file's own, with what they are taken for, where the frame was made of some of them.
        nested: for columns that hold lists or objects as text, where they do: such a text is no id.
        lists: of these the columns of lists of single values alone, as lists of texts.
        kinds: what columns that became categories are in the file.
    """

    frame: pl.DataFrame
    losses: Losses = field(default_factory=Losses)
    place_of: Callable[[int], str] = lambda row: f"row {row + 1}"
    stripped: bool = False
    nested: Mapping[str, pl.Series] = field(default_factory=dict)
    lists: Mapping[str, pl.Series] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[SeenColumn, ...] = ()
    kinds: Mapping[str, pl.DataType] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """The records of the file, whatever became of them."""
        return self.frame.height + self.losses.total

    def renamed(self, names: Mapping[str, str]) -> Records:
        """The columns of `names` alone, under their new names, where the file has them."""
        present = {old: new for old, new in names.items() if old in self.frame.columns}
        # By position and not by expression: to one, names such as * and ^.*$ are patterns.
        return replace(self, frame=pl.DataFrame([self.frame[old].alias(new) for old, new in present.items()]))

    def renamed_by_role(self, names: Mapping[str, str | None]) -> Records:
        """One column a role, of those that are found; one column may have several."""
        found = [self.frame[column].alias(role) for role, column in names.items() if column is not None]
        nested = {role: self.nested[name] for role, name in names.items() if name is not None and name in self.nested}
        kinds = {role: self.kinds[name] for role, name in names.items() if name is not None and name in self.kinds}
        return replace(self, frame=pl.DataFrame(found), nested=nested, kinds=kinds)

    def without_nested(self, *columns: str) -> Records:
        """Null in place of lists and objects."""
        frame = self.frame.with_columns(
            self.frame[name].set(self.nested[name], None) for name in columns if name in self.nested
        )
        return replace(self, frame=frame)

    def where(self, kept: pl.Series) -> Records:
        """The rows marked alone; what becomes of the others is the caller's to count."""
        places, place_of = kept.arg_true(), self.place_of
        nested = {name: marks.gather(places) for name, marks in self.nested.items()}
        return replace(self, frame=self.frame[places], place_of=lambda row: place_of(int(places[row])), nested=nested)

    def without_repeated_header(self) -> Records:
        """Without the rows that say again what the columns are called, as they stand where files were joined."""
        names = self.frame.columns
        # Under a name of its own: to an expression, one such as ^$ is a pattern.
        first = self.frame[names[0]].alias("first")
        if len(names) < 2 or first.dtype != pl.String or not (again := (first == names[0]).fill_null(False)).any():
            return self
        places = again.arg_true()
        # A column that has no name is called by its number.
        headers = [[None if n == f"column {number}" else n for number, n in enumerate(names, 1)], names]
        same = [list(row) in headers for row in self.frame[places].rows()]
        repeated = again.scatter(places, same)
        if not repeated.any():
            return self
        kept, place_of = (~repeated).arg_true(), self.place_of
        losses = Losses(dict(self.losses.counts), dict(self.losses.examples))
        losses.add(REPEATED_HEADER, int(repeated.sum()), place_of(int(repeated.arg_max() or 0)))
        return replace(self, frame=self.frame[kept], losses=losses, place_of=lambda row: place_of(int(kept[row])))


def line_shown(number: int, text: str) -> str:
    """`line 17: 'its text'`, cut where it is long."""
    text = " ".join(_BETWEEN_WORDS.split(text.strip()))
    return f"line {number:,}: '{text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + '...'}'"


def with_ids(
    frame: pl.DataFrame, place: str, columns: tuple[str, ...] = ("user", "item"), *, stripped: bool = False
) -> pl.DataFrame:
    """The frame with its ids as text; raises `InputError` for a column that holds none.

    Args:
        place: what to call the file in errors.
        stripped: whether no text has blanks around it.
    """
    try:
        return frame.with_columns(ids_of(frame[name], stripped=stripped).alias(name) for name in columns)
    except TypeError as error:
        raise InputError(
            f"the column of ids {error}", location=place, hint="ids are text or numbers, one a row"
        ) from error


def raw_dataset(interactions: pl.DataFrame, losses: Losses, warnings: list[str]) -> RawDataset:
    """Interactions with the account of what was read and what was left out."""
    return RawDataset(
        interactions.lazy(),
        dropped=losses.counts,
        warnings=warnings,
        read=interactions.height + losses.total,
        examples=losses.examples,
    )


def lost_texts(path: Path | str, losses: Losses) -> list[str]:
    """The warnings where lines of a file of item texts cannot be read."""
    name = path.name if isinstance(path, Path) else Path(path).name
    return (
        [f"{counted(losses.total, 'line')} of {name} cannot be read", f"{name}: {losses.told()}"]
        if losses.total
        else []
    )
