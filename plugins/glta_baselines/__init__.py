"""The baselines that ship with glta."""

from collections.abc import Iterator

from glta_cli.plugin import BaselineDeclaration, hookimpl

# What older items weigh: the newest item of a history says most of what comes next.
RECENCY = {"recency": [1.0, 0.9, 0.7, 0.5]}


@hookimpl
def glta_baselines() -> Iterator[BaselineDeclaration]:
    yield BaselineDeclaration(
        name="popularity",
        summary="the items with the most training interactions, for everyone",
        target="glta_baselines.popularity:Popularity",
        config="glta_baselines.settings:NoSettings",
        asks_for=(),
    )
    yield BaselineDeclaration(
        name="item-knn",
        summary="items whose users are those of the user's items, by shrunk cosine",
        target="glta_baselines.item_knn:ItemKnn",
        config="glta_baselines.settings:ItemKnnSettings",
        asks_for=(),
        grid={"neighbours": [20, 50, 100, 200], "shrink": [10.0, 100.0, 300.0]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="text-only",
        summary="items whose texts resemble the mean of the user's items; no interactions of others",
        target="glta_baselines.text_only:TextOnly",
        config="glta_baselines.settings:TextOnlySettings",
        asks_for=("text_vectors",),
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="ease-text",
        summary="EASE with item texts as further rows of the histories",
        target="glta_baselines.ease:EaseText",
        config="glta_baselines.settings:EaseTextSettings",
        asks_for=("text_vectors",),
        grid={"regularization": [50.0, 100.0, 200.0, 400.0], "text_weight": [2.0, 5.0, 10.0]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="ease",
        summary="EASE: item-item weights in closed form (Steck, WWW 2019)",
        target="glta_baselines.ease:Ease",
        config="glta_baselines.settings:EaseSettings",
        asks_for=(),
        grid={"regularization": [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="l3ae",
        summary="EASE drawn towards the weights that item texts give (Moon et al., CIKM 2025)",
        target="glta_baselines.l3ae:L3ae",
        config="glta_baselines.settings:L3aeSettings",
        asks_for=("text_vectors",),
        grid={"pull": [0.5, 1.0, 1.5, 3.0], "text_regularization": [1.0, 5.0, 20.0, 50.0]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="add-ease",
        summary="EASE of histories and EASE of item texts, added (Jeunen et al., RecSys 2020)",
        target="glta_baselines.add_ease:AddEase",
        config="glta_baselines.settings:AddEaseSettings",
        asks_for=("text_vectors",),
        grid={"text_share": [0.1, 0.3, 0.5, 0.7], "text_regularization": [1.0, 5.0, 20.0, 50.0]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="elsa",
        summary="ELSA: EASE at low rank, for large catalogues (Vančura et al., RecSys 2022)",
        target="glta_baselines.elsa:Elsa",
        config="glta_baselines.settings:ElsaSettings",
        asks_for=(),
        grid={"factors": [128, 256, 512], "learning_rate": [0.005, 0.01, 0.02]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="elsa-text",
        summary="ELSA with item texts as further rows of the histories",
        target="glta_baselines.elsa_text:ElsaText",
        config="glta_baselines.settings:ElsaTextSettings",
        asks_for=("text_vectors",),
        grid={"text_weight": [0.5, 1.0, 2.0], "learning_rate": [0.005, 0.01, 0.02]},
        time_grid=RECENCY,
    )
    yield BaselineDeclaration(
        name="ials",
        summary="matrix factors by weighted alternating least squares (Hu et al., ICDM 2008)",
        target="glta_baselines.ials:Ials",
        config="glta_baselines.settings:IalsSettings",
        asks_for=(),
        extra="glta[ials]",
        grid={"alpha": [1.0, 4.0, 10.0, 40.0], "regularization": [1.0, 10.0, 30.0, 100.0]},
        time_grid=RECENCY,
    )
