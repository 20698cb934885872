"""Who and what is in an export: everyone with a history, everything that is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from glta_cli.answers.export_files import ExportedCatalogue
from glta_cli.answers.exported_vectors import exported_vectors
from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.index import LAYOUT, Index
from glta_cli.serving.index_file import write_index
from glta_cli.workspace.workspace import Workspace

HISTORIES = {"ann": [0, 3], "bob": [], "cleo": [3, 1, 5], "dan": [4]}
ITEMS = ["i0", "i1", "i2", "i3", "i4", "i5"]
DELISTED = 3


def published(root: Path) -> Index:
    """An index of an encoder, where bob is forgotten and i3 is listed no more."""
    generator = np.random.default_rng(0)
    pairs = [(user, item) for user, items in enumerate(HISTORIES.values()) for item in items]
    history = Interactions.from_pairs(*zip(*pairs, strict=True), user_count=4, item_count=6)
    users, items = (generator.standard_normal((count, 3)).astype(np.float32) for count in (4, 6))

    def write(folder: Path) -> dict[str, Any]:
        write_index(
            folder,
            None,
            (users, items),
            history.counts,
            history,
            delisted=np.array([DELISTED]),
            user_ids=list(HISTORIES),
            item_ids=ITEMS,
            titles=[f"Lamp {item}" for item in ITEMS],
        )
        row = {"served": "lightgcn", "served_terms": ["encoder"], "terms": {"encoder": "lightgcn"}}
        return {"encoder": "lightgcn", "fusion": None, "validation": {}, "ndcg@10": None, **row}

    workspace = Workspace(root)
    return Index(workspace.publish("index", "0" * 20, write, settings={"layout": LAYOUT}, inputs={}, seed=0))


def test_whom_the_log_forgot_and_what_is_listed_no_more_are_left_out(tmp_path: Path) -> None:
    index = published(tmp_path)
    vectors = exported_vectors(index, index.row, index.row.terms, None)
    found = ExportedCatalogue.of(index, vectors)
    assert found.users == ["ann", "cleo", "dan"]
    assert found.items == ["i0", "i1", "i2", "i4", "i5"]
    assert found.titles == [f"Lamp {item}" for item in found.items]
    users, columns = index.graph_vectors()
    assert_array_equal(found.user_vectors, users[[0, 2, 3]])
    assert_array_equal(found.item_vectors, columns.T[[0, 1, 2, 4, 5]])
    seen = {
        user: [found.items[item] for item in found.seen_items[found.seen_indptr[place] : found.seen_indptr[place + 1]]]
        for place, user in enumerate(found.users)
    }
    assert seen == {"ann": ["i0"], "cleo": ["i1", "i5"], "dan": ["i4"]}
    # Fewer than ten items are left to anybody, and none of them is missing.
    assert (vectors.overlap == 1).all()
    assert vectors.same.all()
