"""JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glta_cli.plugin import StageEnd
from glta_loggers.settings import JsonLinesSettings


class JsonLines:
    """Appends one line of JSON a stage: time, run, stage, seconds, metrics, epochs and the folder published.

    A number that is not finite becomes `null`.
    """

    def __init__(self, settings: JsonLinesSettings, folder: Path) -> None:
        self.path = folder / settings.file
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def stage_ended(self, end: StageEnd) -> None:
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": end.run,
            "stage": end.stage,
            "seconds": end.seconds,
            "metrics": dict(end.metrics),
            "history": {training: list(epochs) for training, epochs in end.history.items()},
            "artefact": None if end.artefact is None else str(end.artefact),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Nested values with None for NaN and the infinities, which JSON has no words for."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
