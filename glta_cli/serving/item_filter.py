"""Which items may be answered by their columns: conditions such as `category=shoes` on what `prepare` has kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import counted, first_of
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.serving.conditions import LOCATION, Condition, conditions_of
from glta_cli.serving.nearest_ids import nearest_ids
from glta_cli.workspace.artefact import MANIFEST, Artefact

if TYPE_CHECKING:
    import polars as pl

    from glta_cli.serving.index import Index

# Polars is imported where a filter is used: an answer without one takes a tenth of a second.

NEAREST: Final = 3
# Whole numbers of more are compared as floats.
MOST_DIGITS: Final = 18
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_PRICE: Final = r"(?:[$€£¥₹]|[A-Za-z]{3})?\s*([+-]?[\d.,]*\d)\s*(?:[$€£¥₹]|[A-Za-z]{3})?"
_DATE_HINT: Final = "such as 2024, 2024-05 or 2024-05-13"


class ItemColumns:
    """The further columns of an index's items, read when a condition asks for them."""

    def __init__(self, index: Index) -> None:
        self.index = index

    @cached_property
    def table(self) -> pl.DataFrame:
        """Row i is item i; raises `InputError` where none were kept, or there are none."""
        from glta_cli.core.parquet import read_table
        from glta_cli.data.item_columns import ITEM_COLUMNS_FILE

        artefact = self._holder()
        table = read_table(artefact.file(ITEM_COLUMNS_FILE))
        items = self.index.seen.item_count
        if table.height != items:
            from glta_cli.core.tensors import damaged

            problem = f"{counted(table.height, 'row')} of {counted(items, 'item')}"
            raise damaged(artefact.path / ITEM_COLUMNS_FILE, problem)
        return table

    @property
    def kinds(self) -> dict[str, str]:
        """What each column holds: number, text, date, list, or true or false."""
        from glta_cli.data.item_columns import kind_of

        return {name: kind_of(dtype) for name, dtype in self.table.schema.items()}

    def where(self, conditions: Sequence[str]) -> NDArray[np.bool_]:
        """The items that meet all conditions, of those with `or` between them one at least, [I].

        Texts are equal whatever their case. Of a list one entry is enough. What has no value meets `!=` alone.

        Raises:
            InputError: a condition cannot be read, names no column, or what no item has; or no item meets all.
        """
        read = [conditions_of(text) for text in conditions]
        masks = [np.logical_or.reduce([self._met(condition) for condition in either]) for either in read]
        allowed: NDArray[np.bool_] = np.logical_and.reduce(masks)
        if not allowed.any():
            written = [" or ".join(map(str, either)) for either in read]
            counts = ", ".join(f"{text}: {int(mask.sum()):,}" for text, mask in zip(written, masks, strict=True))
            raise InputError(
                f"no item meets all conditions; items that meet each: {counts}",
                location=LOCATION,
                hint="leave one out",
            )
        return allowed

    def _holder(self) -> Artefact:
        """The artefact with the columns: the index, or the dataset it was made from, where they were added later."""
        from glta_cli.data.item_columns import DETAIL, ITEM_COLUMNS_FILE

        index = self.index.artefact
        prepared = Artefact(index.parent("prepare"))
        there = (prepared.path / MANIFEST).is_file()
        for artefact in (index, *([prepared] if there else [])):
            if artefact.has(ITEM_COLUMNS_FILE):
                return artefact
        if there and DETAIL in prepared.manifest["details"]:
            raise InputError(
                "the items have no columns to choose by",
                location=LOCATION,
                hint="give the dataset a file of items with columns such as category, and prepare it",
            )
        raise InputError(
            "the dataset was prepared by an earlier version, which kept no columns of its items",
            location=LOCATION,
            hint="glta update takes them in, as does glta prepare with its options and --again",
        )

    def _met(self, condition: Condition) -> NDArray[np.bool_]:
        try:
            return self._meets(condition)
        except InputError as error:
            if condition.goes_on or condition.in_brackets:
                every = 'of several conditions all hold, each on its own: --where "category=shoes" --where "price<20"'
                error.hint = f"there are no brackets; {every}" if condition.in_brackets else every
            raise

    def _meets(self, condition: Condition) -> NDArray[np.bool_]:
        from glta_cli.data.item_columns import DATE, LIST, NUMBER, TRUTH

        column = self._column(condition)
        meets = {NUMBER: _of_numbers, DATE: _of_dates, TRUTH: _of_truths, LIST: _of_lists}
        mask = meets.get(self.kinds[column.name], _of_texts)(column, condition)
        return np.asarray(mask.fill_null(condition.operator == "!=").to_numpy(), dtype=bool)

    def _column(self, condition: Condition) -> pl.Series:
        names = self.table.columns
        same = [name for name in names if name == condition.column] or [
            name for name in names if name.casefold() == condition.column.casefold()
        ]
        if len(same) == 1:
            return self.table[same[0]]
        listed = first_of([f"{name} ({kind})" for name, kind in self.kinds.items()])
        hint = did_you_mean(condition.column.casefold(), [name.casefold() for name in names])
        raise InputError(
            f"the items have no column '{condition.column}'",
            location=LOCATION,
            hint=f"{hint} The columns are {listed}" if hint else f"the columns are {listed}",
        )


# ------------------------------------------------------------------------------------------- a kind a function


def _of_texts(column: pl.Series, condition: Condition) -> pl.Series:
    _refuse_order(column, condition)
    known = _blind(column)
    wanted = [_required(column, value, known.unique().drop_nulls(), column.unique()) for value in condition.values]
    found = known.is_in(wanted)
    return found if condition.operator == "=" else ~found


def _of_lists(column: pl.Series, condition: Condition) -> pl.Series:
    import polars as pl

    _refuse_order(column, condition)
    entries = column.explode()
    known = _blind(entries)
    wanted = [_required(column, value, known.unique().drop_nulls(), entries.unique()) for value in condition.values]
    rows = pl.Series(np.repeat(np.arange(len(column)), column.list.len().fill_null(1).clip(1).to_numpy()))
    met = rows.filter(known.is_in(wanted)).unique().to_numpy()
    found = np.zeros(len(column), dtype=bool)
    found[met] = True
    return pl.Series(found if condition.operator == "=" else ~found)


def _of_truths(column: pl.Series, condition: Condition) -> pl.Series:
    _refuse_order(column, condition)
    wanted = []
    for value in condition.values:
        if value.casefold() not in (*_TRUE, *_FALSE):
            raise InputError(f"{column.name} is true or false, not '{value}'", location=LOCATION)
        wanted.append(value.casefold() in _TRUE)
    found = column.is_in(wanted)
    return found if condition.operator == "=" else ~found


def _of_numbers(column: pl.Series, condition: Condition) -> pl.Series:
    import polars as pl

    numbers = [_number(column, value) for value in condition.values]
    if condition.operator not in ("=", "!="):
        return _in_order(column, condition, numbers[0], numbers[0])
    found = column == numbers[0]
    for value, number in zip(condition.values, numbers, strict=True):
        equal = column == number
        if not equal.any():
            near = column.drop_nulls().unique()
            nearest = near.gather((near.cast(pl.Float64) - number).abs().arg_sort().head(NEAREST)).sort().to_list()
            raise _nobody_has(column, value, [f"{each:g}" for each in nearest])
        found = found | equal
    return found if condition.operator == "=" else ~found


def _of_dates(column: pl.Series, condition: Condition) -> pl.Series:
    """A day, a month or a year is all of it: `<=2024-05` takes the last of May, `>2024-05` the first of June."""
    import polars as pl

    moments = column.cast(pl.Datetime("us"))
    spans = [_span(column, value) for value in condition.values]
    if condition.operator not in ("=", "!="):
        first, end = spans[0]
        return _in_order(moments, condition, first, end - timedelta(microseconds=1))
    found = pl.Series([False]).new_from_index(0, len(column))
    for value, (first, end) in zip(condition.values, spans, strict=True):
        within = (moments >= first) & (moments < end)
        if not within.any():
            raise _nobody_has(column, value, [], _range(column))
        found = found | within
    return found if condition.operator == "=" else ~found


def _in_order(column: pl.Series, condition: Condition, least: Any, most: Any) -> pl.Series:
    """What lies before or behind a value that reaches from `least` to `most`."""
    met = {
        "<": lambda: column < least,
        "<=": lambda: column <= most,
        ">": lambda: column > most,
        ">=": lambda: column >= least,
    }[condition.operator]()
    if not met.any():
        raise InputError(f"no item has {condition}", location=LOCATION, hint=_range(column))
    return met


def _refuse_order(column: pl.Series, condition: Condition) -> None:
    if condition.operator in ("=", "!="):
        return
    from glta_cli.data.item_columns import TRUTH, kind_of

    kind = kind_of(column.dtype)
    held = {TRUTH: f"is {TRUTH}"}.get(kind, f"holds {kind}")
    raise InputError(
        f"{column.name} {held}, which {condition.operator} does not compare",
        location=LOCATION,
        hint=f"{column.name}=VALUE and {column.name}!=VALUE do",
    )


def _range(column: pl.Series) -> str:
    """From which value to which a column reaches."""
    least: Any = column.min()
    most: Any = column.max()
    return f"{column.name} is {least} to {most}"


def _number(column: pl.Series, value: str) -> float | int:
    try:
        number = int(value) if value.lstrip("+-").isdecimal() and len(value) <= MOST_DIGITS else float(value)
        if number != number:
            raise ValueError("not a number")
    except ValueError as error:
        raise InputError(
            f"{column.name} holds numbers, and '{value}' is none",
            location=LOCATION,
            hint=_as_number(value) + _range(column),
        ) from error
    return number


def _as_number(value: str) -> str:
    """How a number is written that has a comma before its decimals, or a currency beside it; '' where it is none."""
    amount = re.fullmatch(_PRICE, value)
    if amount is None:
        return ""
    whole, sign, decimals = amount[1].rpartition("," if amount[1].rfind(",") > amount[1].rfind(".") else ".")
    plain = re.sub("[.,]", "", whole) + (f".{decimals}" if sign else decimals)
    thousands = f"{whole}{decimals} or " if sign == "," and len(decimals) == 3 and whole.isdecimal() else ""
    return f"write {thousands}{plain}; "


def _span(column: pl.Series, value: str) -> tuple[datetime, datetime]:
    """The first moment of a year, month, day, minute or second, and the first behind it."""
    units: dict[int, Any] = {4: "Y", 7: "M", 10: "D", 16: "m", 19: "s"}
    try:
        first = np.datetime64(value.replace(" ", "T"), units.get(len(value), "none"))
        ends = (np.datetime_as_string(each.astype("datetime64[us]")) for each in (first, first + 1))
        begin, end = map(datetime.fromisoformat, ends)
        return begin, end
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{column.name} holds dates, and '{value}' is none", location=LOCATION, hint=_DATE_HINT
        ) from error


# ------------------------------------------------------------------------------------------- what nobody has


def _blind(texts: pl.Series) -> pl.Series:
    """Texts without case, blanks around them and HTML entities: `Größe` is `GRÖSSE`, and `R&amp;B` is `R&B`."""
    import polars as pl

    # Before a blank, as in `R & B`, it is no entity.
    escaped = texts.str.contains("&[#A-Za-z]").fill_null(False)
    if escaped.any():
        from glta_cli.data.item_text import unescaped

        written = texts.filter(escaped)
        different = written.unique()
        plain = [unescaped(text) for text in different]
        texts = texts.scatter(escaped.arg_true(), written.replace_strict(different, plain, return_dtype=pl.String))
    lowered = texts.str.strip_chars().str.to_lowercase()
    # Polars does not fold; of ASCII, lower case is the same.
    others = lowered.str.contains(r"[^\x00-\x7F]").fill_null(False)
    if not others.any():
        return lowered
    folded = pl.Series([text.casefold() for text in lowered.filter(others)], dtype=pl.String)
    return lowered.scatter(others.arg_true(), folded)


def _required(column: pl.Series, value: str, known: pl.Series, written: pl.Series) -> str:
    """The value as texts are compared; raises `InputError` where no item has it.

    Args:
        known: all values as they are compared.
        written: all values as they are written.
    """
    import polars as pl

    wanted = str(_blind(pl.Series([value]))[0])
    if (known == wanted).any():
        return wanted
    names = written.drop_nulls().sort().to_list()
    close = nearest_ids(value, names)
    within = [each for each in names if wanted in each.casefold() and each not in close]
    several = (column.explode() if isinstance(column.dtype, pl.List) else column).drop_nulls().alias("value")
    frequent = several.value_counts(sort=True).head(NEAREST)["value"].to_list()
    near = [*close, *sorted(within, key=len)][:NEAREST]
    raise _nobody_has(column, value, near, None if near else f"most have {', '.join(map(repr, frequent))}")


def _nobody_has(column: pl.Series, value: str, near: Sequence[str], otherwise: str | None = None) -> InputError:
    told = f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(map(repr, near))}"
    return InputError(f"no item has {column.name} '{value}'", location=LOCATION, hint=told if near else otherwise)
