"""Products that nobody met yet: they stay in the catalogue, to be recommended by their texts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from glta_cli.data.item_matches import written_otherwise
from glta_cli.data.item_text import plain
from glta_cli.plugin import RawDataset


def unmet_items(raw: RawDataset, met: Sequence[str], kcore: int) -> list[str]:
    """Ids of the items that have a text and no interaction, in the order of the item file.

    None where the items are not the whole catalogue or a k-core was asked for, which no unmet item is in; none
    either where not one item that was met is described, since then the two speak of other things. An item that is
    one of those met, but for leading zeros, blanks or case, is left out: it would be the same twice.

    Args:
        met: ids of the items with an interaction.
        kcore: least number of interactions of every item.
    """
    if raw.items is None or not raw.catalogue or kcore > 1:
        return []
    present = raw.items.collect_schema().names()
    texts = [name for name in ("title", "description") if name in present]
    described = raw.items.select(pl.col(name).cast(pl.String) for name in ("item", *texts)).collect()
    ids = described["item"]
    if not ids.is_in(met).any():
        return []
    others = described.filter(~pl.col("item").is_in(met) & (pl.col("item").str.strip_chars() != ""))
    same = {there for there, _ in written_otherwise(met, ids.drop_nulls().to_list()).values()}
    rows = others.rows()
    found = dict.fromkeys(row[0] for row in rows if row[0] not in same and any(plain(text) for text in row[1:]))
    return list(found)
