"""`glta prepare`: read options, prepare the dataset, show its counts."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands import completion
from glta_cli.commands.dataset_words import changed_settings, recipe_about, set_words
from glta_cli.commands.options import (
    DEFAULT_RECIPE,
    DataDirOption,
    JsonOption,
    PreparedRecipeOption,
    ProfileOption,
    SetOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from glta_cli.recipe.files import LoadedRecipe
    from glta_cli.recipe.schema import Recipe


def prepare(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]",
            help="A dataset of `glta plugins`; may be left out with --recipe.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="DIR|FILE|URL|-", help="Local copy or address in place of the download; - is piped in."),
    ] = None,
    min_rating: Annotated[
        str | None, typer.Option(metavar="X", help="Keep interactions rated at least X; `none` keeps all.")
    ] = None,
    kcore: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Least interactions of every user and item; 0 keeps all."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="ratio|leave-last-out|temporal|given|cold-items|cold-users", help="How interactions are divided."
        ),
    ] = None,
    most_dropped: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, max=1, help="Share of rows that may be lost; 1 takes what is left."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("-o", "--option", metavar="KEY=VALUE", help="A setting of the loader, such as user=COLUMN."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Read the source although it is up to date: an earlier version kept less."),
    ] = False,
    recipe: PreparedRecipeOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Seed of the random split: --set dataset.split.seed=N.")
    ] = None,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn raw files into a dataset: clean, split and count.

    A dataset that a shipped recipe is about starts from that recipe's dataset section (the recipe of its own
    name, else `quickstart`, else the first by name), so that its later stages find it prepared; options
    override single settings. `--min-rating none --kcore 0` filters nothing; rows without a user, an item, or a
    value in a rating or time column are still left out, and counted.

    Example: glta prepare amazon-sports --source ~/amazon
    """
    from rich.markup import escape

    from glta_cli.commands.options import local_source
    from glta_cli.commands.prepare_account import show_account
    from glta_cli.core.terminal import say, show_json, show_table
    from glta_cli.data.preparation import prepare as prepare_dataset
    from glta_cli.stages.loggers import Loggers
    from glta_cli.training.profiling import profiled
    from glta_cli.workspace.run import checked_run_name
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    named = {
        "source": None if source is None else local_source(source, workspace),
        "min_rating": min_rating,
        "kcore": kcore,
        "split.strategy": split,
        "split.seed": seed,
        "most_dropped": most_dropped,
    }
    changes = [f"dataset.{key}={_yaml(key, value)}" for key, value in named.items() if value is not None]
    changes += [f"dataset.options.{text}" for text in option or []] + (overrides or [])
    base, resolved = _with_options_named(partial(_resolved, dataset, recipe, changes))
    loggers = Loggers(base.name, resolved, workspace)
    folder = workspace.root / "profiles" / checked_run_name(base.name)
    with profiled("prepare", folder, partial(show_table, on_stderr=True)) if profile else nullcontext() as measured:
        prepared, up_to_date = prepare_dataset(resolved.dataset, workspace, again=again)
        if measured is not None:
            measured.nothing_ran = up_to_date
    for warning in prepared.warnings:
        say(f"[yellow]warning:[/] {escape(warning)}")
    dropped = prepared.summary()["dropped"]
    for reason, example in prepared.examples.items():
        say(escape(f"dropped: {reason} {dropped[reason]:,}, such as {example}"))
    if as_json:
        show_json({**prepared.summary(), "account": prepared.account})
    else:
        show_account(prepared)
    say(f"{'up to date' if up_to_date else 'written'}: {escape(str(prepared.artefact.path))}")
    if not prepared.keeps_columns:
        say("an earlier version prepared it, without columns for [bold]--where[/]: [bold]--again[/] keeps them")
    say(f"next: [bold]{escape(_next_command(base, resolved, data_dir))}[/]")
    if not up_to_date:
        # The later stages of this run find it up to date, and tell nobody.
        artefact = prepared.artefact
        loggers.stage_ended(artefact.stage, artefact.manifest["seconds"], artefact.details, artefact.path)


def _with_options_named(resolve: Callable[[], tuple[LoadedRecipe, Recipe]]) -> tuple[LoadedRecipe, Recipe]:
    """What `resolve` returns; what is wrong with a setting of the loader is said of `-o`, the way it was given."""
    from glta_cli.core.errors import InputErrors

    try:
        return resolve()
    except InputErrors as several:
        for error in several.errors:
            at = (error.location or "").removeprefix("--set dataset.options.")
            if at and error.location != at:
                error.location = f"-o {at}"
                error.problem = error.problem.removeprefix("dataset.options.").removeprefix(f"{at}: ")
        raise


def _yaml(key: str, value: str | float) -> str:
    """An option's text as the value of an override: a path stays a string, `none` is YAML's null."""
    return json.dumps(value) if key == "source" else "null" if value == "none" else str(value)


def _resolved(dataset: str | None, recipe: str | None, changes: list[str]) -> tuple[LoadedRecipe, Recipe]:
    """The recipe later commands start from, and the same with this command's dataset and changes."""
    from glta_cli.core.errors import InputError
    from glta_cli.recipe.files import load_recipe, recipe_from
    from glta_cli.recipe.text_switches import without_defaults

    if recipe is not None:
        base = load_recipe(recipe)
        if dataset not in (None, base.recipe.dataset.name):
            raise InputError(
                f"the recipe is about {base.recipe.dataset.name}, not {dataset}",
                location=recipe,
                hint="leave out one of the two",
            )
        section = base.recipe.dataset.model_dump(mode="json")
    elif dataset is not None:
        base = recipe_about(dataset)
        about = base.recipe.dataset.name == dataset
        section = base.recipe.dataset.model_dump(mode="json") if about else {"name": dataset}
    else:
        raise InputError("which dataset?", location="glta prepare", hint="name one of `glta plugins --kind dataset`")
    return base, recipe_from(
        {**without_defaults(base.recipe.model_dump(mode="json"), base.recipe), "dataset": section}, changes
    )


def _next_command(base: LoadedRecipe, resolved: Recipe, data_dir: Path | None) -> str:
    """The command that trains on exactly this dataset: the base recipe and what differs from it."""
    from glta_cli.core.printable import shell_word
    from glta_cli.data.preparation import loader_of, needs_source

    words = ["glta", "pretrain-graph"]
    if base.name != DEFAULT_RECIPE:
        words += ["--recipe", base.name if base.path is None or _is_shipped(base) else str(base.path)]
    changed = changed_settings(base.recipe.dataset, resolved.dataset)
    if not needs_source(loader_of(resolved.dataset)):
        # The later stages find what was prepared from the local copy without it.
        changed.pop("source", None)
    words += set_words(changed)
    if changed:
        words += ["--run", _run_of_its_own(base, resolved)]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return " ".join(map(shell_word, words))


def _run_of_its_own(base: LoadedRecipe, resolved: Recipe) -> str:
    """A name for the run on data that are not the recipe's own, whose run they would replace."""
    name, source = resolved.dataset.name, resolved.dataset.source
    if name == base.recipe.dataset.name:
        return f"{base.name}-2"  # the same data, cleaned or split in another way
    stem = Path(source).name.partition(".")[0] if source else ""
    return re.sub(r"\W+", "-", stem).strip("-") or name


def _is_shipped(base: LoadedRecipe) -> bool:
    from glta_cli.recipe.files import shipped_recipes

    return base.path is not None and shipped_recipes().get(base.name) == base.path
