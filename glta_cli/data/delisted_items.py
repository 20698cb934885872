"""Items that a list of items named once and names no more, where a dataset is prepared anew.

A dataset that is prepared from the start knows nothing of what was listed before.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from glta_cli.data.growth import growth_of, publish_growth
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


def delisted_since(known: PreparedDataset, fresh: PreparedDataset) -> list[str]:
    """Ids of the items that are in nobody's answers by the fresh dataset, whatever its log says of them.

    Args:
        known: what answered until now, prepared with the same settings.
    """
    if known.artefact == fresh.artefact or not fresh.lists_items:
        return []
    once = {item for item, listed in zip(known.item_ids, known.listed | known.delisted, strict=True) if listed}
    if not any(item in once for item, listed in zip(fresh.item_ids, fresh.listed, strict=True) if not listed):
        return []
    growth = growth_of(known, fresh)
    return growth.items["item"].filter(pl.Series(growth.delisted)).to_list()


def with_delisted(
    fresh: PreparedDataset, delisted: Collection[str], settings: DatasetSettings, workspace: Workspace
) -> PreparedDataset:
    """The dataset in which these items are delisted; itself where it has none of them, so that what was trained on it
    is found again.

    Args:
        settings: of the dataset, with the source where it is now.
    """
    if not delisted:
        return fresh
    carried = growth_of(fresh, fresh, delisted=delisted)
    return publish_growth(carried, settings, workspace) if carried.delisted.any() else fresh
