"""A first recipe for a user's own files: what was seen in them, and settings that fit data and machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from glta_cli.core.counts import counted
from glta_cli.core.downloads import Downloads, is_url
from glta_cli.core.errors import InputError
from glta_cli.core.printable import bounded, shell_word, visible
from glta_cli.core.storage import shown_bytes
from glta_cli.core.terminal import say
from glta_cli.data.account import FILTER
from glta_cli.data.cleaning import incomplete_rows
from glta_cli.data.item_matches import written_otherwise
from glta_cli.data.preparation import loader_of, located
from glta_cli.plugin import DatasetLook, LookingLoader, SeenFile
from glta_cli.plugin.registry import installed
from glta_cli.recipe.automatic import EARLY_EXIT
from glta_cli.recipe.schema import DatasetSettings

LOADER: Final = "table"
LARGE_BYTES: Final = 1 << 28
# Columns of a comment behind a value.
_COMMENT_AT: Final = 30
_LONGEST_EXAMPLE: Final = 60
# Ids of a log that are compared with all described ones: if another writing explains them, it does in these.
_MOST_COMPARED: Final = 1_000


def look_at(log: str, items: str | None, options: Mapping[str, Any], downloads: Downloads) -> DatasetLook:
    """What the loader of a user's own tables sees in a log and a file of item texts.

    Args:
        options: settings of the loader that are settled.

    Raises:
        InputError: a file is missing or cannot be read, or several columns may be the same.
    """
    for name in (log, items):
        if name is not None and is_url(name):
            raise InputError("is an address", location=name, hint="fetch the file first, and name the local one")
        if name is not None and not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError("its name is no text", location=name, hint="rename it: a recipe is UTF-8")
    chosen = dict(options)
    if items is not None:
        chosen["items"] = _named_beside(items, log)
    component = installed().find("dataset", LOADER)
    loader = loader_of(DatasetSettings(name=LOADER, source=log, options=chosen))
    with component.named():
        files = located(loader, log, downloads)
        if not isinstance(loader, LookingLoader):
            raise InputError(
                "cannot look at files", location=f"dataset {LOADER}", hint="write the recipe by hand: glta recipes copy"
            )
        _tell_of_size(files.values())
        look = loader.look(files)
    _require_known_items(look, files)
    return look


def _require_known_items(look: DatasetLook, files: Mapping[str, Path]) -> None:
    """Raise `InputError` where not one item of the log is described."""
    if look.raw.items is None:
        return
    described = look.raw.items.select("item").collect()["item"].drop_nulls()
    met = look.raw.interactions.select(pl.col("item").unique(maintain_order=True)).collect()["item"]
    bought = met.cast(pl.String).drop_nulls()
    if not len(bought) or not len(described) or bought.is_in(described.implode()).any():
        return
    alike = written_otherwise(bought.head(_MOST_COMPARED), described)
    there = next(iter(alike), bought[0])
    here, reason = alike.get(there, (described[0], None))
    hint = "name the columns that hold the same ids: -o item=COLUMN -o items_item=COLUMN"
    if reason is not None:
        hint = f"they differ in {reason} alone: write them alike in the two files"
    raise InputError(
        f"describes no item of the log: '{here}' is one here, '{there}' one there",
        location=str(files.get("items", "the items")),
        hint=hint,
    )


def _tell_of_size(files: Iterable[Path]) -> None:
    """Say beforehand that large files are read to their end."""
    size = sum(path.stat().st_size for path in files)
    if size >= LARGE_BYTES:
        say(f"reading {shown_bytes(size)}: the first rows tell what the columns are, all of them are counted")


def recipe_for(look: DatasetLook, log: str, target: Path, *, gpu: bool) -> str:
    """A recipe with comments that trains on these files as it stands.

    Args:
        log: the source, as the user named it.
        target: the file it will be, for the command in its first line.
        gpu: whether this machine has one.
    """
    lines = [f"# {next_command(look, target)}", "dataset:", f"  name: {LOADER}"]
    lines.append(_line("  source", log, _form(look.files[0])))
    lines += ["  options:", *_options(look)]
    lines += _split(look)
    lines += _settings(texts=_has_texts(look), gpu=gpu)
    return "\n".join(lines) + "\n"


def next_command(look: DatasetLook, target: Path) -> str:
    """The command that recommends to the first user of the log."""
    users = look.raw.interactions.filter(pl.col("user").is_not_null() & pl.col("item").is_not_null())
    user = users.select(pl.col("user").filter(pl.col("user") != "")).head(1).collect()["user"]
    who = shell_word(user[0]) if len(user) else "ID"
    option = f"--user={who}" if who.startswith("-") else f"--user {who}"
    return f"glta recommend {option} --recipe {shell_word(str(target))}"


def dropped_rows(look: DatasetLook) -> dict[str, tuple[int, str]]:
    """By reason, how many rows of the log will be left out, and where the first of them stands.

    Such as the sum at the end of an export, which has no item.
    """
    raw = look.raw
    incomplete, first = incomplete_rows(raw.interactions, keeps_unrated=raw.keeps_unrated)
    places = {} if raw.place_of is None else {reason: raw.place_of(row) for reason, row in first.items()}
    counts = {
        reason: raw.dropped.get(reason, 0) + incomplete.get(reason, 0) for reason in {**raw.dropped, **incomplete}
    }
    return {reason: (count, {**places, **raw.examples}.get(reason, "a row")) for reason, count in counts.items()}


def seen(look: DatasetLook) -> dict[str, Any]:
    """What was seen, for machines."""
    return {
        "files": [
            {
                "path": str(file.path),
                **file.form,
                "columns": [{"name": c.name, "role": c.role, "example": c.example} for c in file.columns],
            }
            for file in look.files
        ],
        "options": dict(look.options),
        "offered": dict(look.offered),
        **({} if look.told_by is None else {"told_by": look.told_by}),
        "events": {event: asdict(rows) for event, rows in look.raw.events.items()},
        "warnings": look.raw.warnings,
        "dropped": {reason: count for reason, (count, _) in dropped_rows(look).items()},
    }


def _named_beside(items: str, log: str) -> str:
    """The second file as the loader finds it: it looks in the folder of the first before the one worked in."""
    path, first = Path(items).expanduser(), Path(log).expanduser()
    folder = first if first.is_dir() else first.parent
    if path.parent.absolute() == folder.absolute():
        return path.name
    return str(path.absolute()) if (folder / path).exists() else str(path)


def _options(look: DatasetLook) -> Iterator[str]:
    told = set()
    for number, file in enumerate(look.files):
        if number:
            yield _line("    items", look.options["items"], _form(file))
            told.add("items")
        for column in file.columns:
            for key in _keys_of(look.options, column.name, number):
                if key not in told:
                    yield _line(f"    {key}", look.options[key], f"such as {_shown(column.example)}")
                if key == "event":
                    yield from _events(look)
                    told |= {"events", "keep", "seen"}
                told.add(key)
        if not number and "weight" in look.offered:
            yield _offered("weight", look.offered["weight"], "a row would count that often; not used unless said")
        ignored = [f"{_shown(c.name)} ({_shown(c.example)})" for c in file.columns if c.role is None]
        kept = [f"{_shown(c.name)} ({_shown(c.example)})" for c in file.columns if c.role == FILTER]
        if kept:
            yield f"    # kept for --where in {_shown(file.path.name)}: {', '.join(kept)}"
        if ignored:
            yield f"    # ignored in {_shown(file.path.name)}: {', '.join(ignored)}"
    reasons = {
        "decimal": "ratings are written with a comma",
        "encoding": "a guess, since the text is not UTF-8: look at letters such as é in the examples",
    }
    for key in [key for key in look.options if key not in told]:
        yield _line(f"    {key}", look.options[key], reasons.get(key, "as named"))


def _events(look: DatasetLook) -> Iterator[str]:
    """What each event counts for, with its rows, and which keep an item out."""
    if "events" in look.options:
        yield f"{'    events:':<{_COMMENT_AT}} # what a row counts for: repeated ones add up"
        for event, weight in look.options["events"].items():
            rows = look.raw.events[event].rows if event in look.raw.events else 0
            remark = look.remarks.get(event)
            yield _line(
                f"      {_scalar(event)}", _whole(weight), counted(rows, "row") + (f"; {remark}" if remark else "")
            )
    for event, rows_of in look.raw.events.items():
        if rows_of.weight is None:
            yield f"{f'      # {_scalar(event)}':<{_COMMENT_AT}} # {counted(rows_of.rows, 'row')}, left out"
    if "keep" in look.options:
        yield _line("    keep", look.options["keep"], "the events whose rows are kept")
    if "seen" in look.options:
        yield _line("    seen", look.options["seen"], "the events that keep an item out of the answers")
    elif "seen" in look.offered:
        yield _offered("seen", look.offered["seen"], "only these keep an item out of the answers; unsaid, all do")


def _offered(key: str, value: Any, comment: str) -> str:
    return _line(f"    # {key}", value, comment)


def _whole(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _keys_of(options: Mapping[str, Any], column: str, file: int) -> list[str]:
    """The options that name a column of the first file, or of the second."""
    log = ("user", "item", "rating", "timestamp", "split", "event", "weight")
    keys = ("items_item", "title", "description") if file else log
    named = {
        key: options[key] if isinstance(options[key], list | tuple) else [options[key]]
        for key in keys
        if key in options
    }
    return [key for key, columns in named.items() if column in columns]


def _split(look: DatasetLook) -> list[str]:
    columns = look.raw.interactions.collect_schema().names()
    if "split" in columns:
        return ["  split:", _line("    strategy", "given", "the log says what is for training and what for the test")]
    if (
        "timestamp" in columns
        and look.raw.interactions.select(pl.col("timestamp").is_not_null().any()).collect().item()
    ):
        return ["  split:", _line("    strategy", "leave-last-out", "there are times: tested on each user's last item")]
    return []


def _settings(*, texts: bool, gpu: bool) -> list[str]:
    lines: list[str] = []
    if not gpu:
        lines += [
            "backbone:",
            _line("  layers", EARLY_EXIT, "no GPU here: an early exit; all 30 take several times as long"),
        ]
    if not texts:
        lines += ["text:", _line("  vectors", False, "items have no texts to make vectors of")]
        lines += ["align:", _line("  enabled", False, "the same: none to align with")]
    if not (texts and gpu):
        reason = "no GPU here: generated words take all layers" if texts else "the same: no texts to write words from"
        lines += ["interests:", _line("  profile", False, reason), _line("  prediction", False, "the same")]
    return lines


def _has_texts(look: DatasetLook) -> bool:
    items = look.raw.items
    if items is None:
        return False
    names = [name for name in ("title", "description") if name in items.collect_schema().names()]
    return any(items.select(pl.col(name).is_not_null().any()).collect().item() for name in names)


def _form(file: SeenFile) -> str:
    form = dict(file.form)
    parts = [form.pop("format", "")]
    if "separator" in form:
        parts.append(f"fields between {_shown(repr(form.pop('separator')))}")
    parts += [f"{key} {_shown(value)}" for key, value in form.items()]
    return ", ".join(part for part in parts if part)


def _line(key: str, value: Any, comment: str) -> str:
    return f"{f'{key}: {_scalar(value)}':<{_COMMENT_AT}} # {comment}"


def _scalar(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1 << 20)
    text = text.removesuffix("\n").removesuffix("\n...")
    # A line break in a name would be one in the recipe.
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text


def _shown(text: str | None) -> str:
    return "nothing" if text is None else bounded(visible(text), _LONGEST_EXAMPLE)
