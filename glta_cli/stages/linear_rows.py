"""Which linear rows a run's linear term is chosen from: those a recipe names, or those that suit the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError
from glta_cli.core.process_memory import available_memory
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.registry import installed
from glta_cli.recipe.fused_terms import linear_names
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import encoder_needs_text_vectors, reads_text, require_reader, text_reader
from glta_cli.stages.baseline_memory import bytes_to_fit
from glta_cli.stages.fitted_baselines import (
    MadeBaseline,
    made_baseline,
    require_term,
    uses_seed,
    without_scoring_defaults,
)
from glta_cli.stages.texts import require_text

TERMS: Final = "fusion.terms"
# Solved for all items at once; those the plugins of this machine have.
SOLVED: Final = ("ease", "ease-text", "l3ae", "add-ease")
# In a catalogue of more than so many items these are made of one solution, which is kept while they follow one another.
SOLVED_TOGETHER: Final = ("ease", "l3ae", "add-ease")
TOGETHER_BEYOND: Final = 10_000
# What takes their place where they do not fit: EASE at low rank, whose memory grows with the items, not their pairs;
# the second one where item texts are read.
LOW_RANK: Final = ("elsa", "elsa-text")
# Tried beside them, and where there is nothing that is solved for: a sort of a row of similarities for each item, which
# beyond so many items lasts for hours.
SPARSE: Final = "item-knn"
MOST_SORTED: Final = 150_000
# While they are fitted: a Gram matrix of double precision, whose solution the next of them may find, and the weights.
# Where they are read again while it is kept, their file is mapped too: 4 bytes more that the system takes back at will.
BYTES_A_PAIR: Final = 12
# A fit takes I³ operations: an hour of two processors at so many items, and eight at twice as many.
MOST_SOLVED: Final = 40_000


@dataclass(frozen=True)
class TriedRows:
    """What `auto` comes to for some data on this machine.

    Attributes:
        names: of the rows to try, in order.
        left_out: why rows go untried that a smaller catalogue, or a reader of texts, would have; "" for none.
    """

    names: tuple[str, ...]
    left_out: str = ""


def may_read_texts(recipe: Recipe) -> bool:
    """Whether one of the rows that may be tried asks for the vectors of item texts, and there is what reads them."""
    return any(installed().find("baseline", name).needs_text_vectors() for name in possible_names(recipe))


def possible_names(recipe: Recipe) -> tuple[str, ...]:
    """Of all rows that may be tried, whatever the data: those named, or those that `auto` chooses from."""
    names = linear_names(recipe)
    if names is not None:
        return names
    known = [name for name in SOLVED if _is_installed(name)]
    return (*(name for name in known if _texts_are_read(recipe) or not _asks_for_texts(name)), SPARSE)


def tried_rows(recipe: Recipe, user_count: int, item_count: int, *, has_text: bool) -> TriedRows:
    """The rows to try for so many users and a catalogue of so many items.

    What takes the place of others is none of `possible_names`: it is chosen by size alone, and what was published
    before it could be is found again.

    Raises:
        GltaError: a row that is named needs more memory than there is.
    """
    bytes_needed, free = BYTES_A_PAIR * item_count**2, available_memory()
    short = free is not None and bytes_needed > free
    names = linear_names(recipe)
    if names is not None:
        for name in names:
            needed = row_bytes(name, user_count, item_count)
            if needed is not None and free is not None and needed > free:
                raise _too_large(name, needed, free, item_count)
        return TriedRows(_those_together_first(names, item_count))
    solved = tuple(
        name for name in possible_names(recipe) if name != SPARSE and (has_text or not _asks_for_texts(name))
    )
    if not solved or (not short and item_count <= MOST_SOLVED):
        return TriedRows(_those_together_first(solved, item_count) or (SPARSE,), _unread(recipe) if has_text else "")
    why = f"take {_gigabytes(bytes_needed)} GB while fitted to {counted(item_count, 'item')}, and "
    why += f"{_gigabytes(free)} GB are free" if short else f"hours beyond {MOST_SOLVED:,}"
    names = _in_their_place(item_count, free, reads_texts=any(map(_asks_for_texts, solved)))
    return TriedRows(names, f"{' and '.join(solved)} {why}: {' and '.join(names)} in their place")


def row_bytes(name: str, user_count: int, item_count: int) -> int | None:
    """What the fit of a row takes with its default settings; None where it does not say."""
    if name in SOLVED:
        return BYTES_A_PAIR * item_count**2
    return bytes_to_fit(made_baseline(name, {}), user_count, item_count)


def _too_large(name: str, needed: int, free: int, item_count: int) -> GltaError:
    asks = _asks_for_texts(name)
    others = [other for other in _in_their_place(item_count, free, reads_texts=asks) if other != name]
    others.sort(key=lambda other: _asks_for_texts(other) != asks)  # one that reads what it reads, if there is one
    automatic = f"leave it to --set {TERMS}=auto"
    return GltaError(
        f"{name} takes {_gigabytes(needed)} GB while it is fitted to {counted(item_count, 'item')}, of which "
        f"{_gigabytes(free)} GB are free",
        location=TERMS,
        hint=f"name {others[0]} in its place, or {automatic}" if others else automatic,
    )


def _in_their_place(item_count: int, free: int | None, *, reads_texts: bool) -> tuple[str, ...]:
    """What is fitted to a catalogue in place of rows that do not fit.

    Args:
        reads_texts: whether rows that ask for the vectors of item texts are among those.
    """
    known = [name for name in LOW_RANK if _is_installed(name) and (reads_texts or not _asks_for_texts(name))]
    fitting = tuple(name for name in known if _fits(name, item_count, free))
    return (*fitting, SPARSE) if item_count <= MOST_SORTED or not fitting else fitting


def _fits(name: str, item_count: int, free: int | None) -> bool:
    needed = bytes_to_fit(made_baseline(name, {}), 0, item_count)
    return needed is None or free is None or needed <= free


def low_rank_step(names: Sequence[str], item_count: int) -> float:
    """Operations of a step of those of the rows that are of low rank: products of factors, there and back."""
    factors = (int(made_baseline(name, {}).settings.model_dump()["factors"]) for name in names if name in LOW_RANK)
    return sum(3.0 * item_count * size**2 for size in factors)


def times_solved(names: Sequence[str], item_count: int) -> int:
    """How many of the rows are solved for by themselves; those that share a solution count as one."""
    solved = [name for name in names if name in SOLVED]
    if item_count <= TOGETHER_BEYOND:
        return len(solved)
    together = [name for name in solved if name in SOLVED_TOGETHER]
    return len(solved) - len(together) + min(1, len(together))


def require_rows(recipe: Recipe, prepared: PreparedDataset) -> None:
    """Raise `InputError` where a row that is named cannot be kept in an index, or lacks the texts it needs."""
    for number, name in enumerate(linear_names(recipe) or ()):
        require_term(name, f"{TERMS}.{number}")
        if _asks_for_texts(name):
            require_text(prepared, f"the linear row '{name}'", f"{TERMS}=auto")
            require_reader(recipe, f"the linear row '{name}'", f"leave it out: --set {TERMS}=auto")


def candidates_of(names: Sequence[str], *, in_time: bool) -> list[MadeBaseline]:
    """The rows with their default settings; where the split is in time, with every weight of older items too."""
    return [made_baseline(name, older) for name in names for older in _weighed(name, in_time=in_time)]


def candidate_count(names: Sequence[str], *, in_time: bool) -> int:
    """How many candidates the rows come to; makes none of them."""
    return sum(len(_weighed(name, in_time=in_time)) for name in names)


def _weighed(name: str, *, in_time: bool) -> Sequence[Mapping[str, Any]]:
    """The weights of older items to try."""
    return (installed().find("baseline", name).time_candidates() if in_time else []) or [{}]


def content_of(candidates: Sequence[MadeBaseline], seed: int) -> dict[str, Any]:
    """Plain values that change with whatever the candidates are, and the seed where one of them draws by it."""
    content = [
        [
            made.name,
            component_identity(made.component),
            without_scoring_defaults(made, made.settings.model_dump(mode="json")),
        ]
        for made in candidates
    ]
    return {"candidates": content, **({"seed": seed} if any(map(uses_seed, candidates)) else {})}


def _those_together_first(names: Sequence[str], item_count: int) -> tuple[str, ...]:
    """The rows in order, those that share a solution one after the other."""
    return tuple(sorted(names, key=lambda name: item_count > TOGETHER_BEYOND and name not in SOLVED_TOGETHER))


def _unread(recipe: Recipe) -> str:
    """Which rows go untried because nothing reads the item texts, and what would; "" where they are read."""
    names = [name for name in SOLVED if _is_installed(name) and _asks_for_texts(name)]
    if not names or _texts_are_read(recipe):
        return ""
    return f"nothing reads the item texts: --set text.backbone=minilm tries {', '.join(names)} too"


def _is_installed(name: str) -> bool:
    return any(component.name == name for component in installed().of_kind("baseline"))


def _asks_for_texts(name: str) -> bool:
    return installed().find("baseline", name).needs_text_vectors()


def _texts_are_read(recipe: Recipe) -> bool:
    """Whether the run has item texts read anyway, or names what reads them: no language model is fetched for a row."""
    read = recipe.finetune.enabled or recipe.text.backbone is not None or encoder_needs_text_vectors(recipe)
    return read and reads_text(text_reader(recipe))


def _gigabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.1f}"
