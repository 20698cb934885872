"""A recipe's grids: what is wrong with them is said where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from glta_cli.core.errors import InputErrors
from glta_cli.recipe.files import load_recipe

WRONG = {
    "ease: {regularization: 5}": "evaluate.grids.ease.regularization: has to be a list of values to try, not 5",
    "ease: {regularization: []}": "evaluate.grids.ease.regularization: has to be a list of values to try, not []",
    "ease: {}": "evaluate.grids.ease: has to be a list of values to try, not {}",
    "lightgcn-bpr: {graph: {}}": "evaluate.grids.lightgcn-bpr.graph: has to be a list of values to try, not {}",
    "ease: {regularisation: [5]}": "evaluate.grids.ease.regularisation: unknown key",
    "eas: {regularization: [5]}": "evaluate.grids.eas: no baseline is called 'eas'",
    "hccf: {hyperedges: [8, -1]}": "evaluate.grids.hccf.hyperedges: has to be greater than",
    "lightgcn-bpr: {layers: [5]}": "evaluate.grids.lightgcn-bpr: the variant is a graph encoder",
    "lightgcn-bpr: {graph: {temperature: [-1.0]}}": "evaluate.grids.lightgcn-bpr.graph.temperature: has to be greater",
    "lightgcn-bpr: {graph: {encoder: [mf]}}": "evaluate.grids.lightgcn-bpr.graph.encoder: is not to be tuned",
    "lightgcn-bpr: {graph: {refit: [false, true]}}": "evaluate.grids.lightgcn-bpr.graph.refit: is not to be tuned",
    "wo-ia: {graph: {temperature: [0.1]}}": "evaluate.grids.wo-ia: the whole model is trained for this variant",
}


@pytest.mark.parametrize(("grid", "problem"), WRONG.items())
def test_a_wrong_grid_of_a_file_is_said_with_its_line(grid: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    # The rows are not listed: what stands in a recipe is right whether it is used or not.
    file.write_text(f"evaluate:\n  baselines: [popularity]\n  grids:\n    {grid}\n")
    with pytest.raises(InputErrors) as raised:
        load_recipe(file)
    [error] = raised.value.errors
    assert error.problem.startswith(problem)
    assert error.location is not None
    assert error.location.startswith(f"{file}:4:")


def test_every_wrong_grid_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("evaluate:\n  grids:\n    ease: {regularization: 5}\n    hccf: {edges: [8]}\n")
    with pytest.raises(InputErrors) as raised:
        load_recipe(file)
    assert [error.location for error in raised.value.errors] == [f"{file}:3:12", f"{file}:4:12"]


def test_a_wrong_grid_of_the_command_line_is_said_to_be_from_there() -> None:
    with pytest.raises(InputErrors) as raised:
        load_recipe("movielens-1m", ["evaluate.grids.ease.regularization=5"])
    [error] = raised.value.errors
    assert error.location == "--set evaluate.grids.ease.regularization"


def test_grids_of_the_command_line_join_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("evaluate:\n  grids:\n    lightgcn-bpr: {graph: {options: {layers: [1, 4]}}}\n")
    recipe = load_recipe(file, ["evaluate.grids.ease.regularization=[50,100]"]).recipe
    assert recipe.evaluate.grids == {
        "lightgcn-bpr": {"graph": {"options": {"layers": [1, 4]}}},
        "ease": {"regularization": [50, 100]},
    }
