"""Implements a hook there is none of."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoder() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="misspelt-hook",
        summary="an encoder",
        target="glta_misspelt_hook.encoder:Encoder",
        config="glta_misspelt_hook.settings:EncoderSettings",
    )
