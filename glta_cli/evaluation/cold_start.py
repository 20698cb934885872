"""Cold start in a report: what a split that hides items or users came to, part by part, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glta_cli.data.prepared import PreparedDataset
from glta_cli.ranking.cold_parts import Part, Values, chance


def cold_start_report(
    prepared: PreparedDataset,
    parts: Sequence[Part],
    values: Mapping[str, Mapping[str, Values]],
    intervals: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]],
    blind: Sequence[str],
) -> dict[str, Any] | None:
    """What is reported of a split that hides something, as plain values; None for any other.

    Args:
        values: by part and row, of each user of the part, means over seeds.
        intervals: by part, row and metric.
        blind: the rows that give all hidden items one score.
    """
    if not parts:
        return None
    seen = prepared.masked_at_test()
    return {
        "hides": prepared.hides,
        "hidden": {part: int(prepared.hidden(part).sum()) for part in ("valid", "test")},
        "blind": list(blind),
        "parts": {
            part.name: {
                "about": part.about,
                "users": len(part.users),
                "candidates": part.relevant.item_count if part.candidates is None else int(part.candidates.sum()),
                "chance": chance(part, seen),
                "models": {
                    row: {metric: float(each.mean()) for metric, each in found.items()}
                    for row, found in values[part.name].items()
                },
                "intervals": intervals[part.name],
            }
            for part in parts
        },
    }
