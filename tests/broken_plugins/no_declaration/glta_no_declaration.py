"""Yields what is no declaration."""

from collections.abc import Iterable
from typing import Any

from glta_cli.plugin import hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[dict[str, Any]]:
    yield {"name": "no-declaration", "target": "glta_no_declaration:Encoder"}
