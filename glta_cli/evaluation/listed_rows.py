"""From the names a recipe lists to rows: found, checked and made before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.terminal import say
from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW, made_baseline, tell_of_unused_weights
from glta_cli.evaluation.fitted_rows import LINEAR_ROW
from glta_cli.evaluation.rows import BaselineRow, EncoderRow, Row, TunableRow, VariantRow
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import GraphSettings, Recipe
from glta_cli.recipe.selection import component_options, own_settings, row_kind
from glta_cli.recipe.shipped_variants import GRIDS, VARIANTS
from glta_cli.recipe.variants import is_encoder_alone, variant_of

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline


def compared_rows(listed: Mapping[str, Mapping[str, Any]], recipe: Recipe) -> list[Row]:
    """Find, check and make all rows, before anything is trained that they are to be compared with.

    Args:
        listed: names and own settings, as `evaluate.baselines` holds them.

    Raises:
        InputError: nothing has that name, its settings are wrong, or another row is called so.
        GltaError: a baseline cannot be imported or made.
    """
    rows: list[Row] = []
    taken = {recipe.graph.encoder, LANGUAGE_ROW, LINEAR_ROW, MODEL_ROW}
    for name, options in listed.items():
        if name == recipe.graph.encoder and row_kind(name) == "encoder" and _are_own(options, recipe):
            say(f"{escape(name)} is the run's own graph encoder: it has a row already, which is not tuned")
            continue
        row = _row(name, options, recipe)
        names = set(row.counterparts()) or {row.name}
        if names & taken:
            raise _called_alike(row)
        taken |= names
        rows.append(row)
    return rows


def _are_own(options: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether these settings of the run's own encoder, or none, are those it has."""
    name = recipe.graph.encoder
    given = own_settings("encoder", name, options, ("evaluate", "baselines", name))
    return not options or given == component_options(recipe, "encoder")


def _called_alike(row: Row) -> InputError:
    if isinstance(row, BaselineRow):
        described = f"the baseline '{row.name}' of {row.made.component.origin}"
        return InputError(
            f"{described} is called like a row the report has already", hint="leave it out; its author can rename it"
        )
    return InputError(
        f"'{row.name}' is called like a row the report has already",
        hint="leave it out; a variant can have another name",
    )


def _row(name: str, options: Mapping[str, Any], recipe: Recipe) -> Row:
    key = ("evaluate", "baselines", name)
    grid = recipe.evaluate.grids.get(name)
    if name in recipe.evaluate.variants:
        if options:
            raise InputError(
                f"the variant '{name}' takes no settings of its own",
                hint=f"change them with --set evaluate.variants.{name}.SECTION.KEY=VALUE",
            )
        return _variant(name, recipe.evaluate.variants[name], recipe)
    if row_kind(name) == "encoder":
        own_settings("encoder", name, options, key)
        changes = {"encoder": name, "options": dict(options)}
        return EncoderRow(name, changes, None if grid is None else {"options": grid})
    _require_known(name, recipe)
    return BaselineRow(made_baseline(name, options), grid, recipe.dataset.split.in_time)


def _variant(name: str, changes: Mapping[str, Any], recipe: Recipe) -> Row:
    variant = variant_of(recipe, changes, ("evaluate", "variants", name))
    if not is_encoder_alone(changes, recipe):
        return VariantRow(name, changes)
    if "graph" not in changes:
        raise InputError(
            f"the variant '{name}' changes {', '.join(changes) or 'nothing'}, which has no effect: "
            "its recipe stops after the graph encoder",
            hint="leave it out, or let the recipe go on to the language model: --set finetune.enabled=true",
        )
    # With the options the recipe itself gives its encoder, which the variant keeps.
    changed = {"encoder": variant.graph.encoder, **changes["graph"], "options": dict(variant.graph.options)}
    given = recipe.evaluate.grids.get(name)
    return EncoderRow(name, changed, _shipped_grid(name, changes, variant.graph) if given is None else given["graph"])


def _shipped_grid(name: str, changes: Mapping[str, Any], graph: GraphSettings) -> Mapping[str, Any] | None:
    """Without what the recipe itself sets, which the variant keeps: that is not to be tuned.

    Args:
        graph: the section as the variant has it.
    """
    if name not in GRIDS or changes != VARIANTS[name]:
        return None
    usual = GraphSettings()
    grid = {setting: values for setting, values in GRIDS[name]["graph"].items() if setting != "options"}
    free = {setting: values for setting, values in grid.items() if getattr(graph, setting) == getattr(usual, setting)}
    given = set(graph.options) - set(changes["graph"].get("options", {}))
    options = GRIDS[name]["graph"].get("options", {})
    left = {option: values for option, values in options.items() if option not in given}
    return {**free, "options": left} if left else free


def _require_known(name: str, recipe: Recipe) -> None:
    """Raise the registry's `InputError` where no baseline is called so, with the nearest names of all rows."""
    try:
        installed().find("baseline", name)
    except InputError as error:
        encoders = [component.name for component in installed().of_kind("encoder")]
        baselines = [component.name for component in installed().of_kind("baseline")]
        variants = list(recipe.evaluate.variants)
        said, newline, causes = (error.hint or "").partition("\n")
        if all(component.name != name for component in installed().components):
            said = f"`glta plugins` lists baselines and encoders; variants are {', '.join(variants)}"
        error.hint = (did_you_mean(name, [*baselines, *encoders, *variants]) or said) + newline + causes
        raise


def require_rows(rows: Sequence[Row], pipeline: Pipeline, *, tune: bool) -> None:
    """Raise what is known to keep a row from being trained, such as texts it cannot have: `InputError`, `GltaError`.

    Of a baseline that takes interactions alike where they have weights it is said.

    Args:
        tune: whether their settings are to be chosen from their grids.
    """
    for row in rows:
        row.require(pipeline)
        if isinstance(row, BaselineRow):
            tell_of_unused_weights(row.made, pipeline)
        if tune and isinstance(row, TunableRow):
            # A plugin's grid may hold what its settings refuse.
            for candidate in row.candidates():
                candidate.require(pipeline)
