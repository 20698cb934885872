"""Stage `fit-linear`: the linear row that ranks validation items best, as item-item weights an index can keep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from glta_cli.core.errors import InputError
from glta_cli.core.files import fingerprint
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin import LinearTerm, LowRankTerm, Term
from glta_cli.ranking.selection import SELECTION_METRIC, quality_of
from glta_cli.recipe.fused_terms import linear_names
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.linear_term import weights_of, write_linear_term
from glta_cli.serving.term_scores import term_scorer
from glta_cli.stages.baseline_checks import checked_term
from glta_cli.stages.context import StageContext
from glta_cli.stages.fitted_baselines import (
    FittedBaseline,
    FittingGround,
    MadeBaseline,
    descent_of,
    fitted_on,
    fitting_settings,
    learnt_now,
    made_baseline,
    needs_text_vectors,
)
from glta_cli.stages.kept_weights import FLOAT, MOST_BYTES, as_kept
from glta_cli.stages.linear_rows import (
    TERMS,
    candidates_of,
    content_of,
    may_read_texts,
    possible_names,
    require_rows,
    tried_rows,
)
from glta_cli.stages.stage import Stage, dealt_texts
from glta_cli.stages.validation_search import Candidate, Trial, best_of, searched
from glta_cli.workspace.artefact import Artefact

WHOLE = f"{SELECTION_METRIC} whole"


class FitLinear(Stage):
    """The linear term: of the rows that may be it, with their default settings, the best on validation.

    Where the split is in time, what older items weigh is chosen with it. What is published is what an index keeps and
    an evaluation ranks by: all weights or, of a large catalogue, the largest of each item.
    """

    name = "fit-linear"
    inputs = ("prepare",)

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether a linear row may take part in the score.

        Raises:
            InputError: a row the recipe names cannot, or lacks item texts.
        """
        require_rows(recipe, prepared)
        return linear_names(recipe) != ()

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        return (*self.inputs, "encode-items") if may_read_texts(recipe) else self.inputs

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        in_time = recipe.dataset.split.in_time
        possible = candidates_of(possible_names(recipe), in_time=in_time)
        return {**content_of(possible, recipe.seed), **dealt_texts(recipe)}

    def bytes_to_write(self, context: StageContext) -> int:
        return min(FLOAT * context.prepared.item_count**2, MOST_BYTES)

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        if context.selected is not None:
            return _fitted_again(context, context.selected[self.name], state_folder, folder)
        prepared = context.prepared
        users, items = prepared.user_count, prepared.item_count
        rows = tried_rows(context.recipe, users, items, has_text=prepared.has_text)
        if rows.left_out:
            say(f"  {rows.left_out}")
        tried_made = candidates_of(rows.names, in_time=prepared.split_in_time)
        ground = fitting_ground(context)
        candidates = [_candidate(made, ground) for made in tried_made]
        tried = searched("fit linear rows", candidates, prepared, context.workspace, state_folder)
        best = best_of(tried)
        made, found = tried_made[best], tried[best]
        fitted = fitted_on(made, ground)  # as it was in the search, which keeps the best
        stored, details = _as_kept(linear_term(fitted.term(context.train), made.name), context, found[SELECTION_METRIC])
        write_linear_term(folder, stored)
        for line in told_of(made.name, details, len(rows.names), recency=stored.recency):
            say(f"  {line}")
        return {
            **_row_details(made, fitted.chosen, stored),
            **details,
            "learnt": fitted.artefact.fingerprint,
            "tried": [{"row": made.name, **each} for made, each in zip(tried_made, tried, strict=True)],
            **({"left_out": rows.left_out} if rows.left_out else {}),
        }


def fitting_ground(context: StageContext) -> FittingGround:
    """What the rows of a run are fitted on: its own item texts, which may be dealt out at random."""
    prepared = context.prepared
    return FittingGround(
        prepared,
        context.workspace,
        context.device,
        context.recipe.seed,
        vectors=lambda: context.artefacts["encode-items"],
        texts=lambda: context.texts if prepared.has_text else None,
        dealt=dealt_texts(context.recipe),
    )


def linear_term(term: Term, name: str) -> LinearTerm | LowRankTerm:
    """The term, where it is a linear one.

    Raises:
        InputError: it is made of vectors of users, which new interactions would leave behind.
    """
    if isinstance(term, LinearTerm | LowRankTerm):
        return term
    raise InputError(
        f"the baseline '{name}' ranks by a vector of each user, not by item-item weights that any history can be "
        "multiplied with",
        location=TERMS,
        hint="leave it out, or name a linear one: ease, item-knn",
    )


def told_of(row: str, details: dict[str, Any], rows: int, *, recency: float = 1.0) -> Iterator[str]:
    """What was chosen, how well it ranks validation items, and what storing less of it costs.

    Args:
        recency: what it was asked by; told where it is another than that of the fit, which has a figure of its own.
    """
    figure = details[WHOLE] if "kept" in details else details[SELECTION_METRIC]
    among = f", the best of {rows} rows" if rows > 1 else ""
    older = "" if recency == 1 else f" by recency {recency:g}"
    yield f"{escape(row)}: NDCG@10 {figure:.4f} on validation{older}{among}"
    if "kept" in details:
        yield f"stored are the {details['kept']:,} largest weights of each item: {details[SELECTION_METRIC]:.4f}"


def _candidate(made: MadeBaseline, ground: FittingGround) -> Candidate:
    # What is told of a row stands beside its name.
    settings = made.settings.model_dump(mode="json")
    return Candidate(settings, fingerprint([made.name, fitting_settings(made)]), partial(_trial, made, ground))


def _trial(made: MadeBaseline, ground: FittingGround) -> Trial:
    fitted: FittedBaseline = fitted_on(made, ground)
    linear_term(fitted.term(ground.prepared.split("train")), made.name)
    seconds = float(fitted.artefact.manifest["seconds"])
    return Trial(fitted.validation_score, fitted.artefact, fitted.was_there, seconds, fitted.chosen)


def _as_kept(
    term: LinearTerm | LowRankTerm, context: StageContext, figure: float
) -> tuple[LinearTerm | LowRankTerm, dict[str, Any]]:
    """The term as it is stored, and what that comes to on validation.

    Args:
        figure: NDCG@10 of the whole term.
    """
    stored, kept = as_kept(term)
    if kept is None:
        return term, {SELECTION_METRIC: figure}
    quality, known = quality_of(context.prepared), context.prepared.histories_at_validation()
    assert quality is not None, "a row was chosen on validation"
    return stored, {SELECTION_METRIC: quality(term_scorer(stored, known)), "kept": kept, WHOLE: figure}


def _row_details(made: MadeBaseline, chosen: dict[str, Any], term: LinearTerm | LowRankTerm) -> dict[str, Any]:
    """Which row it is, by the settings it was fitted with and all others."""
    return {
        "row": made.name,
        "options": fitting_settings(made) | chosen,
        "settings": made.settings.model_dump(mode="json") | chosen,
        "recency": term.recency,
        "items": weights_of(term).item_count,
    }


def _fitted_again(context: StageContext, selected: Artefact, state_folder: Path, folder: Path) -> dict[str, Any]:
    """The row that was selected, with the settings it had, fitted on everything known."""
    made = made_baseline(selected.details["row"], selected.details["settings"])
    ground = fitting_ground(context)
    descend = descent_of(made, ground, state_folder)
    learnt = learnt_now(made, ground, ground.vectors() if needs_text_vectors(made) else None, descend)
    baseline: Any = made.component.build(made.settings)
    term = linear_term(checked_term(baseline.term(learnt, context.train), made.name, context.train), made.name)
    stored, kept = as_kept(term)
    write_linear_term(folder, stored)
    return {**_row_details(made, {}, stored), **({} if kept is None else {"kept": kept}), **descend.told}
