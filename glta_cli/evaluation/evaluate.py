"""Evaluation on the test split: all rows by full ranking, over seeds, with intervals, slices and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.core.terminal import nothing_on_stdout
from glta_cli.core.threads import compute_with_free_processors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW
from glta_cli.evaluation.cold_start import cold_start_report
from glta_cli.evaluation.fitted_rows import FittedRow, model_rows
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import Row
from glta_cli.evaluation.shared_rows import measured_rows
from glta_cli.evaluation.slices import Slice, slice_metrics, slices_of
from glta_cli.evaluation.tuning import Tuned, tuned
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.cold_parts import Part, part_metrics, parts_of, tells_apart
from glta_cli.ranking.metrics import bootstrap_intervals, ranking_metrics
from glta_cli.ranking.significance import compare_with_best
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import EvaluateSettings, Recipe
from glta_cli.serving.served_row import ServedRow

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

CURVES = ("ndcg", "recall", "precision")
Values = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Measured:
    """What one ranking of all test users came to.

    Attributes:
        values: every metric at every cutoff, for each user with a test item [n].
        curves: NDCG, recall and precision at K = 1, 2, ... up to the largest cutoff, means over users.
        slices: of each slice, NDCG and recall at the largest cutoff for each of its users.
        users_per_second: ranked.
        parts: of each part of a split that hides something, NDCG@10 and Recall@20 for each of its users.
        blind: whether all items that such a split hides have one score.
    """

    values: Values
    curves: Values
    slices: dict[str, Values]
    users_per_second: float
    parts: dict[str, Values] = field(default_factory=dict)
    blind: bool = False


@dataclass
class RowResults:
    """A row over all seeds: what it took, and what it measured, one each a seed.

    Its scores are let go once they are ranked: item-item weights are gigabytes, and the next row needs the memory.
    """

    settings: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)
    artefacts: list[Artefact] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peaks: list[int | None] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    called: set[str | None] = field(default_factory=set)
    served: list[ServedRow] = field(default_factory=list)
    ranks_by: list[str | None] = field(default_factory=list)

    def known(self, fitted: FittedRow) -> Measured | None:
        """What was measured of it already: what was learnt from an earlier seed too is not ranked again."""
        return self.measured[self.artefacts.index(fitted.artefact)] if fitted.artefact in self.artefacts else None

    def add(self, fitted: FittedRow, measured: Measured) -> None:
        """One more seed."""
        self.measured.append(measured)
        self.artefacts.append(fitted.artefact)
        self.seconds.append(fitted.seconds)
        self.peaks.append(fitted.peak)
        self.called.add(fitted.called)
        self.ranks_by.append(fitted.ranks_by)
        self.served += [] if fitted.served is None else [fitted.served]

    def values(self) -> Values:
        """Each user's metrics, means over the seeds: [n]."""
        return _mean([each.values for each in self.measured])


@nothing_on_stdout()
def evaluate_run(
    pipeline: Pipeline, rows: Sequence[Row] | None = None, settings: EvaluateSettings | None = None
) -> dict[str, Any]:
    """Rank the catalogue for every user with a test item; training and validation items are masked.

    Every row is trained from `evaluate.seeds` seeds, beginning with the recipe's; all figures are means over them. The
    split is the same for all. A row whose training draws nothing at random is trained and ranked once.

    Args:
        rows: to compare with, in their order; None makes those of the settings.
        settings: how to evaluate; None takes the recipe's.

    Returns:
        `dataset`, `split`, `run`, `users`, `left_out` (users without a test item), `seeds`, the parts of the split that
        histories hold when the test is ranked, `histories`, and whether encoders were trained again on training and
        validation interactions, `refit`;
        `models`: {row: {"ndcg@10": mean over users and seeds, ...}};
        `intervals`: {row: {"ndcg@10": [low, high]}}, of the mean over users;
        `by_seed`: {row: {"ndcg@10": [mean over users, one a seed]}};
        `curves`: {row: {"ndcg": [at K = 1, 2, ...]}};
        `slices`: {slice: {"users", "about", "models": {row: {"ndcg@20", "recall@20"}}}};
        `costs`: {row: {"fit_seconds", "peak_mib", "users_per_second"}}, means over seeds, the largest peak;
        `served`: of each seed, the `row` validation found best among `chosen_among`, its `terms`, and the figure;
        `settings` and `tuning`: {row: its own settings}, {row: [{"settings", "ndcg@10", "seconds"}]};
        `chosen`: {row: those of its settings that it chose itself on validation, while it was fitted};
        `cold_start`: of a split that hides items or users, by part, each row's NDCG@10 and Recall@20; else None;
        `comparison`: the model with the best of the others, its encoder among them; `comparisons`: each row of a
        variant of the model with the model's own row of the same kind, fused or the language model's alone.

    Raises:
        InputError: a row of the recipe is unknown or wrongly set, or called like a row of the model.
        GltaError: a row cannot be made or breaks its promises; nobody has a test item.
    """
    compute_with_free_processors()
    recipe = pipeline.recipe
    settings = settings or recipe.evaluate
    compared = compared_rows(settings.baselines, recipe) if rows is None else rows
    prepared = pipeline.prepared()
    test = prepared.split("test")
    parts = parts_of(prepared, "test")
    if not test.counts.any():
        where = f"run {pipeline.name} (dataset {prepared.name})"
        raise GltaError("no user has a test item", location=where, hint="prepare with a larger test share")
    chosen = [tuned(row, pipeline) if settings.tune else Tuned(row, []) for row in compared]
    results = _results(pipeline, [each.row for each in chosen], settings)
    values = {name: row.values() for name, row in results.items()}
    variants = {name: own for each in chosen for name, own in each.row.counterparts().items() if name in results}
    # The shares stay out: `test` is the number of test interactions.
    split = recipe.dataset.split.model_dump(mode="json", include={"strategy", "seed"})
    return {
        "dataset": prepared.name,
        "split": {**split, **prepared.summary()["split"]},
        "run": pipeline.name,
        "users": int((test.counts > 0).sum()),
        "left_out": int((test.counts == 0).sum()),
        "seeds": list(seeds_of(recipe, settings)),
        "histories": list(prepared.parts_known_at_test),
        "refit": recipe.graph.refit,
        "models": {name: _means(row) for name, row in values.items()},
        "intervals": model_intervals(values, settings.bootstrap, recipe.seed),
        "by_seed": {name: _by_seed(row) for name, row in results.items()},
        "curves": {name: _curves(row) for name, row in results.items()},
        "slices": _slices(results, slices_of(prepared.split("train"), test)),
        "costs": {name: _costs(row) for name, row in results.items()},
        "served": _served(results, seeds_of(recipe, settings)),
        "settings": {name: row.settings for name, row in results.items()},
        "chosen": {name: row.chosen for name, row in results.items() if row.chosen},
        "tuning": {each.row.name: each.tried for each in chosen if each.tried},
        "cold_start": _cold_start(prepared, parts, results, settings, recipe.seed),
        **_comparisons(values, variants, _equal_to_model(results), recipe, settings),
    }


def _results(pipeline: Pipeline, rows: Sequence[Row], settings: EvaluateSettings) -> dict[str, RowResults]:
    """Train and rank every row from every seed, the run's own rows last."""
    results: dict[str, RowResults] = {}
    # By each process that ranks with this one; the split is the same for all seeds.
    elsewhere = partial(measuring, settings=settings)
    measured = elsewhere(pipeline)
    seeds = seeds_of(pipeline.recipe, settings)
    with progress_bar(
        len(seeds) * (len(rows) + 1),
        "evaluate",
        "rows",
        around_others=True,
        step="this row",
        kept="what was trained and fitted is kept",
    ) as bar:
        for place, seed in enumerate(seeds):
            own = seeded(pipeline, seed)
            for make in [*(row.fitted for row in rows), model_rows]:
                _add(results, make, own, place, measured, elsewhere)
                bar.update(1)
    return _called_by_name(results)


def _called_by_name(results: dict[str, RowResults]) -> dict[str, RowResults]:
    """Rows that may be called otherwise, such as the linear term after its baseline, where all seeds agree on a free
    name; where a row that ranks alike has it, that one is left.
    """
    named = {}
    for name, row in results.items():
        called = next(iter(row.called)) if len(row.called) == 1 else None
        if called in results and None not in row.ranks_by and row.ranks_by == results[called].ranks_by:
            continue
        named[name if called is None or called in results else called] = row
    return named


def measuring(pipeline: Pipeline, settings: EvaluateSettings) -> Callable[[Scorer], Measured]:
    """What measures the scores of a row on the test items of a run."""
    prepared = pipeline.prepared()
    test, parts, seen = prepared.split("test"), parts_of(prepared, "test"), prepared.masked_at_test()
    slices = slices_of(prepared.split("train"), test)

    def measured(score: Scorer) -> Measured:
        found = measure(score, test, settings, slices, *seen)
        of_parts = {part.name: part_metrics(score, part, seen) for part in parts}
        blind = any(part.candidates is not None and not tells_apart(score, part) for part in parts[:1])
        return replace(found, parts=of_parts, blind=blind)

    return measured


def _add(
    results: dict[str, RowResults],
    make: Callable[[Pipeline], list[FittedRow]],
    pipeline: Pipeline,
    place: int,
    measured: Callable[[Scorer], Measured],
    elsewhere: Callable[[Pipeline], Callable[[Scorer], Measured]],
) -> None:
    """The rows of one seed; with this call their scores are let go."""
    found = make(pipeline)
    figures = iter(measured_rows(make, found, _new_rows(results, found, place), measured, elsewhere, pipeline))
    for row in found:
        results[row.name].add(row, results[row.name].known(row) or next(figures))


def _new_rows(results: dict[str, RowResults], rows: Sequence[FittedRow], place: int) -> list[int]:
    """Of the rows of one seed, which has that place among the seeds, those that were not measured yet.

    Raises:
        GltaError: two rows have one name.
    """
    names = [fitted.name for fitted in rows]
    for fitted in rows:
        row = results.setdefault(fitted.name, RowResults(fitted.settings, fitted.chosen))
        if len(row.measured) > place or names.count(fitted.name) > 1:
            raise GltaError(f"two rows are called '{fitted.name}'", hint="rename the variant")
    return [number for number, fitted in enumerate(rows) if results[fitted.name].known(fitted) is None]


def seeds_of(recipe: Recipe, settings: EvaluateSettings) -> range:
    """The seeds every row is trained from."""
    return range(recipe.seed, recipe.seed + settings.seeds)


def seeded(pipeline: Pipeline, seed: int) -> Pipeline:
    """The same run from another seed; the run itself for its own."""
    if seed == pipeline.recipe.seed:
        return pipeline
    return pipeline.sibling(f"seed {seed}", pipeline.recipe.model_copy(update={"seed": seed}))


def measure(
    score: Scorer, test: Interactions, settings: EvaluateSettings, slices: Sequence[Slice], *seen: Interactions
) -> Measured:
    """Rank every user with a test item once, and take everything from that ranking."""
    users, longest = np.flatnonzero(test.counts), max(settings.cutoffs)
    started = time.perf_counter()
    ranked = rank_users(score, users, longest, *seen, description="rank test users")
    seconds = time.perf_counter() - started
    at_every_k = ranking_metrics(ranked, users, test, range(1, longest + 1))
    return Measured(
        values=ranking_metrics(ranked, users, test, settings.cutoffs),
        curves={name: np.array([at_every_k[f"{name}@{k}"].mean() for k in range(1, longest + 1)]) for name in CURVES},
        slices={part.name: slice_metrics(ranked, users, part, longest) for part in slices},
        users_per_second=len(users) / max(seconds, 1e-9),
    )


# ---------------------------------------------------------------------------------------------- the report's parts


def _mean(over_seeds: Sequence[Mapping[str, NDArray[np.float64]]]) -> Values:
    return {name: np.mean([each[name] for each in over_seeds], axis=0) for name in over_seeds[0]}


def _means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(each.mean()) for name, each in values.items()}


def _by_seed(row: RowResults) -> dict[str, list[float]]:
    return {name: [float(each.values[name].mean()) for each in row.measured] for name in row.measured[0].values}


def _curves(row: RowResults) -> dict[str, list[float]]:
    return {name: curve.tolist() for name, curve in _mean([each.curves for each in row.measured]).items()}


def _slices(results: Mapping[str, RowResults], slices: Sequence[Slice]) -> dict[str, Any]:
    return {
        part.name: {
            "users": len(part.users),
            "about": part.about,
            "models": {
                name: _means(_mean([each.slices[part.name] for each in row.measured])) for name, row in results.items()
            },
        }
        for part in slices
    }


def _cold_start(
    prepared: PreparedDataset,
    parts: Sequence[Part],
    results: Mapping[str, RowResults],
    settings: EvaluateSettings,
    seed: int,
) -> dict[str, Any] | None:
    values = {
        part.name: {name: _mean([each.parts[part.name] for each in row.measured]) for name, row in results.items()}
        for part in parts
    }
    intervals = {part: model_intervals(found, settings.bootstrap, seed) for part, found in values.items()}
    blind = [name for name, row in results.items() if any(each.blind for each in row.measured)]
    return cold_start_report(prepared, parts, values, intervals, blind)


def _costs(row: RowResults) -> dict[str, float | None]:
    peaks = [peak for peak in row.peaks if peak is not None]
    return {
        "fit_seconds": round(float(np.mean(row.seconds)), 2),
        "peak_mib": round(max(peaks) / 2**20) if peaks else None,
        "users_per_second": round(float(np.mean([each.users_per_second for each in row.measured])), 1),
    }


def _served(results: Mapping[str, RowResults], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Which row validation found best, by seed; nothing where the encoder is the one row."""
    if MODEL_ROW not in results:
        return []
    return [
        {
            "seed": seed,
            "row": row.name,
            "terms": [row.rows[term] for term in row.terms],
            "chosen_among": row.tried,
            "validation_ndcg@10": row.figure,
        }
        for seed, row in zip(seeds, results[MODEL_ROW].served, strict=True)
    ]


def _equal_to_model(results: Mapping[str, RowResults]) -> str | None:
    """The one row that is what the model came to, whatever the seed; None where terms are added up."""
    names = {row.name for row in results[MODEL_ROW].served} if MODEL_ROW in results else set()
    return next(iter(names)) if len(names) == 1 else None


def _comparisons(
    values: dict[str, Values],
    variants: Mapping[str, str],
    itself: str | None,
    recipe: Recipe,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """The model against the best of the others, and its rows against each variant's; nothing where it is left out.

    Args:
        variants: their rows, each with the model's own row that it is compared with, where there is that.
        itself: the row that the model is, which says nothing of it.
    """
    own = MODEL_ROW if MODEL_ROW in values else recipe.graph.encoder
    others = [name for name in values if name not in (own, LANGUAGE_ROW, itself) and name not in variants]
    if not settings.permutations:
        return {"comparison": None, "comparisons": []}
    cutoff = 10 if 10 in settings.cutoffs else max(settings.cutoffs)

    def compared(model: str, against: list[str]) -> dict[str, Any]:
        metric = f"ndcg@{cutoff}"
        return asdict(compare_with_best(values, model, against, metric, settings.permutations, recipe.seed))

    return {
        "comparison": compared(own, others) if others else None,
        "comparisons": [compared(row if row in values else own, [name]) for name, row in variants.items()],
    }


def model_intervals(values: dict[str, Values], resamples: int, seed: int) -> dict[str, dict[str, tuple[float, float]]]:
    """The interval of every metric of every model, from the same resampled users; none without resamples."""
    intervals: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in values}
    if resamples:
        columns = {(name, metric): each for name, row in values.items() for metric, each in row.items()}
        for (name, metric), interval in bootstrap_intervals(columns, resamples, seed).items():
            intervals[name][metric] = interval
    return intervals
