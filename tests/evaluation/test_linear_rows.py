"""The linear term of a run beside the baselines an evaluation lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from glta_baselines.ease import Ease

from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.plugin import BaselineData
from glta_cli.stages.pipeline import Pipeline

TERMS = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")


@pytest.mark.parametrize(
    ("options", "overrides", "rows"),
    [
        ({}, (), ["ease", "lightgcn", "glta"]),
        ({"regularization": 11.5}, (), ["ease", "lightgcn", "glta-linear", "glta"]),
        # The run's own forgets older items, if validation says so; that of the table does not.
        ({"recency": 0.3}, ("dataset.split.strategy=leave-last-out",), ["ease", "lightgcn", "glta-linear", "glta"]),
    ],
)
def test_a_baseline_equal_to_the_linear_term_is_one_row_and_fitted_once(
    run_toy: Callable[..., Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    overrides: tuple[str, ...],
    rows: list[str],
) -> None:
    pipeline = run_toy(*TERMS, *overrides, name="linear")
    fits: list[float] = []

    def counted(self: Any, data: BaselineData, fit: Any = Ease.fit) -> Any:
        fits.append(self.settings.regularization)
        return fit(self, data)

    monkeypatch.setattr(Ease, "fit", counted)
    report = evaluate_run(pipeline, compared_rows({"ease": options}, pipeline.recipe))
    assert list(report["models"]) == rows
    assert fits == ([11.5] if "regularization" in options else [])
    figures = report["models"]
    if "glta-linear" not in rows:
        assert list(evaluate_run(pipeline, [])["models"]) == ["lightgcn", "ease", "glta"]
        assert evaluate_run(pipeline, [])["models"]["ease"] == figures["ease"]


def test_a_model_that_is_one_of_its_rows_is_compared_with_the_others(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("finetune.enabled=false", "fusion.terms=[ease]", name="alone")
    report = evaluate_run(pipeline, compared_rows({"popularity": {}}, pipeline.recipe))
    assert {served["row"] for served in report["served"]} == {"ease"}
    assert report["models"]["glta"] == report["models"]["ease"]
    assert report["comparison"]["against"] in ("popularity", "lightgcn")
