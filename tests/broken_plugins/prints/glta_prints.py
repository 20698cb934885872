"""Works, but talks while it is loaded."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl

print("hello from glta-prints")


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    print("hello from its hook")
    yield EncoderDeclaration(
        name="prints",
        summary="an encoder",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:LightGCNSettings",
    )
