"""What the training commands have in common: run one stage, or with --dry-run say what that would take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.terminal import results, say, show_json, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.pipeline import Pipeline
    from glta_cli.recipe import Recipe
    from glta_cli.workspace import Artefact

PURPOSES: Mapping[str, str] = {
    "prepare": "read, filter and split the interactions",
    "pretrain-graph": "embed users and items by the graph encoder",
    "encode-items": "turn item texts into vectors",
    "align": "align item tokens with the language model",
    "describe-users": "let the language model name each user's interests",
    "finetune": "align users and train the item logits",
    "index": "score every item for every user",
}
ASSUMED_SIZE = 10_000


def run_stage(
    stage: str, pipeline: Pipeline, *, data_dir: Path | None, dry_run: bool, as_json: bool, then: str
) -> None:
    """Run `stage` and whatever it lacks, show what it reported, and name the command that follows."""
    if dry_run:
        show_dry_run(stage, pipeline, as_json=as_json)
        return
    artefact = pipeline.ensure(stage)
    if as_json:
        show_json({"run": pipeline.name, **stage_report(artefact)})
    else:
        show_table(report_table(pipeline.name, artefact))
    say_next(then, pipeline.name, data_dir)


def say_next(command: str, run: str, data_dir: Path | None) -> None:
    """Name the command that carries on with this run, ready to be pasted."""
    from rich.markup import escape

    words = ["glta", *command.split(), "--run", run]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    say(f"next: [bold]{escape(shlex.join(words))}[/bold]")


# ----------------------------------------------------------------------------------------- what a stage did


def stage_report(artefact: Artefact) -> dict[str, Any]:
    """Stage, fingerprint, folder, seconds and what the stage itself reported."""
    return {
        "stage": artefact.stage,
        "fingerprint": artefact.fingerprint,
        "folder": str(artefact.path),
        "seconds": artefact.manifest["seconds"],
        "details": artefact.details,
    }


def report_table(run: str, artefact: Artefact) -> Table:
    """The scalars a stage reported, one a row."""
    from rich.table import Table

    table = Table(title=f"{artefact.stage} of run {run}", title_justify="left", show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right")
    for name, value in scalars(artefact.details):
        table.add_row(
            name,
            f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if _is_count(value) else str(value),
        )
    table.add_row("seconds", f"{artefact.manifest['seconds']:.1f}")
    return table


def scalars(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and words among nested details, under dotted names; lists are left to the JSON."""
    for name, value in details.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}.")
        elif isinstance(value, (str, bool, int, float)):
            yield f"{prefix}{name}", value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -------------------------------------------------------------------------------------- what a stage would do


def show_dry_run(stage: str, pipeline: Pipeline, *, as_json: bool) -> None:
    """The resolved recipe, the state of every stage up to `stage`, parameter counts and memory."""
    from glta_cli.language.memory_plan import plan, plan_table

    users, items, counted = _catalogue_size(pipeline)
    needs = plan(pipeline.recipe, users=users, items=items, graph_dimension=_graph_dimension(pipeline.recipe))
    stages = stages_up_to(stage, pipeline)
    if as_json:
        show_json(
            {
                "run": pipeline.name,
                "recipe": pipeline.recipe.model_dump(mode="json"),
                "stages": [{"stage": name, "state": state_of(artefact)} for name, artefact in stages],
                "users": users,
                "items": items,
                "counted": counted,
                "plan": needs.as_dict(),
            }
        )
        return
    results().print(recipe_yaml(pipeline.recipe), markup=False, soft_wrap=True)
    show_table(stage_table(pipeline.name, stages))
    show_table(plan_table(needs))
    if not counted:
        dataset = pipeline.recipe.dataset.name
        say(
            f"{dataset} is not prepared yet: counted with {users:,} users and {items:,} items; "
            f"[bold]glta prepare {dataset}[/bold] gives the real numbers"
        )
    say("dry run: nothing was run")


def stages_up_to(stage: str, pipeline: Pipeline) -> list[tuple[str, Artefact | None]]:
    """Name and published artefact of every stage that leads to `stage`, itself included."""
    from glta_cli.pipeline import STAGES

    wanted = STAGES[: STAGES.index(stage) + 1]
    return [(name, artefact) for name, artefact in pipeline.status() if name in wanted]


def state_of(artefact: Artefact | None) -> str:
    return "to run" if artefact is None else "up to date"


def stage_table(
    run: str, stages: list[tuple[str, Artefact | None]], durations: Mapping[str, str] | None = None
) -> Table:
    """Stage, purpose and state, one a row; with `durations`, how long each stage still to run may take."""
    from rich.table import Table

    table = Table(title=f"stages of run {run}", title_justify="left")
    table.add_column("stage", style="cyan", no_wrap=True)
    table.add_column("what it does")
    table.add_column("state", no_wrap=True)
    if durations is not None:
        table.add_column("about", justify="right", no_wrap=True)
    for name, artefact in stages:
        row = [name, PURPOSES[name], state_of(artefact)]
        if durations is not None:
            row.append(durations[name] if artefact is None else "")
        table.add_row(*row)
    return table


def recipe_yaml(recipe: Recipe) -> str:
    """Every setting of a recipe, defaults included, as the YAML that would give the same recipe."""
    import yaml

    class Readable(yaml.SafeDumper):
        """Prompts as blocks, the way a person writes them."""

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Readable.add_representer(str, represent_text)
    values = recipe.model_dump(mode="json")
    return yaml.dump(values, Dumper=Readable, sort_keys=False, allow_unicode=True, width=100).rstrip()


def _catalogue_size(pipeline: Pipeline) -> tuple[int, int, bool]:
    """Users and items, and whether they were counted in the prepared dataset or are assumed."""
    prepared = dict(pipeline.status())["prepare"]
    if prepared is None:
        return ASSUMED_SIZE, ASSUMED_SIZE, False
    return prepared.details["users"], prepared.details["items"], True


def _graph_dimension(recipe: Recipe) -> int:
    from glta_cli.recipe import component_options

    return int(component_options(recipe, "encoder").model_dump()["dimension"])
