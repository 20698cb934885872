"""Forgot @hookimpl, so it declares nothing."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration


def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="no-hookimpl",
        summary="an encoder",
        target="glta_no_hookimpl.encoder:Encoder",
        config="glta_no_hookimpl.settings:EncoderSettings",
    )
