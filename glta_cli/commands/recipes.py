"""`glta recipes`: list, show, validate and copy recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands import completion
from glta_cli.commands.options import DEFAULT_RECIPE, JsonOption
from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.core.printable import shell_word, visible
from glta_cli.core.terminal import say, show_json, show_table, show_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A shipped recipe or a YAML file.", autocompletion=completion.recipes),
]

recipes = typer.Typer(rich_markup_mode=None)


@recipes.callback(invoke_without_command=True)
def list_recipes(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the shipped recipes, or show, validate and copy one.

    Example: glta recipes
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise InputError(
                f"is an option of the list, not of `{context.invoked_subcommand}`",
                location="--json",
                hint=f"`glta recipes {context.invoked_subcommand} --help` shows what may stand after it",
            )
        return
    from glta_cli.recipe.files import describe_first_line, describe_purpose, read_recipe, shipped_recipes

    found = [
        {
            "name": name,
            "dataset": recipe.dataset.name,
            "encoder": recipe.graph.encoder,
            "backbone": recipe.backbone.name if recipe.finetune.enabled else None,
            "about": describe_purpose(path),
            "command": describe_first_line(path),
        }
        for name, path in shipped_recipes().items()
        for recipe in [read_recipe(path)]
    ]
    if as_json:
        show_json(found)
    else:
        show_table(recipe_table(found))
        say("run one: [bold]glta finetune --recipe NAME[/bold]; read it: [bold]glta recipes show NAME[/bold]")


@recipes.command()
def show(
    name: NameArgument,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With every default filled in, as fits this machine.")
    ] = False,
) -> None:
    """Print a recipe.

    Example: glta recipes show quickstart --resolved
    """
    from glta_cli.commands.options import fitted_to_machine
    from glta_cli.commands.stage import recipe_yaml
    from glta_cli.recipe.files import find_recipe, load_recipe, read_text

    text = recipe_yaml(fitted_to_machine(load_recipe(name), None)) if resolved else read_text(find_recipe(name))
    show_text(text.removesuffix("\n"))


@recipes.command()
def validate(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Shipped recipes or YAML files.", autocompletion=completion.recipes),
    ],
) -> None:
    """Check recipes, and show every problem.

    Keys, values and the settings of the plugins a recipe selects are looked at; nothing is run.

    Example: glta recipes validate mine.yaml
    """
    from glta_cli.recipe.files import load_recipe

    problems: list[GltaError] = []
    for name in names:
        try:
            load_recipe(name)
        except InputErrors as several:
            problems += several.errors
        except InputError as problem:
            problems.append(problem)
        else:
            print(f"{visible(name)}: ok")
    if problems:
        raise InputErrors(problems)


@recipes.command()
def copy(
    name: NameArgument,
    destination: Annotated[
        Path | None, typer.Argument(metavar="[DEST]", help="File or folder; the current folder without it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Copy a recipe, to change it.

    Example: glta recipes copy quickstart mine.yaml
    """
    from glta_cli.core.files import write_bytes
    from glta_cli.recipe.files import find_recipe, read_text

    source = find_recipe(name)
    first, newline, rest = read_text(source).partition("\n")
    target = destination or Path()
    try:
        if target.is_dir():
            target /= source.name
        if target.exists() and not force:
            other = target.with_name(f"my-{target.name}")
            hint = f"choose another name, such as {other}, or --force overwrites it"
            raise InputError("exists already", location=str(target), hint=hint)
        if not target.parent.is_dir():
            hint = f"mkdir -p {shell_word(str(target.parent))}"
            raise InputError("no such folder", location=str(target.parent), hint=hint)
        if target.exists() and not target.is_file():
            raise InputError("is no file", location=str(target), hint="name the file to write")
        write_bytes(target, (_naming_copy(first, target) + newline + rest).encode())
    except OSError as error:
        # A folder that may not be written, a name too long, a full disk.
        raise InputError(f"cannot be written: {error.strerror}", location=str(target), hint=HOW_TO_WRITE) from error
    show_text(str(target))
    say("next: change it, then [bold]glta recipes validate[/bold] it; its first line runs it")


HOW_TO_WRITE = "name a file in a folder of your own"


def _naming_copy(first_line: str, target: Path) -> str:
    """The first line is the command that runs the recipe: of a copy, the copy."""
    command, option, _ = first_line.partition("--recipe ")
    return f"{command}{option}{target}" if option else first_line


def recipe_table(found: Iterable[dict[str, Any]]) -> Table:
    """Name, what it is for with its dataset and model below, the first to be tried first."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("recipe", style="cyan", no_wrap=True)
    table.add_column("what it is for")
    for row in sorted(found, key=lambda row: row["name"] != DEFAULT_RECIPE):
        model = f"{row['backbone']} with {row['encoder']}" if row["backbone"] else f"{row['encoder']} alone"
        data = escape(f"{row['dataset']}: {model}")
        table.add_row(escape(row["name"]), f"{escape(row['about'])}\n[dim]{data}[/]")
    return table
