"""The files many answers are written to: Parquet, CSV or JSON lines, a row a recommendation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.storage import as_os_error

if TYPE_CHECKING:
    import polars as pl

PARQUET, CSV, JSONL = "parquet", "csv", "jsonl"
FORMATS: Final = (PARQUET, CSV, JSONL)
ENDINGS: Final = {".parquet": PARQUET, ".csv": CSV, ".jsonl": JSONL, ".ndjson": JSONL}
COLUMNS: Final = ("user", "rank", "item", "title", "score")
BECAUSE: Final = "because"
"""Behind them, where reasons are asked for: of each item of the history that does most `item`, `title` and `share`."""
STANDARD_OUTPUT: Final = "-"


def format_of(output: str, asked: str | None) -> str:
    """The format that is asked for, or else that of the ending; JSON lines on standard output.

    Raises:
        InputError: neither says it, or Parquet is to go to standard output.
    """
    if asked is not None and asked not in FORMATS:
        hint = did_you_mean(asked, FORMATS)
        raise InputError(f"'{asked}' is not one of {', '.join(FORMATS)}", location="--format", hint=hint)
    if output == STANDARD_OUTPUT:
        if asked == PARQUET:
            raise InputError("Parquet needs a file", location="-o -", hint="--format csv or jsonl, or -o out.parquet")
        return asked or JSONL
    found = asked or ENDINGS.get(Path(output).suffix.lower())
    if found is None:
        raise InputError(
            f"'{output}' does not say its format",
            location="-o",
            hint=f"end it in {', '.join(ENDINGS)}, or add --format",
        )
    return found


def encoded(table: pl.DataFrame, form: str) -> bytes:
    """A table as a part of a file: whole Parquet, or lines without a head."""
    if form == PARQUET:
        from io import BytesIO

        buffer = BytesIO()
        table.write_parquet(buffer)
        return buffer.getvalue()
    text = _flat(table).write_csv(include_header=False) if form == CSV else table.write_ndjson()
    return text.encode()


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """A table whose reasons are JSON: a cell of CSV holds no list."""
    import polars as pl

    if BECAUSE not in table.columns:
        return table
    texts = [json.dumps(each, ensure_ascii=False) for each in table[BECAUSE].to_list()]
    return table.with_columns(pl.Series(BECAUSE, texts, dtype=pl.String))


def head(form: str, *, because: bool = False) -> bytes:
    """What stands before the first part of lines, with reasons or without."""
    columns = (*COLUMNS, BECAUSE) if because else COLUMNS
    return (",".join(columns) + "\n").encode() if form == CSV else b""


def write_joined(parts: Sequence[Path], form: str, path: Path, *, because: bool = False) -> None:
    """Write parts, one after the other, as one file; at no time more than a little of them is in memory.

    Args:
        because: whether they hold reasons.

    Raises:
        OSError: it cannot be written; with the file's name.
    """
    if form == PARQUET:
        import polars as pl

        try:
            pl.scan_parquet(list(parts)).sink_parquet(path, maintain_order=True)
        except Exception as error:
            raise as_os_error(error, path) or error from error
        return
    with path.open("xb") as file:
        file.write(head(form, because=because))
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file)
