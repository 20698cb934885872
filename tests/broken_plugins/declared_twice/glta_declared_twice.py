"""Declares the same encoder twice."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    for _ in range(2):
        yield EncoderDeclaration(
            name="declared-twice",
            summary="an encoder",
            target="glta_declared_twice.encoder:Encoder",
            config="glta_declared_twice.settings:EncoderSettings",
        )
