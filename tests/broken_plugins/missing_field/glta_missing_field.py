"""Leaves out the settings of its encoder."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(  # type: ignore[call-arg]
        name="missing-field", summary="an encoder", target="glta_missing_field.encoder:Encoder"
    )
