"""Yields a backbone among the encoders."""

from collections.abc import Iterable

from glta_cli.plugin import BackboneDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[BackboneDeclaration]:
    yield BackboneDeclaration(
        name="wrong-kind",
        summary="a backbone",
        target="glta_wrong_kind.encoder:Encoder",
        config="glta_wrong_kind.settings:EncoderSettings",
    )
