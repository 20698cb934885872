"""Its target is a module, not a class of one."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="no-colon",
        summary="an encoder",
        target="glta_no_colon.encoder",
        config="glta_no_colon.settings:EncoderSettings",
    )
