"""Rows that another process ranks by: made again of what is published, with the same scores, and nothing written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from glta_cli.core.errors import GltaError
from glta_cli.core.world import Team
from glta_cli.evaluation import shared_rows
from glta_cli.evaluation.evaluate import measuring
from glta_cli.evaluation.fitted_rows import model_rows
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.shared_rows import ReadOnlyWorkspace, ReadRun, RowsOrder
from glta_cli.stages.pipeline import Pipeline

USERS = np.arange(20)


@pytest.fixture(scope="module")
def pipeline(run_toy: Callable[..., Pipeline]) -> Pipeline:
    return run_toy()


def files(root: Path) -> set[Path]:
    return set(root.rglob("*"))


@pytest.mark.parametrize("name", ["ease", "ease-text", "lightgcn-softmax", "wo-ia", "model"])
def test_another_process_makes_the_row_again_and_scores_alike(pipeline: Pipeline, name: str) -> None:
    make = model_rows if name == "model" else compared_rows({name: {}}, pipeline.recipe)[0].fitted
    rows = make(pipeline)
    before = files(pipeline.workspace.root)
    measured = partial(measuring, settings=pipeline.recipe.evaluate)
    order = RowsOrder(pickle.dumps(make), pickle.dumps(measured), ReadRun.of(pipeline), range(len(rows)), threads=1)
    made = pickle.loads(pickle.dumps(order)).made()
    assert made is not None
    for row, score in zip(rows, made[1], strict=True):
        assert_array_equal(score(USERS), row.score(USERS))
    assert files(pipeline.workspace.root) == before


def test_what_is_not_published_is_left_to_the_first_process(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy("graph.training.epochs=1", stage="prepare", name="unpublished")
    order = RowsOrder(pickle.dumps(model_rows), pickle.dumps(None), ReadRun.of(pipeline), [0], threads=1)
    assert order.made() is None
    said: list[object] = []
    ready = type("Ready", (Team,), {"gathered_objects": lambda self, content: said.append(content) or [True, content]})
    monkeypatch.setattr(shared_rows, "team", ready)
    order.carry_out()  # and ranks nothing
    assert said == [False]
    with pytest.raises(GltaError, match="index is not published"):
        ReadOnlyWorkspace(pipeline.workspace.root).published_or_made("index", "no-such", lambda: pytest.fail("made"))
