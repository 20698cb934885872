"""`glta init`: look at a user's own files, and write a recipe for them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from glta_cli.commands.options import DataDirOption, JsonOption, local_source
from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say, show_json, show_text

if TYPE_CHECKING:
    from glta_cli.core.downloads import Downloads
    from glta_cli.plugin import DatasetLook

# Settings of the loader that have an option of their own here; the others go by --option.
COLUMNS = ("user", "item", "timestamp", "rating", "title", "description")

# Of a folder, files that are looked at for a hint: a log is among the first, or nobody waits for it.
_MOST_TRIED: Final = 3
_LOG_HINT: Final = "LOG is a file, a folder of parts or a pattern such as 'log/*.csv'"


def _column(of: str) -> Any:
    return typer.Option(metavar="COLUMN", help=f"The column of {of}, where it is not found.")


def init(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A row an interaction: file, folder of parts, pattern.")],
    items: Annotated[str | None, typer.Argument(metavar="[ITEMS]", help="The items' titles and descriptions.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The recipe to write; never over a file.")
    ] = Path("shop.yaml"),
    user: Annotated[str | None, _column("users")] = None,
    item: Annotated[str | None, _column("items")] = None,
    timestamp: Annotated[str | None, _column("times")] = None,
    rating: Annotated[str | None, _column("ratings")] = None,
    title: Annotated[str | None, _column("titles in ITEMS")] = None,
    description: Annotated[str | None, _column("further text in ITEMS")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Another setting of the loader, such as timestamp_format=%d/%m/%Y."),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at your own files and write a recipe that runs.

    Which column is user, item, time and so on, the format and the settings stand in it with an example or a reason
    behind each; correct what is wrong.

    Example: glta init log.csv products.csv -o shop.yaml
    """
    # What is plainly not there is told before anything is loaded, the log first: without it no name helps.
    _require_there(log)
    if items is not None:
        _require_items_there(items, log)
    _require_free(output)
    from rich.markup import escape

    from glta_cli.core.terminal import nothing_on_stdout
    from glta_cli.data.first_recipe import dropped_rows, next_command, recipe_for, seen
    from glta_cli.stages.first_estimate import time_line
    from glta_cli.stages.machine_defaults import has_gpu
    from glta_cli.workspace.workspace import Workspace

    columns = (user, item, timestamp, rating, title, description)
    named = {key: column for key, column in zip(COLUMNS, columns, strict=True) if column is not None}
    with nothing_on_stdout():
        log = local_source(log, Workspace(data_dir))
        look = _looked(log, items, named, option or [], data_dir)
        text = recipe_for(look, log, output, gpu=has_gpu())
        takes = time_line(look, text, Workspace(data_dir))
        command, _, settings = text.partition("\n")
        told = textwrap.fill(takes, 78, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        text = f"{command}\n{told}\n{settings}"
    _write(output, text)
    if look.told_by is not None:
        rows = counted(look.files[0].rows or 0, "row")
        say(f"looked at the first {look.told_by:,} of {rows} to tell what the columns are")
    for warning in look.raw.warnings:
        say(f"[yellow]warning:[/] {escape(warning)}")
    for reason, (count, example) in dropped_rows(look).items():
        say(escape(f"dropped: {reason} {count:,}, such as {example}"))
    if as_json:
        show_json({"recipe": str(output), **seen(look), "takes": takes, "next": next_command(look, output)})
    else:
        show_text(text.rstrip())
    say(f"written: {escape(str(output))}")
    say(f"next: [bold]{escape(next_command(look, output))}[/]")


def _looked(
    log: str, items: str | None, named: dict[str, str], option: list[str], data_dir: Path | None
) -> DatasetLook:
    from glta_cli.core.downloads import Downloads
    from glta_cli.data.first_recipe import LOADER, look_at
    from glta_cli.recipe.files import recipe_from
    from glta_cli.workspace.workspace import Workspace

    changes = [f"dataset.options.{text}" for text in option]
    downloads = Downloads(Workspace(data_dir).folder("downloads"))
    try:
        resolved = recipe_from({"dataset": {"name": LOADER, "options": named}}, changes)
        return look_at(log, items, resolved.dataset.options, downloads)
    except InputError as error:
        if items is not None and "known as user" in error.problem and _is_log(items, downloads):
            error.hint = f"{items} has the columns of a log: name the log first, as in glta init {_words(items, log)}"
        elif (
            items is None
            and error.problem.startswith("no column ")
            and (apart := _apart(log, error.location, downloads))
        ):
            error.hint = f"not all files there are parts of one log: name log and items apart, as in glta init {apart}"
        elif error.hint is not None:
            error.hint = _as_options_here(error.hint)
        raise


def _is_log(path: str, downloads: Downloads) -> bool:
    """Whether a file alone has the columns of a log; a large one is not read to tell."""
    from glta_cli.data.first_recipe import LARGE_BYTES, look_at

    try:
        if not Path(path).expanduser().is_file() or Path(path).expanduser().stat().st_size >= LARGE_BYTES:
            return False
        look_at(path, None, {}, downloads)
    except (InputError, OSError):
        return False
    return True


def _apart(folder: str, location: str | None, downloads: Downloads) -> str | None:
    """The log in a folder and the file of items there, as words of a command; None where it holds parts alone."""
    path, stranger = Path(folder).expanduser(), Path((location or "").rpartition(":")[0])
    if not path.is_dir() or not stranger.is_file():
        return None
    others = [each for each in sorted(path.iterdir()) if each != stranger]
    logs = (each for each in others[:_MOST_TRIED] if _is_log(str(each), downloads))
    log = next(logs, None)
    if log is None or not _describes(stranger, log, downloads, alone=len(others) == 1):
        return None
    return _words(str(log), str(stranger))


def _describes(items: Path, log: Path, downloads: Downloads, *, alone: bool) -> bool:
    """Whether a file without users describes items: one more part may call its users by a word nobody knows.

    Args:
        alone: whether there are no files but these two.
    """
    from glta_cli.data.first_recipe import LARGE_BYTES, look_at

    try:
        if items.stat().st_size >= LARGE_BYTES:
            return False
        bought, described = look_at(str(log), str(items.absolute()), {}, downloads).files
    except (InputError, OSError):
        return False
    if any(column.role in ("title", "description") for column in described.columns):
        return True
    of_rows = {column.name for column in bought.columns if column.role != "item"}
    return alone and not any(column.name in of_rows for column in described.columns)


def _words(*names: str) -> str:
    from glta_cli.core.printable import shell_word

    return " ".join(map(shell_word, names))


def _as_options_here(hint: str) -> str:
    """`-o item=COLUMN` of `glta prepare` as `--item COLUMN`: here `-o` is the file to write, and the source is LOG."""

    def here(found: re.Match[str]) -> str:
        return f"--{found[1]} " if found[1] in COLUMNS else f"--option {found[1]}="

    hint = hint.replace("with --source", "as LOG")
    if hint.startswith("--source"):
        hint = _LOG_HINT
    return re.sub(r"(?<![\w-])-o (\w+)=", here, hint)


def _require_there(log: str) -> None:
    """Raise `InputError` where a log that is a plain name is not there; others are looked for with what reads them."""
    try:
        if set(log) & set("*?[") or log == "-" or "://" in log or not log.strip() or Path(log).expanduser().exists():
            return
    except (OSError, ValueError, RuntimeError):
        return
    raise InputError("no such file or folder", location=log[:300], hint=_LOG_HINT)


def _require_items_there(items: str, log: str) -> None:
    """Raise `InputError` where the second file is neither in the folder worked in nor beside the first.

    What lies beside the first part of a pattern is found by what reads them.
    """
    try:
        if set(log) & set("*?["):
            return
        path, first = Path(items).expanduser(), Path(log).expanduser()
        beside = (first if first.is_dir() else first.parent) / path
        if items == "-" or "://" in items or not items.strip() or path.exists() or beside.exists():
            return
    except (OSError, ValueError, RuntimeError):
        return
    hint = "ITEMS is the file with the items' titles and descriptions; it may be left out"
    raise InputError("no such file", location=items[:300], hint=hint)


def _require_free(target: Path) -> None:
    try:
        if target.is_dir():
            raise InputError("is a folder", location=str(target), hint="name the file to write, such as shop.yaml")
        if target.exists() or target.is_symlink():
            free = _free_name(target)
            raise InputError("exists already", location=str(target), hint=f"choose another name, such as -o {free}")
        if not target.parent.is_dir():
            raise InputError("no such folder", location=str(target.parent), hint=f"mkdir -p {target.parent}")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", location=str(target)) from error


def _free_name(target: Path) -> Path:
    numbered = (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in range(2, 1 << 31))
    return next(path for path in numbered if not path.exists())


@contextmanager
def _whole_or_none(target: Path) -> Iterator[None]:
    """Take away what could not be finished, such as on a full disk."""
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(target: Path, text: str) -> None:
    try:
        # Not over a file that came to be since it was looked for.
        with target.open("xb") as file, _whole_or_none(target):
            file.write(text.encode())
            file.flush()
    except FileExistsError as error:
        hint = f"choose another name, such as -o {_free_name(target)}"
        raise InputError("exists already", location=str(target), hint=hint) from error
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", location=str(target)) from error
