"""Its hook fails after the first encoder."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="raising-hook",
        summary="an encoder",
        target="glta_raising_hook.encoder:Encoder",
        config="glta_raising_hook.settings:EncoderSettings",
    )
    raise ValueError("no second encoder")
