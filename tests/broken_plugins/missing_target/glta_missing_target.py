"""Is declared well, but its encoder cannot be imported."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="missing-target",
        summary="an encoder",
        target="a_package_nobody_has.encoder:Encoder",
        config="glta_encoders.settings:LightGCNSettings",
        extra="glta-missing-target[gpu]",
    )
