"""The columns of a user's own file: those that are named, and those whose names say what they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from glta_cli.plugin import InputError, did_you_mean
from glta_datasets.categories import categories
from glta_datasets.columns import found_column, listed, looks_like_data, without_header
from glta_datasets.joined_times import may_be_joined
from glta_datasets.looking import require_certain_item
from glta_datasets.opened_tables import Wanted
from glta_datasets.records import Records
from glta_datasets.roles import COMMON_NAMES, INTERACTION_ROLES, may_mean, plain_name
from glta_datasets.settings import TableSettings


def column_of(
    records: Records,
    path: Path,
    role: str,
    wanted: str | None,
    *,
    option: str | None = None,
    likely: str | None = None,
    header: bool = True,
) -> str | None:
    """The column named in the options, or the one with a common name; None when there is neither.

    Args:
        option: what the option is called, where it is not called as the role is.
        likely: the name to look for first, where none is wanted.
        header: whether the columns have names of their own.

    Raises:
        InputError: the one that is wanted is not there, or `id` may be the item and another column too.
    """
    columns = records.frame.columns
    if wanted is None:
        if likely is not None and likely in columns:
            return likely
        plain = {plain_name(column): column for column in reversed(columns)}
        name = next((name for name in COMMON_NAMES[role] if name in plain), None)
        if name == "id":
            require_certain_item(records.frame, path, option or role)
        return None if name is None else plain[name]
    found = found_column(wanted, columns)
    if found is None and header and looks_like_data(columns):
        raise without_header(columns, str(path), numbered="header" if option is None else "items_header")
    if found is None:
        raise InputError(
            f"no column '{wanted}'; the columns are {listed(columns)}",
            location=f"{path}:1",
            hint=did_you_mean(wanted, columns) or f"-o {option or role}=COLUMN names one of them",
        )
    return found


def require_columns(
    records: Records,
    path: Path,
    names: Mapping[str, str | None],
    roles: Sequence[str],
    *,
    option: str | None = None,
    header: bool = True,
) -> None:
    """Raise `InputError` where no column has one of these roles.

    Args:
        names: the columns by their roles.
        option: what the option is called, where it is not called as the role is.
        header: whether the columns have names of their own.
    """
    missing = [role for role in roles if names[role] is None]
    if not missing:
        return
    columns = records.frame.columns
    if header and looks_like_data(columns):
        such_as = "item,title,description" if option else "user,item,rating,timestamp"
        raise without_header(columns, str(path), such_as, numbered="items_header" if option else "header")
    ways = " ".join(f"-o {option or role}={_likely(role, columns)}" for role in missing)
    raise InputError(
        f"no column is known as {' or '.join(missing)}; the columns are {listed(columns)}",
        location=f"{path}:1",
        hint=f"name {'it' if len(missing) == 1 else 'them'}: {ways}"
        + ("; or name what stands between the fields: -o separator=';'" if len(columns) == 1 else ""),
    )


def _likely(role: str, columns: Sequence[str]) -> str:
    """The only column whose name may mean this; else what stands for any."""
    found = [column for column in columns if role in ("user", "item") and may_mean(role, column)]
    return shlex.quote(found[0]) if len(found) == 1 else "COLUMN"


def shadowed(records: Records, names: Mapping[str, str | None]) -> list[str]:
    """A sentence for each column that may as well have been meant."""
    told = []
    for role, chosen in names.items():
        alike = [c for c in records.frame.columns if chosen and c != chosen and plain_name(c) == plain_name(chosen)]
        if alike:
            told.append(f"column '{chosen}' is taken as {role}, not '{alike[0]}': -o {role}=COLUMN chooses")
    return told


def wanted_columns(options: TableSettings) -> Wanted:
    """The columns of a log that may be something in it: those that are named, and those whose names may say it."""
    named = {role: getattr(options, role) for role in INTERACTION_ROLES}
    every = [name for one in named.values() for name in ([one] if isinstance(one, str) else one or ())]
    kinds: dict[str, pl.DataType] = {}

    def may_be(column: str) -> bool:
        usual = any(plain_name(column) in COMMON_NAMES[role] for role in INTERACTION_ROLES)
        return usual or may_be_joined(column) or any(found_column(name, [column]) for name in every)

    def ids(column: str) -> pl.DataType | None:
        chosen = [role for role, name in named.items() if isinstance(name, str) and found_column(name, [column])]
        roles = chosen or [role for role in INTERACTION_ROLES if plain_name(column) in COMMON_NAMES[role]]
        if not roles or not {"user", "item"}.issuperset(roles):
            return None
        return kinds.setdefault(column, categories())

    return Wanted(may_be, ids)
