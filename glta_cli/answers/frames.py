"""Answers as Polars frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from glta_cli.serving.recommender import Answer


def rows_of(answer: Answer, **also: Any) -> list[dict[str, Any]]:
    """The recommendations of an answer as rows; of its reasons the items of the history with their shares."""
    return [{**also, **_reasons_of(entry)} for entry in answer["recommendations"]]


def _reasons_of(entry: dict[str, Any]) -> dict[str, Any]:
    if "because" not in entry:
        return entry
    shown = [{key: item[key] for key in ("item", "title", "share")} for item in entry["because"]["history"]]
    return {**entry, "because": shown}


def frame_of(rows: Sequence[dict[str, Any]], *also: str, because: bool = False) -> pl.DataFrame:
    """Ranked items, with further columns of text before them: with its columns where there is none, too.

    Args:
        because: whether the rows have reasons, a list of item, title and share, what does most first.
    """
    import polars as pl

    schema: dict[str, Any] = {"rank": pl.Int64, "item": pl.String, "title": pl.String, "score": pl.Float64}
    if because:
        schema["because"] = pl.List(pl.Struct({"item": pl.String, "title": pl.String, "share": pl.Float64}))
    return pl.DataFrame(rows, schema=dict.fromkeys(also, pl.String) | schema)
