"""`evaluate`: who is ranked, what is masked, and which rows stand side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glta_cli.core.errors import GltaError
from glta_cli.evaluation.evaluate import evaluate_run, measure
from glta_cli.evaluation.tables import metrics_table
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.schema import EvaluateSettings, Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

METRICS = ("ndcg", "recall", "precision", "hit", "mrr", "map")


def values_of(
    models: dict[str, Scorer], test: Interactions, settings: EvaluateSettings, *seen: Interactions
) -> dict[str, dict[str, np.ndarray]]:
    """Every metric of every model, one value for each user with a test item."""
    return {name: measure(score, test, settings, [], *seen).values for name, score in models.items()}


def always(scores: list[float]) -> Scorer:
    """The same scores [I] for every user."""
    return lambda users: np.tile(np.array(scores, dtype=np.float32), (len(users), 1))


def test_users_without_a_test_item_are_left_out() -> None:
    test = Interactions.from_pairs([0, 2, 2], [1, 0, 3], user_count=4, item_count=4)
    asked: list[int] = []

    def score(users: np.ndarray) -> np.ndarray:
        asked.extend(users)
        return np.tile(np.array([0, 9, 5, 1], dtype=np.float32), (len(users), 1))

    values = measure(score, test, EvaluateSettings(cutoffs=(1, 2)), []).values
    assert asked == [0, 2]
    assert values["hit@1"].tolist() == [1, 0]
    assert values["recall@2"].tolist() == [1, 0]


def test_a_test_item_nobody_met_in_training_stays_in() -> None:
    train = Interactions.from_pairs([0, 1], [0, 1], user_count=2, item_count=4)
    test = Interactions.from_pairs([0, 1], [3, 2], user_count=2, item_count=4)
    values = values_of({"model": always([9, 8, 1, 2])}, test, EvaluateSettings(cutoffs=(1, 2, 3)), train)["model"]
    # Masked are 0 for the first user and 1 for the second: 1, 3, 2 and 0, 3, 2 are ranked.
    assert {name: values[name].tolist() for name in ("hit@1", "mrr@3", "recall@2")} == {
        "hit@1": [0, 0],
        "mrr@3": [1 / 2, 1 / 3],
        "recall@2": [1, 0],
    }


def test_equal_scores_across_a_cutoff_are_cut_by_the_item_s_index() -> None:
    test = Interactions.from_pairs([0, 1], [2, 4], user_count=2, item_count=6)
    seen = Interactions.from_pairs([1, 1], [1, 2], user_count=2, item_count=6)
    values = values_of({"model": always([0, 1, 1, 1, 1, 2])}, test, EvaluateSettings(cutoffs=(3,)), seen)
    # 5, 1, 2 for the first; without 1 and 2 it is 5, 3, 4 for the second.
    assert values["model"]["hit@3"].tolist() == [1, 1]
    assert values["model"]["mrr@3"].tolist() == [1 / 3, 1 / 3]
    without = values_of({"model": always([0, 1, 1, 1, 1, 2])}, test, EvaluateSettings(cutoffs=(3,)))
    assert without["model"]["hit@3"].tolist() == [1, 0]


def test_training_and_validation_items_are_both_masked() -> None:
    train, validation, test = (
        Interactions.from_pairs([0, 1], items, user_count=2, item_count=5) for items in ([0, 4], [1, 3], [2, 0])
    )
    settings = EvaluateSettings(cutoffs=(1,))
    models = {"model": always([5, 4, 3, 6, 6])}

    def hits(*seen: Interactions) -> list[float]:
        return values_of(models, test, settings, *seen)["model"]["hit@1"].tolist()

    assert hits() == hits(train) == hits(validation) == [0, 0]
    assert hits(train, validation) == [0, 1]
    third = Interactions.from_pairs([0, 0], [3, 4], user_count=2, item_count=5)
    assert hits(train, validation, third) == [1, 1]


def test_a_cutoff_beyond_the_catalogue_counts_the_missing_places_as_misses() -> None:
    test = Interactions.from_pairs([0, 0], [0, 2], user_count=1, item_count=3)
    values = values_of({"model": always([3, 2, 1])}, test, EvaluateSettings(cutoffs=(2, 50)))["model"]
    assert {name: values[name].tolist() for name in ("recall@50", "precision@50", "map@50")} == {
        "recall@50": [1],
        "precision@50": [2 / 50],
        "map@50": [pytest.approx((1 + 2 / 3) / 2)],
    }
    assert values["recall@2"].tolist() == [0.5]


def test_a_model_that_gives_a_nan_is_not_ranked() -> None:
    test = Interactions.from_pairs([0], [1], user_count=1, item_count=3)
    with pytest.raises(GltaError, match="NaN"):
        values_of({"model": always([0, 1, np.nan])}, test, EvaluateSettings(cutoffs=(1,)))


def test_infinite_scores_are_ranked_first_and_last() -> None:
    test = Interactions.from_pairs([0, 0], [2, 3], user_count=1, item_count=4)
    values = values_of({"model": always([-np.inf, 1, np.inf, 0])}, test, EvaluateSettings(cutoffs=(1, 3)))
    assert values["model"]["hit@1"].tolist() == [1]
    assert values["model"]["ndcg@3"].tolist() == [pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))]


def test_without_any_test_item_there_is_nothing_to_report(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, toy_table: Path
) -> None:
    lines = (toy_table / "interactions.csv").read_text().splitlines()
    pairs = [line for line in lines[1:] if line.split(",")[0] in ("u0", "u59")][:2]
    (tmp_path / "interactions.csv").write_text("\n".join([lines[0], *pairs]))
    recipe = tiny_recipe(f"dataset.source={tmp_path}", "align.enabled=false")
    with pytest.raises(GltaError, match="no user has a test item"):
        evaluate_run(Pipeline("few", recipe, Workspace(tmp_path / "w"), device="cpu"))


def test_validation_items_are_masked_when_testing(run_toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that scores a user's training and validation items highest must still be perfect."""
    pipeline = run_toy()
    prepared = pipeline.prepared()
    train, validation, test = (prepared.split(name) for name in ("train", "valid", "test"))

    def oracle(self, *seen: Interactions):
        def score(users: np.ndarray) -> np.ndarray:
            scores = np.zeros((len(users), prepared.item_count), dtype=np.float32)
            for row, user in enumerate(users):
                scores[row, test.of(user)] = 1
                scores[row, validation.of(user)] = 2
                scores[row, train.of(user)] = 3
            return scores

        return score

    monkeypatch.setattr("glta_cli.serving.index.Index.scorer", oracle)
    models = evaluate_run(pipeline)["models"]
    assert models["glta"]["ndcg@5"] == models["glta"]["recall@5"] == 1
    assert models["lightgcn"]["ndcg@5"] < 1


def test_the_report_counts_users_and_shows_the_model_beside_its_parts(run_toy) -> None:
    pipeline = run_toy()
    report = evaluate_run(pipeline)
    # The user u59 has two items, too few to be tested.
    assert (report["users"], report["left_out"]) == (59, 1)
    assert list(report["models"]) == ["popularity", "lightgcn", "glta-llm", "glta"]
    for name, metrics in report["models"].items():
        assert set(metrics) == {f"{metric}@{k}" for metric in METRICS for k in (5, 10, 20)}
        assert all(0 <= value <= 1 for value in metrics.values())
        low, high = report["intervals"][name]["ndcg@10"]
        assert low <= metrics["ndcg@10"] <= high
    table = metrics_table(report)
    assert table.row_count == 4


def test_the_report_tells_the_split(run_toy) -> None:
    split = evaluate_run(run_toy())["split"]
    assert split["strategy"] == "ratio"
    assert {name: split[name] for name in ("train", "valid", "test")} == {"train": 537, "valid": 59, "test": 59}
    # A share among counts, under the same names, would be read as one of them.
    assert set(split) == {"strategy", "seed", "train", "valid", "test"}


def test_without_fusion_the_models_own_ranking_is_the_model(run_toy) -> None:
    fused = evaluate_run(run_toy())["models"]
    alone = evaluate_run(run_toy("finetune.fusion=false", name="alone"))["models"]
    assert list(alone) == ["popularity", "lightgcn", "glta"]
    assert alone["glta"] == fused["glta-llm"]


def test_the_model_is_compared_with_the_best_beside_it(run_toy) -> None:
    report = evaluate_run(run_toy())
    ndcg = {name: metrics["ndcg@10"] for name, metrics in report["models"].items()}
    comparison = report["comparison"]
    assert comparison["against"] == max(("popularity", "lightgcn"), key=ndcg.__getitem__)
    assert comparison["difference"] == pytest.approx(ndcg["glta"] - ndcg[comparison["against"]])
    assert 0 < comparison["p"] <= 1
    caption = metrics_table(report).caption
    assert f"glta less {comparison['against']}, NDCG@10: {comparison['difference']:+.4f}, p = " in caption


def test_the_comparison_can_be_left_out(run_toy) -> None:
    report = evaluate_run(run_toy("evaluate.permutations=0", name="plainer"))
    assert report["comparison"] is None
    assert "less" not in metrics_table(report).caption


def test_without_bootstrap_there_are_no_intervals(run_toy) -> None:
    report = evaluate_run(run_toy("evaluate.bootstrap=0", name="plain"))
    assert all(interval == {} for interval in report["intervals"].values())
    table = metrics_table(report)
    assert table.row_count == 4
    assert "±" not in str(table.caption)
