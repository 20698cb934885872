"""A log in several files: which belong to it, and their rows as those of one."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.ids import ids_of
from glta_datasets.packing import PACKED_SUFFIXES
from glta_datasets.records import Losses, Records
from glta_datasets.table_files import has_known_ending

INTERACTIONS: Final = "interactions"
_PATTERN: Final = re.compile(r"[*?\[]")
_ONE_FILE: Final = "name the file itself with --source, or its parts with a pattern such as 'log/*.csv'"


def files_by_pattern(source: Path) -> list[Path] | None:
    """The files a pattern such as `log/*.parquet` stands for, in order; None where it is no pattern.

    Raises:
        InputError: there is none.
    """
    if source.exists() or not _PATTERN.search(str(source)):
        return None
    folder = next(parent for parent in source.parents if not _PATTERN.search(str(parent)))
    try:
        named = folder.glob(str(source.relative_to(folder)))
        found = _in_order(path for path in named if not path.name.startswith((".", "_")))
    except ValueError as error:
        raise InputError(f"is no pattern: {error}", location=str(source), hint="such as log/*.csv") from error
    if not found:
        raise InputError(
            "no file is called so", location=str(source), hint="the pattern is of names, such as log/*.csv"
        )
    return found


def parts_in(folder: Path, besides: Sequence[Path] = ()) -> list[Path]:
    """The files of a folder that holds nothing but parts of one log, in order; none where it holds anything else.

    What programs that write parts put beside them, such as `_SUCCESS`, does not count.

    Args:
        besides: files that are something else.
    """
    names = [path for path in folder.iterdir() if not path.name.startswith((".", "_")) and path not in besides]
    return _in_order(names) if names and all(path.is_file() and has_known_ending(path) for path in names) else []


def by_role(paths: Sequence[Path]) -> dict[str, Path]:
    """The one file as `interactions`; several as `interactions-00001` and so on."""
    if len(paths) == 1:
        return {INTERACTIONS: paths[0]}
    return {f"{INTERACTIONS}-{number:05}": path for number, path in enumerate(paths, 1)}


def interaction_files(files: Mapping[str, Path]) -> list[Path]:
    """The files of the log, by the roles of `by_role`."""
    return [files[role] for role in sorted(files) if role.partition("-")[0] == INTERACTIONS]


def joined(paths: Sequence[Path], tables: Sequence[Records]) -> Records:
    """The rows of all parts, one part after the other; their columns are named by role already, and taken from them.

    Raises:
        InputError: a column cannot be both what one part and what another has in it.
    """
    losses = tables[0].losses
    place_of = tables[0].place_of
    if len(tables) > 1:
        losses, place_of = _losses(paths, tables), _place_of(paths, tables)
    columns = []
    for name in tables[0].frame.columns:
        columns.append(_column(name, paths, tables).rechunk())
        for table in tables:
            # Taken apart, so that no column but the one that is being joined is in memory twice.
            table.frame = table.frame.drop(name)
    return Records(
        pl.DataFrame(columns),
        losses,
        place_of,
        stripped=all(table.stripped for table in tables),
        nested=tables[0].nested if len(tables) == 1 else {},
    )


def _losses(paths: Sequence[Path], tables: Sequence[Records]) -> Losses:
    losses = Losses()
    for path, table in zip(paths, tables, strict=True):
        for reason, count in table.losses.counts.items():
            example = table.losses.examples.get(reason)
            losses.add(reason, count, None if example is None else _of_part(example, path))
    return losses


def require_same_columns(
    path: Path, names: Mapping[str, str | None], first: Path, names_there: Mapping[str, str | None]
) -> None:
    """Raise `InputError` where a part has its user, item, rating, time or split in another column than the first."""
    for role, column in names_there.items():
        if names[role] != column:
            raise InputError(
                f"its {role} is {_called(names[role])}, and that of {first.name} {_called(column)}",
                location=f"{path}:1",
                hint=f"parts of one log have the same columns; {_ONE_FILE}",
            )


def _called(column: str | None) -> str:
    return "in no column" if column is None else f"in column '{column}'"


def without_links(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The parts without those that are an earlier one again, by a link of either kind; a sentence where there are any.

    Where repeated rows add up, they would count twice; elsewhere the first of them counts, and nothing changes.
    """
    known: dict[tuple[int, int], Path] = {}
    links: list[Path] = []
    for path in paths:
        status = path.stat()
        # Where the system numbers no files, none is known to be another.
        if status.st_ino and known.setdefault((status.st_dev, status.st_ino), path) is not path:
            links.append(path)
    if not links:
        return list(paths), []
    again = links[0].stat()
    first = known[again.st_dev, again.st_ino]
    more = f", as are {len(links) - 1:,} more parts" if len(links) > 1 else ""
    told = f"{links[0].name} is the same file as {first.name}{more}: read once"
    return [path for path in paths if path not in links], [told]


def twins(paths: Sequence[Path], *, add_up: bool) -> list[str]:
    """A sentence where a part seems to be another one packed, for it has the same name but for the ending.

    Args:
        add_up: whether repeated rows count for what all of them do.
    """
    by_name: dict[Path, list[Path]] = {}
    for path in paths:
        plain = path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path
        by_name.setdefault(plain, []).append(path)
    both = [alike for alike in by_name.values() if len(alike) > 1]
    if not both:
        return []
    shown = " and ".join(path.name for path in both[0])
    more = f", and {len(both) - 1:,} more pairs" if len(both) > 1 else ""
    so = "add up to twice as much" if add_up else "are dropped as duplicates"
    return [f"{shown}{more} are both read: is one the other packed? Rows that are in both {so}"]


def place_of_all(paths: Sequence[Path]) -> str:
    """What to call the parts together in errors."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"


def _in_order(paths: Iterable[Path]) -> list[Path]:
    # Part 10 comes after part 9.
    def key(path: Path) -> list[tuple[int, str]]:
        pieces = re.split(r"([0-9]+)", str(path))
        return [(len(piece.lstrip("0")) if number % 2 else 0, piece) for number, piece in enumerate(pieces)]

    return sorted((path for path in paths if path.is_file()), key=key)


def _column(name: str, paths: Sequence[Path], tables: Sequence[Records]) -> pl.Series:
    """One column; text where it is text in one part and numbers in another."""
    pieces = [table.frame[name] for table in tables]
    kinds = {kind for table in tables if (kind := table.kinds.get(name, table.frame.schema[name])) != pl.Null}
    if len(kinds) < 2:
        known = [piece.dtype for piece in pieces if piece.dtype != pl.Null] or [pl.Null()]
        kind = next((kind for kind in known if isinstance(kind, pl.Categorical)), known[0])
        return pl.concat([piece.cast(kind) for piece in pieces])
    if all(kind.is_integer() for kind in kinds) and pl.UInt64 not in kinds:
        common = next((piece.dtype for piece in pieces if isinstance(piece.dtype, pl.Categorical)), pl.Int64)
        return pl.concat([piece.cast(common) for piece in pieces])
    try:
        texts = [ids_of(piece) for piece in pieces]
        alike = len({text.dtype for text in texts}) == 1
        return pl.concat(texts if alike else [text.cast(pl.String) for text in texts])
    except TypeError as error:
        other = next(number for number, piece in enumerate(pieces) if piece.dtype != pieces[0].dtype)
        raise InputError(
            f"its {name} is {pieces[other].dtype}, and that of {paths[0].name} {pieces[0].dtype}",
            location=str(paths[other]),
            hint=f"parts of one log have the same columns; {_ONE_FILE}",
        ) from error


def _place_of(paths: Sequence[Path], tables: Sequence[Records]) -> Callable[[int], str]:
    starts = [0, *accumulate(table.frame.height for table in tables)]

    def place_of(row: int) -> str:
        part = bisect_right(starts, row) - 1
        return _of_part(tables[part].place_of(row - starts[part]), paths[part])

    return place_of


def _of_part(place: str, path: Path) -> str:
    """`line 3 of part-2.csv: 'its text'`."""
    where, colon, text = place.partition(": ")
    return f"{where} of {path.name}{colon}{text}"
