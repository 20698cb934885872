"""Numbers that rows choose themselves on validation: found, shown, and never chosen by the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from glta_baselines.choice import ONE_TWO_FIVE

from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.tables import chosen_lines, costs_table, tuned_lines
from glta_cli.evaluation.tuning import tuned
from glta_cli.plugin import Interactions
from glta_cli.ranking.selection import validation_quality
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

ENCODER_ALONE = ("finetune.enabled=false", "graph.alignment_holdout=0")


@pytest.fixture
def pipeline(tiny_recipe: Callable[..., Recipe], tmp_path: Any) -> Pipeline:
    return Pipeline("chosen", tiny_recipe(*ENCODER_ALONE), Workspace(tmp_path / "w"), device="cpu")


def test_the_report_shows_the_numbers_that_rows_chose(pipeline: Pipeline) -> None:
    listed = {"ease": {}, "l3ae": {"pull": 1.5}, "popularity": {}, "add-ease": {"recency": 0.5}}
    found = evaluate_run(pipeline, compared_rows(listed, pipeline.recipe))
    assert found["chosen"].keys() == {"ease", "l3ae", "add-ease"}
    assert found["chosen"]["l3ae"].keys() == {"regularization", "text_regularization"}
    for name, chosen in found["chosen"].items():
        assert all(isinstance(value, float) and value >= 0 for value in chosen.values())
        assert found["settings"][name] == {**listed[name], **chosen}
    many = {"regularization": 1234.5, "text_share": 0.95, "text_regularization": 123.4, "recency": 0.25}
    long = {**found, "chosen": {"add-ease": many}}
    assert len(next(chosen_lines(long))) > 80
    assert max(map(len, str(costs_table(long).caption).splitlines()[1:])) <= 80
    lines = list(chosen_lines(found))
    assert (
        lines[0]
        == f"ease, chosen on validation while fitted: regularization {found['chosen']['ease']['regularization']:g}"
    )
    assert lines[0] in str(costs_table(found).caption)
    # What was chosen is read from what was fitted, when it is found again.
    assert evaluate_run(pipeline, compared_rows(listed, pipeline.recipe))["chosen"] == found["chosen"]


def test_what_is_chosen_is_the_number_that_tuning_would_choose_among_its_neighbours(pipeline: Pipeline) -> None:
    prepared = pipeline.prepared()
    quality = validation_quality(prepared.split("train"), prepared.split("valid"))
    assert quality is not None

    def reached(**settings: float) -> tuple[float, dict[str, Any]]:
        [row] = compared_rows({"ease": settings}, pipeline.recipe)
        [fitted] = row.fitted(pipeline)
        assert fitted.validation_score is not None
        return quality(fitted.validation_score), fitted.chosen

    best, chosen = reached()
    number = chosen["regularization"]
    assert reached(regularization=number) == (best, {})
    place = ONE_TWO_FIVE.index(number)
    for neighbour in (ONE_TWO_FIVE[place - 1], ONE_TWO_FIVE[place + 1]):
        assert reached(regularization=neighbour)[0] <= best


def test_a_tuned_row_tells_what_it_chose_beside_what_was_tried(pipeline: Pipeline) -> None:
    grid = {"l3ae": {"pull": [0.5, 1.0]}}
    evaluate = pipeline.recipe.evaluate.model_copy(update={"grids": grid, "tune": True})
    pipeline.recipe = pipeline.recipe.model_copy(update={"evaluate": evaluate})
    rows = compared_rows({"l3ae": {}}, pipeline.recipe)
    found = tuned(rows[0], pipeline)
    for each in found.tried:
        assert each["settings"].keys() >= {"regularization", "pull", "text_regularization"}
        assert "auto" not in each["settings"].values()
    report = evaluate_run(pipeline, rows)
    [line] = tuned_lines(report)
    chosen = report["chosen"]["l3ae"]
    assert f"pull {report['settings']['l3ae']['pull']}" in line
    assert f"regularization {chosen['regularization']}" in line
    assert list(chosen_lines(report)) == []


def test_without_validation_items_there_is_nothing_to_choose_by(pipeline: Pipeline) -> None:
    train = pipeline.prepared().split("train")
    none = Interactions.from_pairs([], [], user_count=train.user_count, item_count=train.item_count)
    assert validation_quality(train, none) is None
