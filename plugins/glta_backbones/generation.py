"""The tokens that end an answer, as a checkpoint names them."""

from __future__ import annotations

import json
from pathlib import Path

from glta_cli.plugin import GltaError

GENERATION = "generation_config.json"


def stop_tokens(eos: object, location: str) -> set[int]:
    """The ids `eos_token_id` names: one, several or none.

    Raises:
        GltaError: it names something else.
    """
    stops = [] if eos is None else eos if isinstance(eos, list) else [eos]
    for stop in stops:
        if type(stop) is not int:
            raise GltaError(
                f"eos_token_id names the token {stop!r:.60}, which is no id",
                location=location,
                hint="write the number of the token that ends an answer, several in a list, or null",
            )
    return set(stops)


def require_stops(folder: Path) -> None:
    """Raise `GltaError` where a checkpoint's settings of generation name tokens that are no ids."""
    path = folder / GENERATION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # transformers takes config.json in its place
    if isinstance(values, dict):
        stop_tokens(values.get("eos_token_id"), str(path))
