"""Tables as wide as their place: every figure whole, names wrapped, columns that find no room in a table below."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from glta_cli.core.printable import printable

# Columns of the terminal a name takes at least, before figures move into a table below.
LEAST_NAME = 12
# Longer words are no figures.
LONGEST_FIGURE = 32
# Behind these a long name may go on in the next line.
JOINT = re.compile(r"[-/_.:,](?=\w)")


@dataclass(frozen=True)
class _Sized:
    """A column with the columns of the terminal it takes at best, would like to keep, and has to keep."""

    column: Column
    natural: int
    wanted: int
    least: int


def fitted(shown: RenderableType, width: int | None) -> Iterator[RenderableType]:
    """What to print for a table, or for a group of tables and lines, in a place of `width` columns; None has no edge.

    A table comes after its title and before its caption, which may both be wider than it. Text in cells, titles and
    captions is rich markup; what would command a terminal is left out of it.
    """
    if isinstance(shown, Group):
        for each in shown.renderables:
            yield from fitted(each, width)
    elif isinstance(shown, Table):
        if shown.title:
            title = _text(shown.title)
            title.stylize("bold")
            yield title
        yield from _parts(shown, width)
        if shown.caption:
            yield _text(shown.caption)
            yield ""
    else:
        yield _text(shown) if isinstance(shown, (str, Text)) else shown


def _parts(table: Table, width: int | None) -> Iterator[Table]:
    """The table, or where it is too wide several with its first column in common."""
    sized = [
        _sized(column, is_label=position == 0, no_edge=width is None) for position, column in enumerate(table.columns)
    ]
    if width is None:
        yield _table(table, sized, [each.natural for each in sized])
        return
    label, *others = sized
    part = [label]
    for each in others:
        if len(part) > 1 and _least_width(table, [*part, each]) > width:
            yield _fitted_table(table, part, width)
            part = [label]
        part.append(each)
    yield _fitted_table(table, part, width)


def _sized(column: Column, *, is_label: bool, no_edge: bool) -> _Sized:
    texts = [_text(column.header), *map(_text, column.cells)]
    natural = max((_widest(text.plain.split("\n")) for text in texts), default=0)
    if column.max_width is not None and not no_edge:
        natural = min(natural, column.max_width)
    if column.no_wrap and not is_label:
        least = natural
    elif column.justify == "right":
        # It may wrap between words: a figure is one.
        least = min(LONGEST_FIGURE, max((_widest(text.plain.split()) for text in texts), default=0))
    else:
        least = min(LEAST_NAME, natural)
    wanted = natural if column.no_wrap else min(natural, max(least, column.min_width or 0))
    return _Sized(column, natural, wanted, least)


def _widest(words: Sequence[str]) -> int:
    return max(map(cell_len, words), default=0)


def _least_width(table: Table, columns: Sequence[_Sized]) -> int:
    return _table_width(_table(table, columns, [each.least for each in columns]))


def _table_width(table: Table) -> int:
    from rich.console import Console

    # Without a height too rich takes a dumb terminal for 80 columns wide, whatever it is told.
    console = Console(width=1_000_000, height=25)
    return Measurement.get(console, console.options, table).maximum


def _fitted_table(table: Table, columns: Sequence[_Sized], width: int) -> Table:
    """The widest column gives first, down to what it would keep; then the widest again, down to what it has to keep."""
    widths = [each.natural for each in columns]
    excess = _table_width(_table(table, columns, widths)) - width
    for floors in ([each.wanted for each in columns], [each.least for each in columns]):
        while excess > 0 and (giving := [place for place, floor in enumerate(floors) if widths[place] > floor]):
            widths[max(giving, key=widths.__getitem__)] -= 1
            excess -= 1
    return _table(table, columns, widths)


def _table(table: Table, columns: Sequence[_Sized], widths: Sequence[int]) -> Table:
    """A table like the one given, of some of its columns, each as wide as asked for."""
    made = Table(
        box=table.box,
        pad_edge=table.pad_edge,
        collapse_padding=table.collapse_padding,
        show_header=table.show_header,
        show_edge=table.show_edge,
    )
    for each, width in zip(columns, widths, strict=True):
        column = each.column
        made.add_column(
            _text(column.header),
            style=column.style,
            justify=column.justify,
            width=width,
            overflow="fold",
            no_wrap=width >= each.natural,
        )
    cells = zip(*(each.column.cells for each in columns), strict=True)
    for row, described in zip(cells, table.rows, strict=True):
        texts = (broken(_text(cell), width) for cell, width in zip(row, widths, strict=True))
        made.add_row(*texts, style=described.style, end_section=described.end_section)
    return made


def broken(text: Text, width: int) -> Text:
    """The text with a line break behind a hyphen, a slash and so on of each word that is wider than `width`.

    Where a word has none that is near enough it is left, and broken anywhere.
    """
    offsets = []
    for word in re.finditer(r"\S+", text.plain):
        start = word.start()
        while cell_len(text.plain[start : word.end()]) > width:
            ends = (joint.end() for joint in JOINT.finditer(text.plain, start, word.end()))
            fitting = [end for end in ends if cell_len(text.plain[start:end]) <= width]
            if not fitting:
                break
            start = fitting[-1]
            offsets.append(start)
    return Text("\n").join(text.divide(offsets)) if offsets else text


def _text(shown: RenderableType) -> Text:
    """Markup as text whose every line can be printed."""
    if isinstance(shown, Text):
        return shown
    return Text.from_markup("\n".join(map(printable, str(shown).split("\n"))), emoji=False)
