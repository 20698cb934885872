"""`glta evaluate`: the figures of a run, measured once on the test split."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands import completion
from glta_cli.commands.options import (
    AnsweringRecipeOption,
    DataDirOption,
    DeviceOption,
    JsonOption,
    ProfileOption,
    RefreshOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.processes import ProcessesOption, run_as_processes
from glta_cli.commands.stage import say_next
from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import say, show_json, show_table

if TYPE_CHECKING:
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.evaluation.rows import Row
    from glta_cli.recipe.schema import EvaluateSettings, Recipe
    from glta_cli.stages.pipeline import Pipeline

USUAL_USER = "42"


def evaluate(
    recipe: AnsweringRecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            "--baselines",
            metavar="A,B",
            help="Compare with these baselines, encoders and variants.",
            autocompletion=completion.rows,
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Train every row N times; show the means.")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", metavar="N", min=1, help="Draw the split N times; show each draw and the means."),
    ] = None,
    tune: Annotated[
        bool | None,
        typer.Option("--tune/--no-tune", help="Choose the rows' settings from their grids, on validation."),
    ] = None,
    ladder: Annotated[
        bool,
        typer.Option("--ladder", help="Show what each part adds, the language model above all, with paired tests."),
    ] = False,
    report_path: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write the evaluation as one self-contained HTML page."),
    ] = None,
    processes: ProcessesOption = None,
    refresh: RefreshOption = False,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the catalogue for every test user; show metrics.

    Baselines, the graph encoder alone, the language model's own ranking and the fused ranking stand side by
    side, on one split. Without --recipe or --run it takes the latest finished run. A finished run is measured as
    it was published, with its source or without.

    Example: glta evaluate --baselines popularity,ease
    """
    from glta_cli.evaluation.report.writing import checked_report_path, write_report

    if report_path is not None:
        report_path = checked_report_path(report_path)
    run_as_processes(processes)
    pipeline = open_pipeline(
        recipe, run, overrides, data_dir, seed, device, profile=profile, prefer_latest=True, refresh=refresh
    )
    settings = changed_settings(pipeline.recipe.evaluate, seeds=seeds, draws=draws, tune=tune)
    # All of them, before anything is trained for hours that they are to be compared with.
    # Beside the ladder stands what is named, and nothing else.
    compared = [] if ladder and baselines is None else rows_named(baselines, pipeline.recipe)

    from glta_cli.evaluation.draws import drawn_again, evaluate_draws
    from glta_cli.evaluation.ladder import evaluate_ladder
    from glta_cli.evaluation.ladder_steps import require_ladder
    from glta_cli.evaluation.ladder_table import ladder_tables
    from glta_cli.evaluation.listed_rows import require_rows
    from glta_cli.evaluation.tables import report_tables

    require_rows(compared, pipeline, tune=settings.tune)
    climbed = require_ladder(pipeline) if ladder else None
    others = drawn_again(pipeline, settings)
    pipeline.ensure(pipeline.last_stage)
    started = time.monotonic()
    with pipeline.profiled("evaluate"):
        report = evaluate_draws(pipeline, others, compared, settings)
        if climbed is not None:
            report["ladder"] = evaluate_ladder(pipeline, climbed, settings)
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        show_json(report)
    else:
        show_table(report_tables(report) if climbed is None else ladder_tables(report, beside=bool(compared)))
    # Of other settings than the run's, or of other splits, it is no figure of the run.
    if not others and (recipe is not None or not (overrides or seed is not None)):
        keep(pipeline, report)
    if report_path is not None:
        write_report(pipeline, report, report_path)
    # Once it is shown: a logger that fails under GLTA_STRICT_PLUGINS=1 ends the command.
    pipeline.loggers.stage_ended("evaluate", seconds, report, None)
    say_next(["recommend", "--user", some_user(pipeline.prepared())], pipeline.name, data_dir)


def keep(pipeline: Pipeline, report: dict[str, Any]) -> None:
    """Keep the report for whoever asks the run later; a folder that cannot be written is said, as all else is done.

    An encoder that is the only term has no index before it is asked for answers, and none is made for this.
    """
    from rich.markup import escape

    from glta_cli.workspace.evaluations import keep_evaluation

    if pipeline.last_stage != "index":
        return
    measured = pipeline.ensure("index").fingerprint
    try:
        keep_evaluation(pipeline.workspace, pipeline.name, measured, report)
    except (OSError, GltaError) as error:
        say(f"[yellow]note[/]: the evaluation is not kept for later: {escape(str(error))}")


def changed_settings(settings: EvaluateSettings, **given: Any) -> EvaluateSettings:
    """How to evaluate this once: what the options give in place of the recipe's, which stays as it is."""
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def rows_named(names: str | None, recipe: Recipe) -> list[Row]:
    """The rows named, each with the settings the recipe has for it; all of the recipe's without names.

    Raises:
        InputError: one is unknown, wrongly set in the recipe, or called like a row of the model.
        GltaError: one cannot be made.
    """
    from glta_cli.core.errors import InputError
    from glta_cli.evaluation.listed_rows import compared_rows

    listed = recipe.evaluate.baselines
    if names is not None:
        stripped = (part.strip() for part in names.split(","))
        listed = {name: listed.get(name, {}) for name in stripped if name}
    try:
        return compared_rows(listed, recipe)
    except InputError as error:
        error.location = error.location or ("evaluate.baselines" if names is None else "--baselines")
        raise


def some_user(prepared: PreparedDataset) -> str:
    """A user the dataset has: the one of every other example, else the first."""
    ids = prepared.user_ids
    return USUAL_USER if USUAL_USER in ids else ids[0]
