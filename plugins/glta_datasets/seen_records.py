"""What is told of a release's file of one record a line, by the first of its records."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from glta_cli.plugin import SeenColumn, SeenFile
from glta_datasets.files import first_line, first_lines
from glta_datasets.ids import BLANKS, exact_record
from glta_datasets.json_lines import UNPARSABLE

_MOST_SHOWN: Final = 40


def seen_json_lines(
    path: Path, roles: Mapping[str, str], rows: int | None = None, *, parse: Callable[[bytes], Any] = exact_record
) -> SeenFile:
    """A file of JSON lines, or of others that `parse` reads: the fields of its first line.

    Args:
        roles: what fields are taken for; the others are ignored.
        rows: its records, where they are counted.
    """
    try:
        record = parse(first_line(path))
    except UNPARSABLE:
        record = None
    fields = record if isinstance(record, dict) else dict.fromkeys(roles)
    return seen_record(path, "JSON lines" if parse is exact_record else "a record a line", fields, roles, rows)


def seen_csv(path: Path, roles: Mapping[str, str], rows: int | None = None) -> SeenFile:
    """A comma-separated file with a header: its columns and its first line."""
    lines = [line.decode("utf-8", errors="replace") for line in islice(first_lines(path), 2)]
    try:
        header, *first = csv.reader(lines)
    except (csv.Error, ValueError):
        # A field of many thousand letters, or no line at all, of which reading the file tells.
        header, first = list(roles), []
    values = dict(zip(header, [*(first[0] if first else []), *[None] * len(header)], strict=False))
    return seen_record(path, "csv", values, roles, rows)


def seen_record(
    path: Path, form: str, record: Mapping[str, Any], roles: Mapping[str, str], rows: int | None
) -> SeenFile:
    """A file by the fields of one of its records, with their values as examples."""
    columns = tuple(SeenColumn(name, roles.get(name), _shown(value)) for name, value in record.items())
    return SeenFile(path, {"format": form}, columns, rows)


def _shown(value: Any) -> str | None:
    if value is None or value in ("", [], {}):
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.strip(BLANKS).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
