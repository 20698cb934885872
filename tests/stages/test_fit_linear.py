"""The linear term of a run: which row it is, what is stored of it, and that nothing is fitted twice for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glta_baselines import shared_inverse
from glta_baselines.ease import Ease, EaseText
from glta_baselines.item_knn import ItemKnn
from glta_baselines.ridge_inverse import RidgeInverse
from glta_baselines.settings import EaseSettings

from glta_cli.core.errors import GltaError, InputError
from glta_cli.evaluation.baselines import fitted_baseline, made_baseline
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.plugin import BaselineData, LinearTerm, LowRankTerm
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.ranking.selection import validation_quality
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import Index
from glta_cli.serving.linear_term import history_matrix, read_linear_term
from glta_cli.serving.term_scores import term_scorer
from glta_cli.stages.fit_linear import told_of
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

IN_TIME = "dataset.split.strategy=leave-last-out"


@pytest.fixture
def pipeline_of(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Pipeline]:
    """A pipeline of the toy recipe with overrides, in a workspace of this test."""

    def make(*overrides: str) -> Pipeline:
        return Pipeline("toy", tiny_recipe("fusion.terms=auto", *overrides), Workspace(tmp_path / "w"), device="cpu")

    return make


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows that were solved, in order."""
    solved: list[str] = []
    for target in (Ease, EaseText):

        def fit(self: Any, data: BaselineData, own: Any = target.fit) -> Any:
            solved.append(type(self).__name__)
            return own(self, data)

        monkeypatch.setattr(target, "fit", fit)
    return solved


def quality_of(term: LinearTerm | LowRankTerm, pipeline: Pipeline) -> float:
    train, validation = (pipeline.prepared().split(part) for part in ("train", "valid"))
    quality = validation_quality(train, validation)
    assert quality is not None
    return quality(term_scorer(term, train))


def rows_tried(artefact: Artefact) -> list[str]:
    return list(dict.fromkeys(each["row"] for each in artefact.details["tried"]))


def test_the_row_that_ranks_validation_items_best_is_published(
    pipeline_of: Callable[..., Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = pipeline_of("fusion.terms=[ease,item-knn,ease-text,encoder]")
    artefact = pipeline.ensure("fit-linear")
    tried = artefact.details["tried"]
    assert rows_tried(artefact) == ["ease", "item-knn", "ease-text"]
    figures = {each["row"]: each["ndcg@10"] for each in tried}
    for name, figure in figures.items():
        alone = fitted_baseline(made_baseline(name, {}), pipeline).validation_score
        quality = validation_quality(pipeline.prepared().split("train"), pipeline.prepared().split("valid"))
        assert quality is not None
        assert quality(alone) == figure
    assert figures[artefact.details["row"]] == artefact.details["ndcg@10"] == max(figures.values())
    term = read_linear_term(artefact)
    assert quality_of(term, pipeline) == pytest.approx(artefact.details["ndcg@10"], abs=1e-9)
    users = np.arange(60)
    whole = fitted_baseline(made_baseline(artefact.details["row"], {}), pipeline)
    np.testing.assert_allclose(
        term_scorer(term, pipeline.prepared().split("train"))(users), whole.score(users), rtol=1e-5, atol=1e-6
    )
    told = capsys.readouterr().err
    line = f"  {artefact.details['row']}: NDCG@10 {max(figures.values()):.4f} on validation, the best of 3 rows"
    assert line in told.splitlines()
    assert len(line) <= 80


def test_by_itself_it_chooses_among_the_solved_rows_and_those_with_texts_where_there_are_any(
    pipeline_of: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    tried = rows_tried(pipeline_of().ensure("fit-linear"))
    assert {"ease", "ease-text"} <= set(tried)
    assert "item-knn" not in tried
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    assert rows_tried(pipeline_of(f"dataset.source={bare}").ensure("fit-linear")) == ["ease"]
    # No language model is fetched to read texts for a row alone.
    alone = pipeline_of("finetune.enabled=false")
    assert rows_tried(alone.ensure("fit-linear")) == ["ease"]
    assert "encode-items" not in dict(alone.reached())


def test_a_recipe_whose_terms_are_encoder_and_language_model_has_none(pipeline_of: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_of("fusion.terms=[encoder,llm]")
    with pytest.raises(GltaError, match="this recipe leaves out fit-linear"):
        pipeline.ensure("fit-linear")


def test_it_is_found_again_whatever_the_encoder_and_the_seed_are(
    pipeline_of: Callable[..., Pipeline], fits: list[str]
) -> None:
    first = pipeline_of().ensure("fit-linear")
    solved = len(fits)
    for unrelated in ("seed=3", "graph.training.epochs=2", "graph.encoder=mf", "evaluate.cutoffs=[3]"):
        # The split is drawn by a seed of its own.
        assert pipeline_of(unrelated).ensure("fit-linear").fingerprint == first.fingerprint, unrelated
    assert len(fits) == solved
    assert pipeline_of("dataset.split.seed=2").ensure("fit-linear").fingerprint != first.fingerprint


# ---------------------------------------------------------------------------------------- nothing is fitted twice


def test_what_was_tried_before_an_interruption_is_not_tried_again(
    pipeline_of: Callable[..., Pipeline], fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = "fusion.terms=[ease,ease-text,encoder]"
    counted = EaseText.fit

    def interrupted(self: Any, data: BaselineData) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(EaseText, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline_of(terms).ensure("fit-linear")
    assert fits == ["Ease"]
    monkeypatch.setattr(EaseText, "fit", counted)
    artefact = pipeline_of(terms).ensure("fit-linear")
    assert fits == ["Ease", "EaseText"]
    assert rows_tried(artefact) == ["ease", "ease-text"]


def test_what_was_tried_of_other_rows_before_an_interruption_is_not_taken_for_these(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any, data: BaselineData) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(EaseText, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline_of().ensure("fit-linear")
    # There is less memory by now, so that another row takes the place of all that were to be tried.
    monkeypatch.setattr("glta_cli.stages.linear_rows.available_memory", lambda: 10_000)
    [tried] = pipeline_of().ensure("fit-linear").details["tried"]
    assert tried["row"] == "item-knn"
    assert "neighbours" in tried["settings"]


def test_an_evaluation_finds_what_the_stage_fitted_and_the_stage_what_an_evaluation_did(
    pipeline_of: Callable[..., Pipeline], fits: list[str]
) -> None:
    pipeline = pipeline_of("fusion.terms=[ease,encoder]")
    pipeline.ensure("fit-linear")
    [row] = compared_rows({"ease": {}}, pipeline.recipe)
    assert row.fitted(pipeline)[0].was_there
    assert fits == ["Ease"]

    other = pipeline_of("fusion.terms=[ease-text,encoder]")
    [row] = compared_rows({"ease-text": {}}, other.recipe)
    row.fitted(other)
    assert fits == ["Ease", "EaseText"]
    other.ensure("fit-linear")
    assert fits == ["Ease", "EaseText"]


def test_what_loses_is_removed_unless_it_was_there_before(
    pipeline_of: Callable[..., Pipeline], fits: list[str]
) -> None:
    pipeline = pipeline_of("fusion.terms=[ease,ease-text,item-knn,encoder]")
    fitted_baseline(made_baseline("ease", {}), pipeline)
    fitted_baseline(made_baseline("ease", {"regularization": 1e6}), pipeline)
    best = pipeline.ensure("fit-linear").details["row"]
    kept = {
        Artefact(path.parent).details["baseline"]
        for path in (pipeline.workspace.root / "stages" / "baseline").glob("*/manifest.json")
    }
    assert kept == {"ease", best}


# ------------------------------------------------------------------------------------------------ recency


def test_where_the_split_is_in_time_validation_chooses_what_older_items_weigh(
    pipeline_of: Callable[..., Pipeline], fits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = pipeline_of("fusion.terms=[ease,encoder]", IN_TIME)
    artefact = pipeline.ensure("fit-linear")
    assert f"  ease: NDCG@10 {artefact.details['ndcg@10']:.4f} on validation\n" in capsys.readouterr().err
    # By another recency its figure is not the one told of its fit, to which older items are as new ones.
    told = list(told_of("ease", {"ndcg@10": 0.5}, 4, recency=0.7))
    assert told == ["ease: NDCG@10 0.5000 on validation by recency 0.7, the best of 4 rows"]
    assert fits == ["Ease"]
    figures = {each["settings"]["recency"]: each["ndcg@10"] for each in artefact.details["tried"]}
    assert list(figures) == [each["recency"] for each in installed().find("baseline", "ease").time_candidates()]
    assert figures[artefact.details["recency"]] == max(figures.values()) == artefact.details["ndcg@10"]
    term = read_linear_term(artefact)
    assert term.recency == artefact.details["recency"]
    assert quality_of(term, pipeline) == pytest.approx(artefact.details["ndcg@10"], abs=1e-9)


def test_where_the_split_is_drawn_at_random_older_items_weigh_as_much(pipeline_of: Callable[..., Pipeline]) -> None:
    artefact = pipeline_of("fusion.terms=[ease,encoder]").ensure("fit-linear")
    assert artefact.details["recency"] == 1.0
    assert len(artefact.details["tried"]) == 1


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", ["ials", "popularity", "text-only"])
def test_a_row_of_vectors_is_refused(pipeline_of: Callable[..., Pipeline], name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' ranks by a vector of each user") as told:
        pipeline_of(f"fusion.terms=[{name},encoder]").ensure("fit-linear")
    assert told.value.location == "fusion.terms"
    assert told.value.hint == "leave it out, or name a linear one: ease, item-knn"


def test_a_row_without_a_term_is_refused_before_anything_is_fitted(
    pipeline_of: Callable[..., Pipeline], fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ItemKnn, "term")
    with pytest.raises(InputError, match="'item-knn' ranks in an evaluation alone"):
        pipeline_of("fusion.terms=[ease,item-knn,encoder]").ensure("fit-linear")
    assert fits == []


def test_a_row_of_texts_is_refused_where_there_are_none(
    pipeline_of: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    with pytest.raises(InputError, match="without item texts, which the linear row 'ease-text' needs"):
        pipeline_of(f"dataset.source={bare}", "fusion.terms=[ease-text,encoder]").ensure("fit-linear")


@pytest.mark.parametrize("term", [np.zeros((40, 40)), "weights", LinearTerm(np.zeros((40, 39), np.float32))])
def test_a_term_that_is_none_names_its_baseline(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, term: Any
) -> None:
    monkeypatch.setattr(Ease, "term", lambda self, learnt, histories: term)
    with pytest.raises(GltaError, match="the term of the baseline 'ease' cannot be kept in an index"):
        pipeline_of("fusion.terms=[ease,encoder]").ensure("fit-linear")


# ------------------------------------------------------------------------------------------- large catalogues


@pytest.mark.parametrize(
    ("changed", "why", "place"),
    [
        # 19 kB of weights for pairs of items, 410 kB of factors, which pay in larger catalogues.
        (
            {"available_memory": lambda: 10_000},
            "take 0.0 GB while fitted to 40 items, and 0.0 GB are free",
            ["item-knn"],
        ),
        ({"MOST_SOLVED": 39}, "and hours beyond 39", ["elsa", "elsa-text", "item-knn"]),
        ({"MOST_SOLVED": 39, "MOST_SORTED": 39}, "and hours beyond 39", ["elsa", "elsa-text"]),
    ],
)
def test_where_ease_does_not_fit_a_row_that_does_takes_its_place(
    pipeline_of: Callable[..., Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fits: list[str],
    changed: dict[str, Any],
    why: str,
    place: list[str],
) -> None:
    for name, value in changed.items():
        monkeypatch.setattr(f"glta_cli.stages.linear_rows.{name}", value)
    artefact = pipeline_of().ensure("fit-linear")
    assert rows_tried(artefact) == place
    assert fits == []
    told = " ".join(capsys.readouterr().err.split())
    assert why in told
    assert artefact.details["left_out"].endswith(f"{' and '.join(place)} in their place")
    # Found again, where there may be more memory by now, it is not silent.
    pipeline_of().ensure("fit-linear")
    found_again = " ".join(capsys.readouterr().err.split())
    assert "as it was then:" in found_again
    assert why in found_again


@pytest.mark.parametrize("terms", ["auto", "[ease,ease-text,l3ae,add-ease,encoder]"])
def test_in_a_large_catalogue_rows_that_share_a_solution_are_fitted_one_after_the_other_and_solved_for_once(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, terms: str
) -> None:
    solved: list[str] = []
    solve = RidgeInverse.solve

    def noted(self: RidgeInverse, regularization: float) -> None:
        if regularization != self._regularization:
            solved.append(str(self._diagonal.dtype))
        solve(self, regularization)

    monkeypatch.setattr(RidgeInverse, "solve", noted)
    monkeypatch.setattr("glta_baselines.linear_row.LARGE_CATALOGUE", 39)
    monkeypatch.setattr("glta_cli.stages.linear_rows.TOGETHER_BEYOND", 39)
    found = pipeline_of(f"fusion.terms={terms}").ensure("fit-linear")
    assert rows_tried(found) == ["ease", "l3ae", "add-ease", "ease-text"]
    chosen = {each["row"]: each["chosen"]["regularization"] for each in found.details["tried"]}
    assert chosen["ease"] == chosen["l3ae"] == chosen["add-ease"]
    # One for the rows that share it, and one of the Gram matrix that texts are added to.
    assert solved.count("float64") == 2
    assert shared_inverse._shared is None


def test_rows_of_texts_that_nothing_reads_are_named(pipeline_of: Callable[..., Pipeline]) -> None:
    alone = pipeline_of("finetune.enabled=false").ensure("fit-linear").details
    assert alone["row"] == "ease"
    assert "--set text.backbone=minilm tries ease-text, l3ae, add-ease too" in alone["left_out"]
    assert "left_out" not in pipeline_of().ensure("fit-linear").manifest["details"]


def test_a_named_row_without_enough_memory_is_refused(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, fits: list[str]
) -> None:
    monkeypatch.setattr("glta_cli.stages.linear_rows.available_memory", lambda: 10_000)
    with pytest.raises(GltaError, match=r"ease takes 0.0 GB while it is fitted to 40 items") as told:
        pipeline_of("fusion.terms=[ease,encoder]").ensure("fit-linear")
    assert told.value.location == "fusion.terms"
    assert "name item-knn in its place" in str(told.value.hint)
    assert fits == []


def test_a_named_row_that_says_itself_what_it_takes_is_refused_too(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_cli.stages.linear_rows.available_memory", lambda: 10_000)
    with pytest.raises(GltaError, match=r"elsa takes 0.0 GB while it is fitted to 40 items") as told:
        pipeline_of("fusion.terms=[elsa,encoder]").ensure("fit-linear")
    assert told.value.location == "fusion.terms"
    assert "name item-knn in its place" in str(told.value.hint)
    asked: list[tuple[int, int]] = []

    def said(_: Any, users: int, items: int) -> int:
        asked.append((users, items))
        return 1 << 40

    monkeypatch.setattr(ItemKnn, "bytes_to_fit", said, raising=False)
    pipeline = pipeline_of("fusion.terms=[item-knn,encoder]")
    with pytest.raises(GltaError, match=r"item-knn takes 1099.5 GB") as told:
        pipeline.ensure("fit-linear")
    assert told.value.hint == "leave it to --set fusion.terms=auto"
    assert set(asked) == {(pipeline.prepared().user_count, pipeline.prepared().item_count)}


def test_the_linear_term_of_a_large_catalogue_is_served_as_two_factors(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_SOLVED", "MOST_SORTED"):
        monkeypatch.setattr(f"glta_cli.stages.linear_rows.{limit}", 39)
    pipeline = pipeline_of("fusion.terms=auto")
    artefact = pipeline.ensure("fit-linear")
    assert artefact.details["row"] in ("elsa", "elsa-text")
    assert artefact.details["settings"]["epochs"] > 0
    term = read_linear_term(artefact)
    assert isinstance(term, LowRankTerm)
    assert term.sources.shape == (40, 256)
    assert quality_of(term, pipeline) == pytest.approx(artefact.details["ndcg@10"], abs=1e-9)
    index = Index(pipeline.ensure("serving-index"))
    users = np.arange(index.linear_histories.user_count)
    whole = index.linear_scorer()(users)
    met = history_matrix(index.linear_histories, 1.0).toarray()
    weights = term.sources @ term.targets.T - np.diag(term.own)
    np.testing.assert_allclose(whole, met @ weights, atol=1e-4)


def test_of_a_large_catalogue_the_largest_weights_are_stored_and_what_that_costs_is_told(
    pipeline_of: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = "fusion.terms=[ease,encoder]"
    monkeypatch.setattr("glta_cli.stages.kept_weights.MOST_BYTES", 40 * 8 * 3)
    pipeline = pipeline_of(terms)
    artefact = pipeline.ensure("fit-linear")
    term = read_linear_term(artefact)
    whole = fitted_baseline(made_baseline("ease", {}), pipeline)
    assert artefact.details["kept"] == 3
    assert np.diff(term.weights.indptr).max() == 3
    weights = whole.term(pipeline.prepared().split("train")).weights
    for row in (0, 7, 39):
        largest = np.sort(np.abs(weights[row]))[::-1][:3]
        np.testing.assert_array_equal(np.sort(np.abs(term.weights[[row]].data))[::-1], largest[largest > 0])
    details = artefact.details
    assert details["ndcg@10"] == pytest.approx(quality_of(term, pipeline), abs=1e-9)
    assert details["ndcg@10 whole"] == details["tried"][0]["ndcg@10"]
    assert details["ndcg@10"] != details["ndcg@10 whole"]
    told = capsys.readouterr().err
    assert f"NDCG@10 {details['ndcg@10 whole']:.4f} on validation" in told
    assert f"  stored are the 3 largest weights of each item: {details['ndcg@10']:.4f}" in told.splitlines()


# ---------------------------------------------------------------------------------------------------- refit


def test_a_refit_fits_the_same_row_with_the_same_settings_to_everything_known(
    pipeline_of: Callable[..., Pipeline], fits: list[str]
) -> None:
    pipeline = pipeline_of("fusion.terms=[ease,encoder,llm]", "finetune.refit=true", IN_TIME)
    chosen = pipeline.ensure("fit-linear")
    artefact = pipeline.ensure("refit-fit-linear")
    assert fits == ["Ease", "Ease"]
    for key in ("row", "options", "recency"):
        assert artefact.details[key] == chosen.details[key]
    prepared = pipeline.prepared()
    assert artefact.details["interactions"] == prepared.summary()["interactions"]
    expected = ease_of(prepared.history(), chosen.details["options"])
    np.testing.assert_allclose(read_linear_term(artefact).weights, expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(read_linear_term(chosen).weights, expected)


def test_a_refit_takes_the_epochs_that_were_chosen(pipeline_of: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_of("fusion.terms=[elsa,encoder,llm]", "finetune.refit=true")
    chosen = pipeline.ensure("fit-linear").details
    artefact = pipeline.ensure("refit-fit-linear")
    assert artefact.details["options"] == chosen["options"]
    assert artefact.details["options"]["epochs"] > 0
    term = read_linear_term(artefact)
    assert isinstance(term, LowRankTerm)
    met = np.bincount(pipeline.prepared().history().items, minlength=40) > 0
    np.testing.assert_array_equal(term.sources.any(axis=1), met)


def ease_of(interactions: Interactions, options: dict[str, Any]) -> np.ndarray:
    """EASE of these interactions by an inverse."""
    met = np.zeros((interactions.user_count, interactions.item_count))
    met[interactions.users, interactions.items] = 1
    inverse = np.linalg.inv(met.T @ met + EaseSettings(**options).regularization * np.eye(met.shape[1]))
    weights = -inverse / inverse.diagonal()
    np.fill_diagonal(weights, 0)
    return weights
