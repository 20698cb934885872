"""Works, but declares an encoder of a name that glta has."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="lightgcn",
        summary="an encoder",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:LightGCNSettings",
    )
