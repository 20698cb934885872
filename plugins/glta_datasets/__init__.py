"""First-party datasets: MovieLens, Amazon reviews, Goodreads, published splits, and a user's own table."""

from __future__ import annotations

from collections.abc import Iterable

from glta_cli.plugin import DatasetDeclaration, hookimpl
from glta_datasets.catalogue import ADJACENCY_SPLITS, AMAZON_CATEGORIES, GOODREADS_GENRES, MOVIELENS_EDITIONS


@hookimpl
def glta_datasets() -> Iterable[DatasetDeclaration]:
    """Declare every dataset; one class serves all of a family."""
    for name, summary in MOVIELENS_EDITIONS.items():
        yield DatasetDeclaration(
            name=name,
            summary=summary,
            target="glta_datasets.movielens:MovieLens",
            config="glta_datasets.settings:NoSettings",
        )
    for name, releases in AMAZON_CATEGORIES.items():
        category = next(iter(releases.values())).replace("_", " ")
        yield DatasetDeclaration(
            name=name,
            summary=f"Amazon reviews, {category} ({', '.join(map(str, releases))})",
            target="glta_datasets.amazon:Amazon",
            config="glta_datasets.settings:AmazonSettings",
        )
    for name, genre in GOODREADS_GENRES.items():
        yield DatasetDeclaration(
            name=name,
            summary=f"Goodreads shelves, {genre.replace('_', ' ')} (UCSD Book Graph)",
            target="glta_datasets.goodreads:Goodreads",
            config="glta_datasets.settings:GoodreadsSettings",
        )
    for name, summary in ADJACENCY_SPLITS.items():
        yield DatasetDeclaration(
            name=name,
            summary=summary,
            target="glta_datasets.adjacency:AdjacencySplit",
            config="glta_datasets.settings:NoSettings",
        )
    yield DatasetDeclaration(
        name="table",
        summary="your own CSV, TSV, Parquet or JSON",
        target="glta_datasets.table:Table",
        config="glta_datasets.settings:TableSettings",
    )
