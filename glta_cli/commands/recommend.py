"""`glta recommend`: items of the catalogue for one user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands.options import (
    DEFAULT_RECIPE,
    DataDirOption,
    DeviceOption,
    JsonOption,
    ProfileOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.stage import stage_table, stages_up_to
from glta_cli.terminal import remarks, results, say, show_json, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.pipeline import Pipeline
    from glta_cli.workspace import Artefact

# Of the quickstart recipe, on two processor cores.
DURATIONS: Mapping[str, str] = {
    "prepare": "5 s",
    "pretrain-graph": "40 s",
    "encode-items": "40 s",
    "align": "1 min",
    "describe-users": "0 s",
    "finetune": "2 min",
    "index": "10 s",
}
HISTORY_SHOWN = 5


def recommend(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="A user's id, as in the source data.")],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many items.")] = 10,
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to one user.

    Without --recipe or --run it asks the latest run. With nothing prepared it runs the quickstart recipe from
    the start and says what it does meanwhile.

    Example: glta recommend --user 42 -k 5
    """
    from glta_cli.serving.recommender import recommend as best_items
    from glta_cli.serving.recommender import user_position

    found = None
    if recipe is None and not overrides and seed is None:
        found = published_index(run, data_dir)
    if found is None:
        pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile, prefer_latest=True)
        announce(pipeline)
        # Users are known once the data is prepared: a wrong id is not worth a training.
        user_position(pipeline.prepared().artefact, user)
        found = pipeline.name, pipeline.ensure("index")
    name, index = found

    # The index is named by its content, so two runs may share one: only the command knows the run.
    answer = {"user": user, "run": name, **best_items(index, user, k)}
    if as_json:
        show_json(answer)
    else:
        show_answer(answer)


def published_index(run: str | None, data_dir: Path | None) -> tuple[str, Artefact] | None:
    """The run's name and index where one is published: answering from it needs no torch."""
    from glta_cli.workspace import Workspace

    workspace = Workspace(data_dir)
    stored = workspace.latest_run() if run is None else workspace.required_run(run)
    if stored is None or "index" not in stored.stages:
        return None
    artefact = workspace.published("index", stored.stages["index"])
    return None if artefact is None else (stored.name, artefact)


def announce(pipeline: Pipeline) -> None:
    """Say on stderr which stages are about to run, and for the default recipe how long each may take."""
    stages = stages_up_to("index", pipeline)
    if all(artefact is not None for _, artefact in stages):
        return
    durations = DURATIONS if pipeline.name == DEFAULT_RECIPE else None
    remarks().print(stage_table(pipeline.name, stages, durations))
    if durations is not None:
        say("times are those of two processor cores; a stage that is done is not run again")


def show_answer(answer: Mapping[str, Any]) -> None:
    """The user's recent items, then the ranked list, on stdout."""
    from rich.markup import escape

    console = results()
    if answer["history"]:
        console.print(f"[dim]user {escape(answer['user'])}, most recent first[/dim]")
        for entry in answer["history"][:HISTORY_SHOWN]:
            console.print(f"  {escape(entry['title'] or entry['item'])}", overflow="ellipsis", no_wrap=True)
        console.print()
    show_table(ranking_table(answer))


def ranking_table(answer: Mapping[str, Any]) -> Table:
    """Rank, item id, title and score, one item a row."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"recommended to user {answer['user']} by run {answer['run']}")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("item", style="cyan", no_wrap=True)
    table.add_column("title", ratio=1)
    table.add_column("score", justify="right")
    for entry in answer["recommendations"]:
        table.add_row(str(entry["rank"]), escape(entry["item"]), escape(entry["title"] or ""), f"{entry['score']:.3f}")
    return table
