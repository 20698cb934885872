"""The ladder: what each part of a model adds, the language model above all, by paired tests on one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.markup import escape

from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.core.terminal import nothing_on_stdout, say
from glta_cli.core.threads import compute_with_free_processors
from glta_cli.evaluation.control_rows import OnOtherVectors
from glta_cli.evaluation.evaluate import Measured, RowResults, measure, model_intervals, seeded, seeds_of
from glta_cli.evaluation.fitted_rows import FittedRow
from glta_cli.evaluation.fused_rows import fused_row
from glta_cli.evaluation.ladder_steps import BASE, Ladder, Step, names_in, with_own_linear_row
from glta_cli.evaluation.rows import BaselineRow, Row
from glta_cli.evaluation.tuning import tuned
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.selection import validation_quality
from glta_cli.ranking.significance import sign_flip_probability
from glta_cli.recipe.fused_terms import LINEAR, terms_of
from glta_cli.recipe.schema import EvaluateSettings, Recipe

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

NDCG: Final = "ndcg@10"
RECALL: Final = "recall@20"
CUTOFFS: Final = (10, 20)


@dataclass
class _Base:
    """The linear row that ranks validation items best; of the seed at hand, its scores.

    Attributes:
        figures: validation NDCG@10 of each row that may be it, by the first seed.
    """

    figures: dict[str, float] = field(default_factory=dict)
    row: FittedRow | None = None

    @property
    def name(self) -> str:
        """Of equal ones the first."""
        return max(self.figures, key=self.figures.__getitem__)


@nothing_on_stdout()
def evaluate_ladder(pipeline: Pipeline, ladder: Ladder, settings: EvaluateSettings) -> dict[str, Any]:
    """Rank the test by every rung, each trained or fitted now where it was not before.

    Linear rows come first; the best of them on validation is the base, to which the rungs above add one other term:
    z(base) and z(other), weighed on validation by history length, or one of the two alone where no sum is better. As
    other rows, each is trained from `evaluate.seeds` seeds, and figures are means over them.

    Args:
        pipeline: of a run that is brought up to date.
        ladder: as `require_ladder` found it.

    Returns:
        `metric`, by which rungs are compared; `base`, and validation NDCG@10 of those it was chosen from,
        `base_chosen`; `users` of the test, `seeds`; `rungs`, in order, each with `number`, `name`, `shown`, `ndcg@10`,
        `recall@20`, `interval` of the former, `by_seed`, the number of the rung it is compared with, `against`, the
        `difference` and its two-sided `p` (paired sign flips over users), `fit_seconds`, `settings`, by seed the terms
        of what is `served` and, of sums, the terms and their weights, `sums`; `left_out`: {rung: why}; `set_apart`: how
        linear rungs differ from the run's own linear term, which has its row's defaults: by rung the settings the
        recipe gives, and whether they are `tuned`.

    Raises:
        GltaError: a row cannot be made, or nobody has a validation item.
    """
    compute_with_free_processors()
    settings = settings.model_copy(update={"cutoffs": tuple(sorted({*settings.cutoffs, *CUTOFFS}))})
    ladder = with_own_linear_row(ladder, pipeline)
    _tell_trained(ladder, pipeline)
    rows = {step.name: _chosen(step, pipeline, tune=settings.tune) for step in ladder.steps}
    results: dict[str, RowResults] = {}
    sums: dict[str, list[dict[str, Any]]] = {}
    base = _Base()
    seeds = seeds_of(pipeline.recipe, settings)
    with progress_bar(
        len(seeds) * len(ladder.steps),
        "ladder",
        "rungs",
        around_others=True,
        step="this rung",
        kept="what was trained and fitted is kept",
    ) as bar:
        for seed in seeds:
            own = seeded(pipeline, seed)
            base.row = None
            for step in ladder.steps:
                fitted = _fitted(step, rows[step.name], base, own)
                found = results.setdefault(step.name, RowResults(fitted.settings, fitted.chosen))
                found.add(fitted, found.known(fitted) or _measured(own, settings, fitted.score))
                if step.added:
                    sums.setdefault(step.name, []).append(fitted.settings)
                bar.update(1)
    return _report(pipeline, ladder, base, results, sums, settings)


def _tell_trained(ladder: Ladder, pipeline: Pipeline) -> None:
    """Say what is trained for the ladder alone, which takes longer than all the rest of it."""
    trained = {
        "random-weights": "a second language model, of random weights",
        "transformer": names_in(pipeline, "")["transformer"],
    }
    wanted = [trained[step.name] for step in ladder.steps if step.name in trained]
    if wanted:
        say(f"trained for the ladder, where it was not before: {escape(' and '.join(wanted))}")


def _chosen(step: Step, pipeline: Pipeline, *, tune: bool) -> Row:
    """The rung's row, with what is to be chosen on validation for it: all its grid, or what older items weigh alone.

    The linear term of a run is chosen with that, so that rungs which are to be its equals have it too.
    """
    row = step.row(pipeline)
    if tune:
        return tuned(row, pipeline).row
    return tuned(row.by_time_alone(), pipeline).row if isinstance(row, (BaselineRow, OnOtherVectors)) else row


def _fitted(step: Step, row: Row, base: _Base, pipeline: Pipeline) -> FittedRow:
    """The rung of one seed; a row that may be the base is remembered where it is the best so far."""
    fitted = row.fitted(pipeline)[-1]
    if step.added:
        assert base.row is not None, "linear rungs come first, and EASE needs nothing"
        return fused_row(step.name, base.row, fitted, pipeline)
    if step.may_be_base:
        _consider(base, fitted, pipeline)
    return fitted


def _consider(base: _Base, fitted: FittedRow, pipeline: Pipeline) -> None:
    assert fitted.validation_score is not None, "a baseline ranks by training histories too"
    if fitted.name not in base.figures:
        prepared = pipeline.prepared()
        quality = validation_quality(prepared.split("train"), prepared.split("valid"))
        if quality is None:
            raise GltaError(
                "no user has a validation item, so nothing weighs what is added",
                hint="prepare with a larger validation share",
            )
        base.figures[fitted.name] = quality(fitted.validation_score)
    # Weights between all items are gigabytes: only those of the best so far are held.
    if fitted.name == base.name:
        base.row = fitted


def _measured(pipeline: Pipeline, settings: EvaluateSettings, score: Scorer) -> Measured:
    prepared = pipeline.prepared()
    return measure(score, prepared.split("test"), settings, [], *prepared.masked_at_test())


# ---------------------------------------------------------------------------------------------- the report


def _report(
    pipeline: Pipeline,
    ladder: Ladder,
    base: _Base,
    results: Mapping[str, RowResults],
    sums: Mapping[str, list[dict[str, Any]]],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    recipe = pipeline.recipe
    values = {name: row.values() for name, row in results.items()}
    intervals = model_intervals(values, settings.bootstrap, recipe.seed)
    numbers = {step.name: number for number, step in enumerate(ladder.steps, start=1)}
    names = names_in(pipeline, base.name)
    rungs = []
    for step in ladder.steps:
        row, own = results[step.name], values[step.name]
        found = [base.name if each == BASE else each for each in step.against]
        against = next((each for each in found if each in numbers), None)
        rungs.append(
            {
                "number": numbers[step.name],
                "name": step.name,
                "shown": step.shown.format(**names),
                NDCG: float(own[NDCG].mean()),
                RECALL: float(own[RECALL].mean()),
                "interval": intervals[step.name].get(NDCG),
                "by_seed": [float(each.values[NDCG].mean()) for each in row.measured],
                "against": None if against is None else numbers[against],
                **_difference(own[NDCG], None if against is None else values[against][NDCG], settings, recipe.seed),
                "fit_seconds": round(float(np.mean(row.seconds)), 2),
                "settings": row.settings,
                "served": [" + ".join(each.rows[term] for term in each.terms) for each in row.served],
                "sums": sums.get(step.name, []),
            }
        )
    return {
        "metric": NDCG,
        "base": base.name,
        "base_chosen": dict(base.figures),
        "users": len(next(iter(values.values()))[NDCG]),
        "seeds": list(seeds_of(recipe, settings)),
        "rungs": rungs,
        "left_out": dict(ladder.left_out),
        "set_apart": _set_apart(pipeline.recipe, ladder, settings),
    }


def _set_apart(recipe: Recipe, ladder: Ladder, settings: EvaluateSettings) -> dict[str, Any]:
    """How linear rungs differ from the run's own linear term; nothing where they do not, or it has none."""
    names = [step.name for step in ladder.steps if step.may_be_base]
    given = {name: dict(options) for name in names if (options := recipe.evaluate.baselines.get(name))}
    if LINEAR not in terms_of(recipe) or not (given or settings.tune):
        return {}
    return {"settings": given, "tuned": settings.tune}


def _difference(own: Any, other: Any, settings: EvaluateSettings, seed: int) -> dict[str, float | None]:
    """Of each user's figures [n] and those of the rung it is compared with: the mean difference, and how likely by
    chance.
    """
    if other is None:
        return {"difference": None, "p": None}
    differences = own - other
    tested = sign_flip_probability(differences, settings.permutations, seed) if settings.permutations else None
    return {"difference": float(differences.mean()), "p": tested}
