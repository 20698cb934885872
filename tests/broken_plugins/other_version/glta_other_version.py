"""Was written for a plugin API of another time."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl

GLTA_API_VERSION = 99


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="other-version",
        summary="an encoder",
        target="glta_other_version.encoder:Encoder",
        config="glta_other_version.settings:EncoderSettings",
    )
