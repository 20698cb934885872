"""What `glta prepare` shows of a dataset: what came in, what was taken of it, and what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.data.prepared import PreparedDataset

# Of an example and of a column's name, so that a row keeps within 80 columns.
_LONGEST = 40
_MARKS = {"\t": "tabs", " ": "blanks"}
_ABOUT_ITEMS = {
    "unmet": "of them met by nobody yet",
    "without_text": "of them without a text",
    "only_in_item_file": "texts of no item here",
}


def show_account(prepared: PreparedDataset) -> None:
    """The files with their columns, then the counts: of what 0.1 prepared, the counts alone."""
    from rich.console import Group
    from rich.markup import escape

    from glta_cli.core.terminal import show_table

    account = prepared.account
    files = [_of_file(file) for file in account["files"]] if account is not None else []
    columns = [] if account is None else [escape(line) for line in _column_lines(account)]
    show_table(Group(*files, *columns, *([""] if columns else []), _of_counts(prepared)))


def _column_lines(account: Mapping[str, Any]) -> Iterator[str]:
    """The columns of items to choose by, each with its kind, and those not kept; nothing where none were looked for."""
    from glta_cli.core.counts import first_of
    from glta_cli.core.printable import printable

    columns = account.get("columns", {"kept": {}, "left_out": {}})
    for label, told in (("for --where", columns["kept"]), ("not for --where", columns["left_out"])):
        if told:
            yield f" {label}: {first_of([f'{_short(printable(name))} ({why})' for name, why in told.items()])}"


def _of_file(file: Mapping[str, Any]) -> Table:
    """A line on the file, and a row a column: what it is taken for, its name, an example."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{file['file']}: {_form(file)}"), show_header=False, box=None, pad_edge=True)
    for justify in ("left", "left", "left"):
        table.add_column(justify=justify)
    roles = {None: "ignored", "filter": "for --where"}
    taken = [column for column in file["columns"] if column["role"] is not None]
    ignored = [column for column in file["columns"] if column["role"] is None]
    empty = [column["name"] for column in ignored if column["example"] is None]
    for column in [*taken, *(column for column in ignored if column["example"] is not None)]:
        example = "nothing in it" if column["example"] is None else f"such as {_short(column['example'])}"
        table.add_row(*map(escape, (roles.get(column["role"], column["role"]), _short(column["name"]), example)))
    if empty:
        table.add_row("ignored", escape(_short(", ".join(empty))), "nothing in it" if len(empty) == 1 else "all empty")
    return table


def _form(file: Mapping[str, Any]) -> str:
    from glta_cli.core.counts import counted

    form = dict(file["form"])
    told = [form.pop("format", "")]
    if "separator" in form:
        mark = form.pop("separator")
        told.append(f"{_MARKS.get(mark, repr(mark))} between fields")
    if "parts" in form:
        told.append(f"the first of {form.pop('parts')} parts")
    if "decimal" in form:
        told.append("decimal comma" if form.pop("decimal") == "," else "")
    told += form.values()
    if file["rows"] is not None:
        told.append(counted(file["rows"], "row"))
    return ", ".join(part for part in told if part)


def _of_counts(prepared: PreparedDataset) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{prepared.name}, prepared"), show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, told in _counts(prepared):
        table.add_row(escape(name), escape(told))
    return table


def _counts(prepared: PreparedDataset) -> Iterator[tuple[str, str]]:
    summary, account = prepared.summary(), prepared.account
    read = None if account is None else account["rows"]["read"]
    if read is not None:
        yield "rows read", f"{read:,}"
    for reason, count in summary["dropped"].items():
        yield f"dropped: {reason}", f"{count:,}" + ("" if read is None else f" ({_share(count / read)})")
    if not summary["dropped"]:
        yield "dropped", "nothing"
    if "added_up" in summary:
        yield "repeated, added up", f"{summary['added_up']:,}"
    yield "interactions", f"{summary['interactions']:,}"
    if account is not None and account["times"] is not None:
        yield "first date (UTC)", account["times"]["first"]
        yield "last date (UTC)", account["times"]["last"]
        if account["times"]["far"]:
            yield "dates far from these", f"{account['times']['far']:,}"
    yield "users", f"{summary['users']:,}"
    yield "items", f"{summary['items']:,}"
    for key, told in _ABOUT_ITEMS.items():
        if account is not None and account["items"][key]:
            yield told, f"{account['items'][key]:,}"
    yield "density", f"{summary['density']:.4%}"
    yield from _weighing(summary)
    for name, count in summary["split"].items():
        yield name, f"{count:,}"


def _weighing(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is told of events and weights, where the source has any."""
    from glta_cli.core.counts import counted

    for event, rows in summary.get("events", {}).items():
        weight = "left out" if rows["weight"] is None else f"{rows['weight']:g} each"
        seen = ", keeps items out" if "seen" in summary and rows["seen"] else ""
        yield f"event {event}", f"{counted(rows['rows'], 'row')}, {weight}{seen}"
    if "weights" in summary:
        weights = summary["weights"]
        yield "weight of an interaction", f"{weights['least']:g} to {weights['most']:g}, mean {weights['mean']:.3g}"
    if "seen" in summary:
        yield "interactions that keep items out", f"{summary['seen']:,}"


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
