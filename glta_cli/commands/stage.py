"""What the training commands have in common: run one stage, or with --dry-run say what that would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.core.printable import shell_word
from glta_cli.core.terminal import say, show_json, show_table, show_text
from glta_cli.core.world import launched
from glta_cli.workspace.details import scalars

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.commands.stage_times import StageTimes
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

PURPOSES: Mapping[str, str] = {
    "prepare": "read, filter and split the interactions",
    "encode-items": "turn item texts into vectors",
    "pretrain-graph": "embed users and items by the graph encoder",
    "fit-linear": "fit linear rows and keep the best",
    "align": "align item tokens with the language model",
    "describe-users": "let the language model name each user's interests",
    "finetune": "align users and train the item logits",
    "index": "choose what is served, and keep it to score by",
    "refit-pretrain-graph": "embed them again, from everything known",
    "refit-fit-linear": "fit the linear row to everything known",
    "refit-align": "align the items as they are embedded now",
    "refit-describe-users": "name interests from everything known",
    "refit-finetune": "train the item logits on everything known",
    "serving-index": "the same for answers, of all interactions",
}


def run_stage(
    stage: str,
    pipeline: Pipeline,
    *,
    data_dir: Path | None,
    dry_run: bool,
    as_json: bool,
    then: str,
    processes: int | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] | None = None,
) -> None:
    """Run `stage` and whatever it lacks, show what it reported, and name the command that follows.

    Args:
        processes: that a dry run is asked about.
        recipe, overrides: as they were given, to be prepared with.
    """
    pipeline.require(stage)
    if dry_run:
        words = _prepare_words(pipeline.recipe, recipe, overrides or ())
        words += [] if data_dir is None else ["--data-dir", str(data_dir)]
        prepare = " ".join(map(shell_word, words))
        show_dry_run(stage, pipeline, prepare, as_json=as_json, processes=processes or launched().size)
        return
    artefact = pipeline.ensure(stage)
    if as_json:
        show_json({"run": pipeline.name, **stage_report(artefact)})
    else:
        show_table(report_table(pipeline.name, artefact))
    aligns = pipeline.recipe.align.enabled and pipeline.prepared().has_text
    say_next(["finetune" if then == "align" and not aligns else then], pipeline.name, data_dir)


def _prepare_words(resolved: Recipe, recipe: str | None, overrides: Sequence[str]) -> list[str]:
    """The command that prepares what a stage would train on; a run has no recipe that prepare could be given."""
    from glta_cli.commands.dataset_words import prepare_words

    if recipe is None:
        return prepare_words(resolved.dataset)
    words = ["glta", "prepare", "--recipe", recipe]
    for each in overrides:
        words += ["--set", each] if each.startswith("dataset.") else []
    return words


def say_next(command: Sequence[str], run: str, data_dir: Path | None) -> None:
    """Name the command that carries on with this run, ready to be pasted."""
    from rich.markup import escape

    words = ["glta", *command, "--run", run]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    say(f"next: [bold]{escape(' '.join(map(shell_word, words)))}[/bold]")


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
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"{artefact.stage} of run {run}")
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right")
    for name, value in scalars(artefact.details):
        table.add_row(name, _shown(value))
    table.add_row("seconds", f"{artefact.manifest['seconds']:.1f}")
    return table


def _shown(value: str | bool | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# -------------------------------------------------------------------------------------- what a stage would do


def show_dry_run(stage: str, pipeline: Pipeline, prepare: str, *, as_json: bool, processes: int = 1) -> None:
    """The resolved recipe, the state of every stage up to `stage`, parameter counts and memory.

    Args:
        prepare: the command after which more is known.
    """
    from rich.markup import escape

    from glta_cli.commands.memory_table import memory_estimates, memory_table, memory_values, time_values
    from glta_cli.commands.stage_times import stage_times
    from glta_cli.language.memory_plan import plan, plan_table
    from glta_cli.recipe.selection import encoder_dimension

    prepared = _prepared(pipeline)
    users, items = (None, None) if prepared is None else (prepared.user_count, prepared.item_count)
    needs = None
    if pipeline.recipe.finetune.enabled:
        # What is counted is the language model and what is trained around it.
        needs = plan(pipeline.recipe, users=users, items=items, graph_dimension=encoder_dimension(pipeline.recipe))
    stages, measured = stages_up_to(stage, pipeline), _measured_stages(stage, pipeline)
    times = None if prepared is None else stage_times(measured, pipeline, prepared, processes)
    # After the times, for which the machine was measured in this process as it is before a stage.
    named = [name for name, _ in measured]
    memory = [] if prepared is None else memory_estimates(named, pipeline, prepared, processes)
    if as_json:
        show_json(
            {
                "run": pipeline.name,
                "recipe": pipeline.recipe.model_dump(mode="json"),
                "stages": [
                    {"stage": name, "state": state_of(artefact), **time_values(name, times)}
                    for name, artefact in stages
                ],
                "users": users,
                "items": items,
                "plan": None if needs is None else needs.as_dict(),
                "times": None if times is None else times.as_dict(),
                "memory": memory_values(named, memory, times, processes),
            }
        )
        return
    show_text(recipe_yaml(pipeline.recipe).removesuffix("\n"))
    show_table(stage_table(pipeline.name, stages, times))
    if needs is not None:
        show_table(plan_table(needs, memory=not memory))
    if named and prepared is not None:
        show_table(memory_table(pipeline.name, named, memory, times, processes))
    if prepared is None:
        say(f"what depends on users and items, such as times, is known after [bold]{escape(prepare)}[/]")
        if processes > 1:
            say(f"the plan is of one process; what each of {processes} has is known then, too")
    for line in [] if times is None else times.lines([name for name, _ in stages]):
        say(line)
    say("dry run: nothing was run")


def _measured_stages(stage: str, pipeline: Pipeline) -> list[tuple[str, Artefact | None]]:
    """Stages whose memory and time are told: up to `stage` and, where the language model is trained, the index."""
    return stages_up_to("index" if stage == "finetune" else stage, pipeline)


def stages_up_to(stage: str, pipeline: Pipeline) -> list[tuple[str, Artefact | None]]:
    """Name and artefact of every stage that leads to `stage`, without those the recipe leaves out."""
    from glta_cli.recipe.fused_terms import LANGUAGE, linear_names, terms_of
    from glta_cli.stages.lineage import LANGUAGE_STAGES, SERVING, STAGES, lineage_of
    from glta_cli.stages.refit_names import REFITTED, refit_name

    recipe, prepared = pipeline.recipe, _prepared(pipeline)
    has_text = prepared is None or prepared.has_text
    lineage = lineage_of(stage, recipe)
    left_out = {
        "fit-linear": "fit-linear" not in lineage or linear_names(recipe) == (),
        "encode-items": "encode-items" not in lineage or not _encodes_items(recipe, has_text=has_text),
        "align": not (recipe.align.enabled and has_text),
        "describe-users": not (has_text and (recipe.interests.profile or recipe.interests.prediction)),
    }
    left_out |= {refit_name(name): left_out.get(name, False) or not recipe.finetune.refit for name in REFITTED}
    if not recipe.finetune.enabled or (stage in ("index", SERVING) and LANGUAGE not in terms_of(recipe)):
        left_out |= dict.fromkeys(LANGUAGE_STAGES, True)
    published = dict(pipeline.status())
    if published["prepare"] is None:
        # `glta prepare` belongs to no run, and saves this one the work all the same.
        published["prepare"] = None if prepared is None else prepared.artefact
    wanted = STAGES[: STAGES.index(stage) + 1]
    return [(name, published[name]) for name in wanted if not left_out.get(name, False)]


def _encodes_items(recipe: Recipe, *, has_text: bool) -> bool:
    """Whether whoever reads vectors of item texts has any; an encoder that cannot do without says so itself."""
    from glta_cli.recipe.selection import encoder_needs_text_vectors

    # The encoder is asked last: it is imported for the answer.
    return has_text or encoder_needs_text_vectors(recipe)


def state_of(artefact: Artefact | None) -> str:
    return "to run" if artefact is None else "up to date"


def stage_table(run: str, stages: list[tuple[str, Artefact | None]], times: StageTimes | None = None) -> Table:
    """Stage, purpose and state, one a row; with `times`, about how long stages still to run take, and all of them."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"stages of run {run}")
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", style="cyan", no_wrap=True)
    table.add_column("what it does")
    table.add_column("state", no_wrap=True)
    if times is None or not times.estimates:
        for name, artefact in stages:
            table.add_row(name, PURPOSES[name], state_of(artefact))
        return table
    table.add_column("about", justify="right", no_wrap=True)
    for name, artefact in stages:
        table.add_row(name, PURPOSES[name], state_of(artefact), times.shown(name))
    table.add_section()
    total = times.shown_total([name for name, _ in stages])
    table.add_row("in all", "less where a training stops early", "", total)
    return table


def recipe_yaml(recipe: Recipe) -> str:
    """Every setting of a recipe, defaults included, as YAML that gives the same recipe; ends with a line break."""
    import yaml

    class Readable(yaml.SafeDumper):
        """Prompts as blocks, the way a person writes them."""

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Readable.add_representer(str, represent_text)
    values = recipe.model_dump(mode="json")
    return yaml.dump(values, Dumper=Readable, sort_keys=False, allow_unicode=True, width=100)


def _prepared(pipeline: Pipeline) -> PreparedDataset | None:
    from glta_cli.data.preparation import prepared_before

    return prepared_before(pipeline.recipe.dataset, pipeline.workspace)
