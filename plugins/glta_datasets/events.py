"""The events of a log: what a row of each counts for, and which of them keep an item from being shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from glta_cli.plugin import EventRows, InputError, did_you_mean
from glta_datasets.decimals import table_ratings
from glta_datasets.event_words import plain_event, proposed_weights, tells_unasked, written_weights
from glta_datasets.ids import BLANKS, ids_of
from glta_datasets.numbers import with_place
from glta_datasets.records import BAD_WEIGHT, NOT_IN_EVENTS, NOT_KEPT, Losses, Records
from glta_datasets.roles import plain_name
from glta_datasets.settings import TableSettings

# A column with more kinds of values holds something else, such as the types of products.
MOST_KINDS: Final = 20
# Columns that may be called so for many reasons: one with a word for an event in it holds events.
_VAGUE_NAMES: Final = ("type", "action", "actiontype")
_MOST_TOLD: Final = 12


def needs_events(options: TableSettings) -> bool:
    """Whether the options say something of events, for which there has to be a column."""
    return any(part is not None for part in (options.event, options.events, options.keep, options.seen))


def is_event_column(name: str, values: pl.Series) -> bool:
    """Whether a column that is called like one of events holds a few kinds of them."""
    if values.dtype.is_nested() or values.dtype.is_float() or values.dtype.is_temporal():
        return False
    # A look at the first rows spares most columns of ids the whole one.
    if values[:10_000].n_unique() > MOST_KINDS + 1:
        return False
    kinds = ids_of(values).drop_nulls().unique()
    known = any(tells_unasked(event) for event in kinds[: MOST_KINDS + 1])
    return 2 <= len(kinds) <= MOST_KINDS and (known or plain_name(name) not in _VAGUE_NAMES)


def weighed(
    records: Records, column: str | None, options: TableSettings, place: str
) -> tuple[Records, dict[str, EventRows], list[str]]:
    """Rows with `weight` and `seen` in place of the column `event`, where the options or events say something of them.

    Args:
        records: with the columns `event` and `weight` where the log has them.
        column: what that of events is called in the log.
        place: what to call the log in errors.

    Returns:
        The rows of the events that are kept, with a weight of theirs; what became of each event; and a sentence where
        there are events of which nothing is said.

    Raises:
        InputError: the options name an event that is not in the log, or weights are no numbers.
    """
    events = _events(records, str(column), options)
    if events is None:
        without = records.frame.drop("event", strict=False)
        return _times_column(replace(records, frame=without), options, place), {}, []
    counts = _counts(events)
    warnings = _require_present(options, counts, f"column '{column}'", place)
    kept = options.keep if options.events is None else tuple(options.events)
    told = {event: _rows_of(event, rows, kept, options) for event, rows in counts.items()}
    if kept is None:
        # Of events that all take something back, none is proposed to count.
        proposed = written_weights(proposed_weights(counts) or dict.fromkeys(counts, 1.0))
        warnings.append(
            f"column '{column}' holds {_listed(counts)}: all count the same; -o events='{proposed}' weighs them"
        )
    frame = records.frame.with_columns(event=events)
    if options.events is not None:
        weights = events.replace_strict(options.events, default=1.0, return_dtype=pl.Float64)
        frame = frame.with_columns(event_weight=weights)
    if options.seen is not None:
        frame = frame.with_columns(seen=events.is_in(options.seen).fill_null(False))
    records = replace(records, frame=frame)
    if kept is not None:
        reason = NOT_IN_EVENTS if options.keep is None else NOT_KEPT
        records = _without(records, ~events.is_in(kept).fill_null(False), "event", reason)
    return _times_column(replace(records, frame=records.frame.drop("event")), options, place), told, warnings


def _events(records: Records, column: str, options: TableSettings) -> pl.Series | None:
    """Each row's event; None where there is no column of them, or nobody says so and it looks like another."""
    if "event" not in records.frame.columns:
        return None
    values = records.frame["event"]
    if not (needs_events(options) or is_event_column(column, values)):
        return None
    try:
        return ids_of(values)
    except TypeError as error:
        raise InputError(f"column '{column}' {error} and no event", hint="-o event=COLUMN names another") from error


def _counts(events: pl.Series) -> dict[str, int]:
    """How many rows each event has, the most frequent first."""
    counted = events.drop_nulls().value_counts(name="rows").sort(["rows", "event"], descending=[True, False])
    return dict(counted.iter_rows())


def _rows_of(event: str, rows: int, kept: Sequence[str] | None, options: TableSettings) -> EventRows:
    if kept is not None and event not in kept:
        return EventRows(rows, weight=None, seen=False)
    weight = 1.0 if options.events is None else options.events[event]
    return EventRows(rows, weight, options.seen is None or event in options.seen)


def _require_present(options: TableSettings, counts: Mapping[str, int], column: str, place: str) -> list[str]:
    """Sentences on events that are named and that no row has.

    Raises:
        InputError: none of an option's events is there, or one is written like another that is; `seen` names one
            whose rows are dropped; or two options say which are kept.
    """
    if options.events is not None and options.keep is not None:
        raise InputError(
            "events names the events that are kept already, and what each counts for",
            location="dataset.options.keep",
            hint="leave out one of the two",
        )
    told: list[str] = []
    named = {"events": tuple(options.events or ()), "keep": options.keep or (), "seen": options.seen or ()}
    for option, events in named.items():
        missing = [event for event in events if event not in counts]
        for event in missing:
            hint = _meant(event, [known for known in counts if known not in events])
            if hint is None and len(missing) < len(events):
                told.append(f"no row has the event '{event}' that {option} names: {column} holds {_listed(counts)}")
                continue
            raise InputError(
                f"no row has the event '{event}': {column} holds {_listed(counts)}",
                location=f"dataset.options.{option}",
                hint=hint or f"name those of {place}, or another column with -o event=COLUMN",
            )
    kept = named["keep"] or named["events"]
    left_out = [event for event in named["seen"] if kept and event not in kept]
    if left_out:
        raise InputError(
            f"'{left_out[0]}' keeps no item out: its rows are left out, since "
            f"{'keep' if named['keep'] else 'events'} does not name it",
            location="dataset.options.seen",
            hint=f"name it there as well, or leave it out of seen; kept are {', '.join(kept)}",
        )
    return told


def _meant(event: str, known: Sequence[str]) -> str | None:
    """The hint that names an event written like this one, whatever its case and marks."""
    alike = next((other for other in known if plain_event(other) == plain_event(event)), None)
    return f"did you mean '{alike}'?" if alike else did_you_mean(event, known)


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{event} {rows:,}" for event, rows in list(counts.items())[:_MOST_TOLD]]
    return (", ".join(shown) or "none") + (f" and {len(counts) - _MOST_TOLD} more" if len(counts) > _MOST_TOLD else "")


# ------------------------------------------------------------------------------------------------- quantities


def _times_column(records: Records, options: TableSettings, place: str) -> Records:
    """The weight of each row: of its event, times what stands in the column of weights, as far as there are both."""
    frame = records.frame
    if "weight" not in frame.columns:
        return replace(records, frame=frame.rename({"event_weight": "weight"}, strict=False))
    amounts = _amounts(frame["weight"], options, place)
    good = (amounts > 0).fill_null(False) & amounts.is_finite().fill_null(False)
    records = _without(records, ~good, "weight", BAD_WEIGHT)
    amounts = amounts.filter(good)
    frame = records.frame
    if "event_weight" in frame.columns:
        amounts = amounts * frame["event_weight"]
    return replace(records, frame=frame.drop("event_weight", strict=False).with_columns(weight=amounts))


def _amounts(values: pl.Series, options: TableSettings, place: str) -> pl.Series:
    """Float64; null where there is no number."""
    kind = values.dtype
    if kind.is_nested() or kind.is_temporal() or kind in (pl.Boolean, pl.Binary, pl.Object):
        raise InputError(
            f"the column of weights, '{options.weight}', holds {kind}, which is no number",
            location=place,
            hint="-o weight=COLUMN names another",
        )
    try:
        return table_ratings(values, place=place, decimal=options.decimal)
    except InputError as error:
        error.problem = error.problem.replace("ratings", "weights", 1)
        raise


def _without(records: Records, gone: pl.Series, column: str, reason: str) -> Records:
    """The other rows, with those that are gone counted."""
    if not gone.any():
        return records
    row = int(gone.arg_max() or 0)
    written = records.frame[column][row]
    losses = Losses(dict(records.losses.counts), dict(records.losses.examples))
    losses.add(reason, int(gone.sum()), with_place(records, row, "" if written is None else str(written).strip(BLANKS)))
    return replace(records.where(~gone), losses=losses)
