"""`glta reproduce`: a published table, measured again and written beside the published figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands.options import (
    DataDirOption,
    DeviceOption,
    JsonOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.core.terminal import say, show_json, show_table

if TYPE_CHECKING:
    from glta_cli.evaluation.published import PublishedTable
    from glta_cli.stages.pipeline import Pipeline


class Publication(StrEnum):
    """What can be reproduced."""

    PAPER = "paper"


class PublishedDataset(StrEnum):
    """The paper's datasets."""

    MOVIELENS = "movielens-1m"
    AMAZON = "amazon"
    GOODREADS = "goodreads"


def reproduce(
    table: Annotated[
        Publication,
        typer.Argument(metavar="TABLE", help="Whose table: `paper`, the one GLTA was published with."),
    ],
    dataset: Annotated[
        PublishedDataset,
        typer.Option("--dataset", metavar="NAME", help="movielens-1m, amazon or goodreads."),
    ],
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Train every row N times; show the means.")
    ] = None,
    report_path: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write what was measured as a self-contained HTML page."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a published table again; show both.

    What differs from the publication (data, split, language model, training, hardware) stands below the table.
    Models that were trained before are not trained again. Without --recipe it takes the paper's stated settings,
    which are made for a GPU; another recipe for the same data stands in where there is none.

    Example: glta reproduce paper --dataset movielens-1m --recipe paper/movielens-1m-smollm2
    """
    from glta_cli.commands.evaluate import changed_settings, rows_named
    from glta_cli.evaluation.published import PAPER
    from glta_cli.evaluation.report.writing import checked_report_path, write_report
    from glta_cli.evaluation.reproduction import (
        all_cutoffs,
        compared_with,
        differences,
        packed_on_processor,
        reproduction_table,
        require_device,
        require_same_data,
    )

    if report_path is not None:
        report_path = checked_report_path(report_path)
    published = PAPER[dataset.value]
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, default=published.recipe)
    require_same_data(published, pipeline)
    own = pipeline.recipe.evaluate
    settings = changed_settings(own, seeds=seeds, cutoffs=all_cutoffs(own))
    rows = rows_named(",".join(compared_with(published, pipeline.recipe)), pipeline.recipe)

    from glta_cli.evaluation.evaluate import evaluate_run
    from glta_cli.evaluation.listed_rows import require_rows

    require_device(published, pipeline)
    require_rows(rows, pipeline, tune=settings.tune)
    if packed_on_processor(pipeline):
        pipeline.checked(pipeline.last_stage)
        tell_how_long(published, pipeline, [row.name for row in rows])
    pipeline.ensure(pipeline.last_stage)
    started = time.monotonic()
    report = evaluate_run(pipeline, rows, settings)
    seconds = round(time.monotonic() - started, 3)
    notes = differences(published, pipeline)
    if as_json:
        figures = {each.label: {"row": each.row, "published": dict(each.values)} for each in published.rows}
        show_json(report | {"published": figures, "differs": notes})
    else:
        show_table(reproduction_table(published, report, notes))
    if report_path is not None:
        write_report(pipeline, report, report_path)
    pipeline.loggers.stage_ended("evaluate", seconds, report, None)


def tell_how_long(published: PublishedTable, pipeline: Pipeline, rows: Sequence[str]) -> None:
    """Warn of how long a processor takes with packed weights, where anything is left to train.

    Args:
        rows: by name, to be measured beside the run's own.
    """
    from glta_cli.commands.stage import stages_up_to
    from glta_cli.commands.stage_times import stage_times
    from glta_cli.core.counts import counted
    from glta_cli.evaluation.published import ABLATIONS
    from glta_cli.evaluation.reproduction import unpacked_instead

    stages = stages_up_to(pipeline.last_stage, pipeline)
    times = stage_times(stages, pipeline, pipeline.prepared())
    if not times.estimates:
        return
    packed = pipeline.recipe.backbone.quantization
    say(f"  [yellow]warning[/]: a processor computes with {packed} weights, for which a GPU is made:")
    say(f"    about {times.shown_total(list(times.estimates))} for the run's own model on this machine as it is now")
    others = sum(row in ABLATIONS.values() for row in rows)
    if others:
        say(f"    and about as long for each of {counted(others, 'other model')} of the table")
    say(f"    {unpacked_instead(published)}")
