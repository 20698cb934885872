"""Double quotes in delimited text: whether all of them open and close a field, told without parsing it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

QUOTE: Final = 34
_LINE_BREAK, _CARRIAGE_RETURN = 10, 13
# So many lines of a text do not have the separators of a record each by chance; one comma a line is common in prose.
_FEW_LINES, _MANY_LINES = 4, 8


def well_quoted(content: bytes, separator: str) -> bool:
    """Whether every double quote opens a field, closes it, or stands twice for itself within one.

    Text in which a quote was never closed may pass for one field that goes on over many records: where whole lines
    within a field have as many separators as the first line, it is not taken for well quoted.
    """
    letters = np.frombuffer(content, dtype=np.uint8)
    quotes = np.flatnonzero(letters == QUOTE)
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    ends = np.array([ord(separator), _LINE_BREAK, _CARRIAGE_RETURN], dtype=np.uint8)
    before, after = _beside(letters, opening - 1), _beside(letters, closing + 1)
    # Twice for itself: to a count of quotes, a field that closes and opens again at once.
    doubled = opening[1:] == closing[:-1] + 1
    opens = np.isin(before, ends)
    opens[1:] |= doubled
    closes = np.isin(after, ends)
    closes[:-1] |= doubled
    return bool(opens.all() and closes.all()) and not _swallows_lines(content, letters, quotes, separator)


def swallowed(lines: list[str] | list[bytes], separators: int, separator: str | bytes) -> bool:
    """Whether whole lines within one quoted field all have the separators of a record: then the quote was left open."""
    if separators < 1 or len(lines) < (_FEW_LINES if separators > 1 else _MANY_LINES):
        return False
    return all(line.count(separator) == separators for line in lines)  # type: ignore[arg-type]


def _beside(letters: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bytes at these places; beyond either end of the text, a line break."""
    within = (places >= 0) & (places < len(letters))
    return np.where(within, letters[np.clip(places, 0, len(letters) - 1)], np.uint8(_LINE_BREAK))


def _swallows_lines(content: bytes, letters: NDArray[np.uint8], quotes: NDArray[np.int64], separator: str) -> bool:
    breaks = np.flatnonzero(letters == _LINE_BREAK)
    places = np.searchsorted(quotes, breaks)
    inside = places[places % 2 == 1]
    fields, counts = np.unique(inside, return_counts=True)
    if not (counts > 1).any():
        return False
    mark = separator.encode()
    separators = content[: breaks[places % 2 == 0][0] if (places % 2 == 0).any() else None].count(mark)
    return any(
        swallowed(content[quotes[after - 1] : quotes[after]].split(b"\n")[1:-1], separators, mark)
        for after in fields[counts > 1].tolist()
    )
