"""Times as a person says them."""

from __future__ import annotations

import math


def shown_duration(seconds: float) -> str:
    """To one or two places, as nobody knows better beforehand: `5 s`, `40 s`, `2 min`, `25 min`, `1 h 20 min`."""
    if seconds < 10:
        return f"{max(1, math.ceil(seconds))} s"
    if seconds < 57:
        return f"{round(seconds / 5) * 5} s"
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{max(1, minutes)} min"
    if minutes < 60:
        return f"{_to(minutes, 1 if minutes < 20 else 5)} min"
    if minutes < 48 * 60:
        hours, rest = divmod(_to(minutes, 10 if minutes < 600 else 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(minutes / 60 / 24)} d"


def _to(value: int, step: int) -> int:
    return round(value / step) * step
