"""First-party graph encoders."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="lightgcn",
        summary="LightGCN: propagation without weights, mean over layers (He et al., SIGIR 2020)",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:LightGCNSettings",
    )
