"""Its hook wants an argument no hook is given."""

from collections.abc import Iterable
from typing import Any

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders(registry: Any) -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="old-argument",
        summary="an encoder",
        target="glta_old_argument.encoder:Encoder",
        config="glta_old_argument.settings:EncoderSettings",
    )
