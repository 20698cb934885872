"""The baselines that ship with glta."""

from collections.abc import Iterator

from glta_cli.plugin import BaselineDeclaration, hookimpl


@hookimpl
def glta_baselines() -> Iterator[BaselineDeclaration]:
    yield BaselineDeclaration(
        name="popularity",
        summary="the items with the most training interactions, for everyone",
        target="glta_baselines.popularity:Popularity",
        config="glta_baselines.settings:NoSettings",
    )
    yield BaselineDeclaration(
        name="ease",
        summary="EASE: item-item weights in closed form (Steck, WWW 2019)",
        target="glta_baselines.ease:Ease",
        config="glta_baselines.settings:EaseSettings",
    )
