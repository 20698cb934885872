"""Its entry point names what the module does not hold."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="missing-attribute",
        summary="an encoder",
        target="glta_missing_attribute.encoder:Encoder",
        config="glta_missing_attribute.settings:EncoderSettings",
    )
