"""An evaluation says which of its rows take every interaction alike, where interactions have weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from glta_baselines.popularity import Popularity

from glta_cli.evaluation.listed_rows import compared_rows, require_rows

TOLD = "popularity takes every interaction alike: it does not use weights"


@pytest.mark.parametrize(("weighted", "uses", "times"), [(True, False, 1), (True, True, 0), (False, False, 0)], ids=str)
def test_a_baseline_that_ignores_weights_is_named_once(
    run_toy, shop_folder: Path, monkeypatch, capsys, weighted, uses, times
):
    if not uses:
        # As a baseline of a plugin that was written before there were weights.
        monkeypatch.delattr(Popularity, "uses_weights")
    options = ["dataset.options.events={purchase: 3, cart: 2, view: 1}"] if weighted else []
    source = f"dataset.source={shop_folder / 'log.csv'}"
    pipeline = run_toy(source, *options, name="weights", stage="prepare")
    capsys.readouterr()
    rows = compared_rows({"popularity": {}, "ease": {}}, pipeline.recipe)
    require_rows(rows, pipeline, tune=True)
    told = " ".join(capsys.readouterr().err.split())
    assert told.count(TOLD) == times
    assert "ease takes" not in told
