"""The encoder against published figures: LightGCN on its authors' split of Gowalla.

Published are Recall@20 .1823 and NDCG@20 .1547 for d = 64 and three layers, after 1,000 epochs of bpr: He et al.,
SIGIR 2020, and its authors' repository.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.recipe.files import load_recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

PUBLISHED_RECALL, PUBLISHED_NDCG = 0.1823, 0.1547


@pytest.mark.slow
def test_lightgcn_reaches_the_published_figures(shared_data: Path, tmp_path: Path) -> None:
    loaded = load_recipe("lightgcn-gowalla", [f"dataset.source={shared_data / 'lightgcn-gowalla'}"])
    pipeline = Pipeline(loaded.name, loaded.recipe, Workspace(tmp_path), device="cpu")
    found = evaluate_run(pipeline)
    assert (found["users"], found["split"]["test"]) == (29_858, 217_242)
    assert found["models"]["lightgcn"]["recall@20"] >= PUBLISHED_RECALL
    assert found["models"]["lightgcn"]["ndcg@20"] >= PUBLISHED_NDCG
    twenty_minutes = 1200
    assert found["costs"]["lightgcn"]["fit_seconds"] < twenty_minutes
