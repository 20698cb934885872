"""What is new in a log that is read again: weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from glta_cli.data.growth import growth_of
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


@pytest.mark.parametrize(
    ("before", "now", "heavier"),
    [
        ([2] * 12, [2] * 11 + [5], 1),
        ([2] * 11 + [5], [2] * 12, 1),
        ([1] * 12, [1] * 11 + [5], 1),
        ([2] * 11 + [5], [3] * 11 + [5], 11),
        ([2] * 12, [3] * 12, 0),
        ([2] * 12, [2] * 12, 0),
    ],
)
def test_only_interactions_of_another_weight_are_told(
    tmp_path: Path, workspace_root: Path, before: list[int], now: list[int], heavier: int
) -> None:
    def prepared(weights: list[int], name: str) -> PreparedDataset:
        rows = [f"u{n % 4},i{n % 3},{weight},{1_600_000_000 + n}\n" for n, weight in enumerate(weights)]
        (tmp_path / name).write_text("user,item,qty,timestamp\n" + "".join(rows))
        options = {"weight": "qty"}
        return prepare(DatasetSettings(name="table", source=str(tmp_path / name), options=options), Workspace())[0]

    growth = growth_of(prepared(before, "before.csv"), prepared(now, "now.csv"))
    assert growth.counts()["weights"] == heavier
    assert growth.nothing == (heavier == 0)
