"""The grids a recipe gives, checked: what `--tune` tries of a row in place of the row's own grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.plugin.grids import combinations
from glta_cli.recipe.limits import MOST_COMBINATIONS, cut, dotted
from glta_cli.recipe.positioned_yaml import Key, Position
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import own_settings, row_kind
from glta_cli.recipe.validation import place
from glta_cli.recipe.variants import is_encoder_alone, merged, variant_of

GRIDS_KEY = ("evaluate", "grids")
# Of section graph: another encoder has other settings, and validation cannot judge what it was trained on.
UNTUNABLE = ("encoder", "refit")


def grid_errors(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    """What is wrong with the grids of a recipe, those of rows it does not list included."""
    errors: list[GltaError] = []
    count = 0
    for name, grid in recipe.evaluate.grids.items():
        try:
            _require_lists(name, grid, positions)
            count += prod(len(values) for _, values in _leaves(grid, ()))
            _require_few(name, count, positions)
            if name in recipe.evaluate.variants:
                _require_variant_grid(name, grid, recipe, positions)
            else:
                _require_own_settings(name, grid, recipe, positions)
        except InputErrors as several:
            errors += several.errors
    return errors


def _require_lists(name: str, grid: Mapping[str, Any], positions: Mapping[Key, Position]) -> None:
    wrong = [
        _wrong(key, f"has to be a list of values to try, not {cut(repr(values))}", positions)
        for key, values in _leaves(grid, (*GRIDS_KEY, name))
        if not isinstance(values, list) or not values
    ]
    if wrong:
        raise InputErrors(wrong)


def _require_few(name: str, count: int, positions: Mapping[Key, Position]) -> None:
    """Each combination is checked, and later fitted: a few lines may stand for billions.

    Args:
        count: combinations of this grid and of those before it.
    """
    if count > MOST_COMBINATIONS:
        problem = f"that makes {count:,} combinations, and at most {MOST_COMBINATIONS:,} are tried"
        raise InputErrors([_wrong((*GRIDS_KEY, name), problem, positions, "give fewer values for some settings")])


def _leaves(grid: Mapping[str, Any], key: Key) -> Iterator[tuple[Key, Any]]:
    """The settings of a grid with their values; an empty section is one without any."""
    if not grid:
        yield key, dict(grid)
    for name, below in grid.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, (*key, name))
        else:
            yield (*key, name), below


def _require_own_settings(
    name: str, grid: Mapping[str, Any], recipe: Recipe, positions: Mapping[Key, Position]
) -> None:
    """Of a baseline's or an encoder's own settings, beside those the recipe gives it."""
    key = (*GRIDS_KEY, name)
    given = recipe.evaluate.baselines.get(name, {})
    for each in combinations(grid):
        try:
            own_settings(row_kind(name), name, merged(given, each), key, positions)
        except InputErrors:
            raise
        except GltaError as error:
            raise InputErrors([_wrong(key, error.problem, positions, error.hint)]) from error


def _require_variant_grid(
    name: str, grid: Mapping[str, Any], recipe: Recipe, positions: Mapping[Key, Position]
) -> None:
    """Of section graph, for a variant that is a graph encoder."""
    key = (*GRIDS_KEY, name)
    changes = recipe.evaluate.variants[name]
    if not is_encoder_alone(changes, recipe):
        hint = "grids are for baselines, graph encoders, and variants of section graph alone"
        problem = "the whole model is trained for this variant, which is not tuned"
        raise InputErrors([_wrong(key, problem, positions, hint)])
    if set(grid) != {"graph"}:
        hint = f"as in --set {'.'.join(key)}.graph.temperature=[0.1,0.2]"
        problem = "the variant is a graph encoder, so its grid is of section graph"
        raise InputErrors([_wrong(key, problem, positions, hint)])
    for setting in UNTUNABLE:
        if setting in grid["graph"]:
            raise InputErrors([_wrong((*key, "graph", setting), "is not to be tuned", positions)])
    for each in combinations(grid):
        variant_of(recipe, merged(changes, each), key, positions)


def _wrong(key: Key, problem: str, positions: Mapping[Key, Position], hint: str | None = None) -> InputError:
    return InputError(f"{dotted(key)}: {problem}", location=place(key, positions), hint=hint)
