"""Its settings are a plain pydantic model, which takes a misspelt key without a word."""

from collections.abc import Iterable

from pydantic import BaseModel

from glta_cli.plugin import EncoderDeclaration, hookimpl


class EncoderSettings(BaseModel):
    """Not a subclass of `glta_cli.plugin.Settings`."""

    dimension: int = 64


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="plain-settings",
        summary="an encoder",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_plain_settings:EncoderSettings",
    )
