"""Baselines beside the model: fitted once, checked, and the recipe's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from glta_cli.errors import GltaError, InputError
from glta_cli.evaluation.baselines import baseline_scorer, checked_arrays
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.main import app
from glta_cli.pipeline import Pipeline


def test_a_baseline_is_fitted_once_for_each_data_and_settings(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    from glta_baselines.ease import Ease

    fitted = []
    fit = Ease.fit
    monkeypatch.setattr(Ease, "fit", lambda self, data: fitted.append(self.settings.regularization) or fit(self, data))
    pipeline = run_toy(stage="pretrain-graph", name="baselines")
    users = np.arange(5)
    first = baseline_scorer("ease", {"regularization": 7.0}, pipeline)(users)
    again = baseline_scorer("ease", {"regularization": 7.0}, pipeline)(users)
    other = baseline_scorer("ease", {"regularization": 70.0}, pipeline)(users)
    assert fitted == [7.0, 70.0]
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_report_stands_the_listed_baselines_before_the_model(run_toy: Callable[..., Pipeline]) -> None:
    report = evaluate_run(run_toy(), {"ease": {}, "popularity": {}})
    assert list(report["models"]) == ["ease", "popularity", "lightgcn", "glta-llm", "glta"]
    # Two tastes that never mix: histories tell them apart, popularity cannot.
    assert report["models"]["ease"]["ndcg@10"] > report["models"]["popularity"]["ndcg@10"]
    assert list(evaluate_run(run_toy(), {})["models"]) == ["lightgcn", "glta-llm", "glta"]


def test_the_option_names_baselines_and_the_recipe_holds_their_settings(
    workspace_root: Path, tiny_recipe_file: Path
) -> None:
    def glta(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--json"])

    own = ["--set", "evaluate.baselines={ease: {regularization: 5}}"]
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "popularity, ease", *own)
    assert list(json.loads(finished.stdout)["models"])[:2] == ["popularity", "ease"]
    [manifest] = [
        manifest
        for path in (workspace_root / "stages" / "baseline").glob("*/manifest.json")
        if (manifest := json.loads(path.read_text()))["details"]["baseline"] == "ease"
    ]
    assert manifest["settings"]["options"] == {"regularization": 5}
    latest = glta("evaluate", "--baselines", "popularity")
    assert "other settings" not in latest.stderr
    assert next(iter(json.loads(latest.stdout)["models"])) == "popularity"

    wrong = glta("evaluate", "--baselines", "popularty")
    assert isinstance(wrong.exception, InputError)
    assert str(wrong.exception) == (
        "--baselines: no baseline is called 'popularty'\n  hint: did you mean 'popularity'?"
    )


@pytest.mark.parametrize("learnt", [None, [np.zeros(2)], {"a": [1.0]}, {1: np.zeros(2)}, {"a": np.array(["x"])}])
def test_what_a_baseline_learnt_has_to_be_named_arrays(learnt: Any) -> None:
    with pytest.raises(GltaError, match="what the baseline 'mine' learnt is not a mapping of names to arrays"):
        checked_arrays(learnt, "mine")


def test_arrays_are_stored_as_they_are_seen() -> None:
    stored = checked_arrays({"transposed": np.arange(6).reshape(2, 3).T}, "mine")["transposed"]
    assert stored.flags.c_contiguous
    assert stored.tolist() == [[0, 3], [1, 4], [2, 5]]
