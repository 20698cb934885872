"""What a run answers from: the row that validation found best, of the terms the recipe has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.commands.runs_tables import run_table
from glta_cli.core.errors import GltaError
from glta_cli.main import app
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import Index
from glta_cli.serving.recommender import recommend
from glta_cli.stages.index import BuildIndex, rows_of
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.run import Run as StoredRun
from glta_cli.workspace.run_reports import run_report, served_in_words
from glta_cli.workspace.workspace import Workspace

Run = Callable[..., Pipeline]
EASE = "fusion.terms=[ease, encoder, llm]"
WITHOUT_LANGUAGE = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")
VECTORS = "vectors.safetensors"
HEAVY = {"torch", "transformers", "accelerate", "peft", "torch_geometric", "polars", "pydantic", "rich", "scipy"}


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def ndcg(pipeline: Pipeline, score: Any) -> float:
    """Validation NDCG@10 of a scorer."""
    prepared = pipeline.prepared()
    train, validation = prepared.split("train"), prepared.split("valid")
    users = np.flatnonzero(validation.counts)
    ranked = rank_users(score, users, 10, train)
    return float(ranking_metrics(ranked, users, validation, [10])["ndcg@10"].mean())


# ------------------------------------------------------------------------------------------------ what is chosen


def test_a_linear_row_called_like_the_encoder_has_a_name_of_its_own() -> None:
    context: Any = SimpleNamespace(
        recipe=SimpleNamespace(graph=SimpleNamespace(encoder="ease")),
        artefacts={"fit-linear": SimpleNamespace(details={"row": "ease"})},
    )
    assert rows_of(context, ("linear", "encoder")) == {"linear": "glta-linear", "encoder": "ease"}


def test_the_index_says_what_each_term_came_to_and_which_row_is_served(run_toy: Run) -> None:
    pipeline = run_toy(EASE, name="three")
    index = Index(pipeline.ensure("index"))
    details = index.artefact.details
    assert details["terms"] == {"linear": "ease", "encoder": "lightgcn", "llm": "glta-llm"}
    figures = details["validation"]
    assert set(figures) == {"ease", "lightgcn", "glta-llm", "glta"}
    train = pipeline.prepared().split("train")
    scorers = {
        "ease": index.linear_scorer(),
        "lightgcn": index.graph_scorer(),
        "glta-llm": index.language_scorer(train),
    }
    for name, score in scorers.items():
        assert figures[name] == pytest.approx(ndcg(pipeline, score)), name
    assert details["served"] == index.row.name
    assert details["ndcg@10"] == pytest.approx(ndcg(pipeline, index.scorer(train)))
    assert details["ndcg@10"] >= max(figures[name] for name in scorers)


def test_the_encoder_and_the_language_model_are_what_they_were_before_there_was_a_choice(
    run_toy: Run, tiny_recipe: Callable[..., Recipe]
) -> None:
    stage = BuildIndex()
    pair = tiny_recipe("fusion.terms=[encoder, llm]")
    assert stage.settings(pair) == {"layout": 2, "readout": "first", "fusion": True, "positions": 4}
    assert stage.reads(pair) == ("prepare", "pretrain-graph", "encode-items", "align", "describe-users", "finetune")
    alone = tiny_recipe("finetune.fusion=false")
    assert stage.settings(alone) == {**stage.settings(pair), "fusion": False}
    assert stage.settings(tiny_recipe("fusion.terms=[llm]")) == stage.settings(alone)
    pipeline = run_toy(stage=SERVING, name="pair")
    assert "fit-linear" not in dict(pipeline.reached())
    index = Index(pipeline.ensure("index"))
    assert set(index.artefact.manifest["details"]) == {"dataset", "users", "items", "encoder", "readout", "fusion"}
    assert set(load_file(index.artefact.file(VECTORS))) >= {"rows", "items", "bias", "graph_users", "graph_items"}
    assert index.row.name == "glta"
    assert index.row.weights is not None
    assert [row[0] for row in index.row.weights.weights] == [1.0] * len(index.row.weights.starts)


def test_one_term_alone_needs_no_choice_and_is_served_as_it_is(run_toy: Run) -> None:
    pipeline = run_toy("fusion.terms=[ease]", stage=SERVING, name="ease")
    assert not {"align", "finetune"} & set(dict(pipeline.reached()))
    index = Index(pipeline.ensure(SERVING))
    assert (index.row.name, index.row.weights, index.row.tried) == ("ease", None, 0)
    stored = load_file(index.artefact.file(VECTORS))
    assert not {"rows", "items", "bias", "graph_users", "graph_items"} & set(stored)
    users = np.arange(len(index.user_ids))
    weights = load_file(index.artefact.file("linear.safetensors"))["weights"]
    histories = np.zeros((len(users), len(weights)), dtype=np.float32)
    histories[index.history.users, index.history.items] = 1
    np.testing.assert_allclose(index.scorer(index.seen)(users), histories @ weights, atol=1e-5)


def test_what_answers_holds_what_takes_part_and_every_term_that_needs_no_reading(run_toy: Run) -> None:
    pipeline = run_toy(EASE, stage=SERVING, name="three")
    measured, answering = (Index(pipeline.ensure(stage)) for stage in ("index", SERVING))
    assert measured.terms == ("linear", "encoder", "llm")
    assert answering.row.terms == measured.row.terms
    assert set(answering.terms) == {*answering.row.terms, "linear", "encoder"}
    assert answering.row == measured.row or answering.row.weights == measured.row.weights
    held = set(load_file(answering.artefact.file(VECTORS)))
    assert ("rows" in held) == ("llm" in answering.terms)
    assert ("graph_users" in held) == ("encoder" in answering.terms)
    assert answering.artefact.has("linear.safetensors") == ("linear" in answering.terms)


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "overrides",
    [
        (EASE,),
        ("fusion.terms=[encoder, llm]",),
        ("fusion.terms=[ease]",),
        WITHOUT_LANGUAGE,
        ("fusion.terms=[encoder]",),
        ("finetune.fusion=false",),
        (EASE, "dataset.split.strategy=leave-last-out"),
        ("fusion.terms=auto", "dataset.split.strategy=leave-last-out"),
    ],
)
def test_the_list_is_that_of_the_evaluated_model_for_every_user(run_toy: Run, overrides: tuple[str, ...]) -> None:
    pipeline = run_toy(*overrides, stage=SERVING, name="every-user")
    for stage in ("index", SERVING):
        index = Index(pipeline.ensure(stage))
        users = np.arange(len(index.user_ids))
        ranked = rank_users(index.scorer(index.seen), users, 10, index.seen)
        for user in users:
            if not len(index.history.of(user)):
                continue
            answer = recommend(index.artefact, index.user_ids[user], 10)
            assert [each["item"] for each in answer["recommendations"]] == [index.item_ids[i] for i in ranked[user]]


def test_where_the_split_is_in_time_a_linear_term_is_measured_by_what_is_known_at_test(run_toy: Run) -> None:
    pipeline = run_toy("fusion.terms=[ease]", "dataset.split.strategy=leave-last-out", name="later")
    index = Index(pipeline.ensure("index"))
    prepared = pipeline.prepared()
    weights = load_file(index.artefact.file("linear.safetensors"))["weights"]
    recency = index.artefact.details["recency"]
    known, user = prepared.histories_at_test(), 7
    items = known.of(user)
    assert len(items) < len(prepared.history().of(user))
    expected = sum(recency ** (len(items) - 1 - place) * weights[item] for place, item in enumerate(items))
    np.testing.assert_allclose(index.scorer()(np.array([user]))[0], expected, atol=1e-5)


def test_a_run_shows_what_validation_chose_among(run_toy: Run, toy_root: Path) -> None:
    figures = run_toy(EASE, name="three").ensure("index").details["validation"]
    shown = json.loads(glta("runs", "show", "three", "--json", "--data-dir", str(toy_root)).stdout)
    [index] = [stage for stage in shown["stages"] if stage["stage"] == "index"]
    assert index["metrics"] == {f"{row}.ndcg@10": figure for row, figure in figures.items()}


def test_a_run_shows_which_row_answers(run_toy: Run, toy_root: Path) -> None:
    index = run_toy(EASE, name="three").ensure("index")
    terms = " + ".join(index.details["terms"][term] for term in index.details["served_terms"])
    run_toy("fusion.terms=[ease]", name="ease")
    for name, line in (("three", f"answers by {terms}, the best of 4 on validation"), ("ease", "answers by ease")):
        assert line in glta("runs", "show", name, "--data-dir", str(toy_root)).stdout.splitlines()
        shown = json.loads(glta("runs", "show", name, "--json", "--data-dir", str(toy_root)).stdout)
        assert f"answers by {shown['served'][0]}" == line


@pytest.mark.parametrize(
    ("overrides", "model"),
    [
        ((EASE,), "tiny with lightgcn"),
        (WITHOUT_LANGUAGE, "lightgcn and a linear row"),
        (("fusion.terms=[ease]",), "a linear row alone"),
        (("fusion.terms=[encoder]",), "lightgcn alone"),
    ],
)
def test_a_run_is_listed_by_what_may_take_part(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, overrides: tuple[str, ...], model: str
) -> None:
    run = StoredRun("part", tiny_recipe(*overrides).model_dump(mode="json"), {})
    [cell] = run_table([run_report(Workspace(tmp_path), run)]).columns[3].cells
    assert cell == model


def test_a_sum_that_looks_better_and_is_not_served_is_explained() -> None:
    details = {
        "terms": {"linear": "ease", "encoder": "lightgcn"},
        "served_terms": ["linear"],
        "validation": {"ease": 0.3, "lightgcn": 0.2, "glta": 0.31},
        "cross_checked": 0.29,
        "ndcg@10": 0.3,
    }
    why = "no sum of terms: 0.2900 on users that its weights were not chosen by"
    assert served_in_words(details) == ["ease, the best of 3 on validation", why]
    assert served_in_words({**details, "served_terms": ["linear", "encoder"], "ndcg@10": 0.31}) == [
        "ease + lightgcn, the best of 3 on validation"
    ]
    assert served_in_words({"fusion": None}) is None


def test_what_interactions_count_for_counts_in_a_linear_term(run_toy: Run, shop_folder: Path) -> None:
    source = [f"dataset.source={shop_folder / 'log.csv'}", "dataset.options.items=products.csv"]
    events = "dataset.options.events={purchase: 3, cart: 2, view: 1}"
    pipeline = run_toy(*source, events, "fusion.terms=[ease]", stage=SERVING, name="events")
    known = pipeline.prepared().history()
    assert known.weights is not None
    assert len(set(known.weights.tolist())) > 1
    histories = np.zeros((known.user_count, known.item_count), dtype=np.float32)
    histories[known.users, known.items] = known.weights
    index = Index(pipeline.ensure(SERVING))
    weights = load_file(index.artefact.file("linear.safetensors"))["weights"]
    users = np.arange(known.user_count)
    np.testing.assert_allclose(index.scorer()(users), histories @ weights, atol=1e-4)
    np.testing.assert_allclose(index.scorer()(users[3:4]), histories[3:4] @ weights, atol=1e-4)


def test_an_answer_names_the_row_its_terms_and_their_weights(run_toy: Run, toy_root: Path) -> None:
    pipeline = run_toy(EASE, stage=SERVING, name="three")
    row = Index(pipeline.ensure(SERVING)).row
    answer = json.loads(
        glta("recommend", "--user", "u7", "--run", "three", "--json", "--data-dir", str(toy_root)).stdout
    )
    assert answer["row"] == row.name
    assert list(answer["terms"]) == [row.rows[term] for term in row.terms]
    shown = glta("recommend", "--user", "u7", "--run", "three", "--data-dir", str(toy_root)).stdout
    names = " + ".join({"linear": "ease", "encoder": "lightgcn", "llm": "tiny"}[term] for term in row.terms)
    assert f"\nby {names}, the best of 4 on validation\n" in shown
    assert answer["answered_by"] == f"{names}, the best of 4 on validation"


def test_answering_from_a_linear_term_imports_nothing_heavy_but_numpy(run_toy: Run, toy_root: Path) -> None:
    run_toy("fusion.terms=[ease]", stage=SERVING, name="ease")
    code = (
        "import sys; from glta_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "recommend", "--user", "u7", "--run", "ease"],
        capture_output=True,
        text=True,
        env={**os.environ, "GLTA_DATA_DIR": str(toy_root)},
        cwd=toy_root,
    )
    assert finished.returncode == 0, finished.stderr
    assert "loaded: []" in finished.stderr
    assert "\nby ease\n" in finished.stdout


def test_with_a_refit_the_linear_term_knows_everything(run_toy: Run) -> None:
    pipeline = run_toy("fusion.terms=[ease, llm]", "finetune.refit=true", stage=SERVING, name="refitted")
    artefacts = dict(pipeline.reached())
    weights = {
        stage: load_file(artefacts[stage].file("linear.safetensors"))["weights"]
        for stage in ("fit-linear", "refit-fit-linear", "index")
    }
    assert_array_equal(weights["index"], weights["fit-linear"])
    assert not np.array_equal(weights["fit-linear"], weights["refit-fit-linear"])
    answering = Index(artefacts[SERVING])
    assert answering.row.weights == Index(artefacts["index"]).row.weights
    if "linear" in answering.terms:
        served = load_file(answering.artefact.file("linear.safetensors"))["weights"]
        # But for the item that only the test knows, if any: its weights are those of its text.
        kept = np.flatnonzero(weights["refit-fit-linear"].any(axis=0))
        assert_array_equal(served[np.ix_(kept, kept)], weights["refit-fit-linear"][np.ix_(kept, kept)])


def test_a_refit_is_finished_whatever_its_terms(run_toy: Run) -> None:
    pipeline = run_toy("fusion.terms=[ease, encoder]", "finetune.refit=true", stage=SERVING, name="refitted-too")
    assert "refit-finetune" not in dict(pipeline.reached())
    run = pipeline.workspace.run("refitted-too")
    assert run is not None
    assert run.finished


# ------------------------------------------------------------------------------- without a language model


@pytest.fixture
def own(tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path) -> Path:
    """A recipe of a log of its own without a language model, which a finished run `own` was made from."""
    import yaml

    source = tmp_path / "source"
    shutil.copytree(toy_table, source)
    recipe = tmp_path / "own.yaml"
    settings = {**tiny_settings, "dataset": {"name": "table", "source": str(source)}}
    settings |= {"finetune": {"enabled": False}, "fusion": {"terms": ["ease", "encoder"]}}
    recipe.write_text(yaml.safe_dump(settings))
    return recipe


def test_without_a_language_model_a_run_answers_and_is_brought_up_to_date(own: Path, tmp_path: Path) -> None:
    asked = glta("recommend", "--user", "u7", "--recipe", str(own), "--json")
    answer = json.loads(asked.stdout)
    assert set(answer["terms"]) <= {"ease", "lightgcn"}
    assert len(answer["recommendations"]) == 10
    assert json.loads(glta("recommend", "--user", "u7", "--json").stdout) == answer
    log = tmp_path / "source" / "interactions.csv"
    lines = "".join(f"new,i{item},1700000000\n" for item in (20, 21, 22)) + "u7,i30,1700000000\n"
    log.write_text(log.read_text() + lines)
    updated = json.loads(glta("update", "--json").stdout)
    assert updated["new"]["users"] == 1
    assert updated["read_out"] == 0
    fresh = json.loads(glta("recommend", "--user", "new", "-k", "5", "--json").stdout)
    assert fresh["row"] == answer["row"]
    assert all(each["title"].startswith("Garden") for each in fresh["recommendations"])
    assert json.loads(glta("recommend", "--user", "u7", "--json").stdout)["history"][0]["item"] == "i30"


def test_without_a_language_model_each_term_is_a_row_and_what_is_served(own: Path) -> None:
    report = json.loads(glta("evaluate", "--recipe", str(own), "--json").stdout)
    assert list(report["models"]) == ["popularity", "lightgcn", "ease", "glta"]
    [served] = report["served"]
    assert served["chosen_among"] == 3
    if len(served["terms"]) == 1:
        assert report["models"]["glta"] == report["models"][served["row"]]
    shown = glta("evaluate", "--recipe", str(own)).stdout
    assert f"glta is {' + '.join(served['terms'])}, the best of 3 on validation" in " ".join(shown.split())


def test_a_new_item_of_a_linear_term_can_be_recommended(own: Path, tmp_path: Path) -> None:
    glta("recommend", "--user", "u7", "--recipe", str(own), "--set", "fusion.terms=[ease]", "--run", "linear")
    items = tmp_path / "source" / "items.csv"
    items.write_text(items.read_text() + "x1,Garden book new\n")
    log = tmp_path / "source" / "interactions.csv"
    log.write_text(log.read_text() + "u45,x1,1700000000\n")
    glta("update", "--run", "linear")
    answers = json.loads(glta("recommend", "--user", "u50", "--run", "linear", "-k", "40", "--json").stdout)
    assert "x1" in [each["item"] for each in answers["recommendations"]]


def test_a_linear_row_of_the_same_name_stands_beside_the_terms_own_where_it_is_another(own: Path) -> None:
    asked = ("evaluate", "--recipe", str(own), "--baselines", "ease", "--json")
    report = json.loads(glta(*asked).stdout)
    assert list(report["models"]) == ["ease", "lightgcn", "glta"]
    other = json.loads(glta(*asked, "--set", "evaluate.baselines.ease.regularization=7").stdout)
    assert list(other["models"]) == ["ease", "lightgcn", "glta-linear", "glta"]
    assert other["models"]["glta-linear"] == report["models"]["ease"] != other["models"]["ease"]


# ------------------------------------------------------------------------------------------- runs of before


def as_stored_by_0_1(name: str) -> dict[str, Any]:
    """Have a run's file say what it said before there was a choice; gives its content."""
    path = Workspace().run_path(name)
    content = json.loads(path.read_text())
    stored = {key: content[key] for key in ("name", "recipe", "stages")}
    del stored["recipe"]["fusion"]
    path.write_text(json.dumps(stored))
    return stored


def test_a_run_stored_before_there_was_a_choice_answers_and_is_measured_as_it_was(
    run_toy: Run, tiny_recipe_file: Path, workspace_root: Path
) -> None:
    run_toy("fusion.terms=[encoder, llm]", stage=SERVING, name="pair")
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    pair = ("--recipe", str(tiny_recipe_file), "--set", "fusion.terms=[encoder, llm]", "--run", "old")
    answered = glta("recommend", "--user", "u7", "--json", *pair)
    measured = json.loads(glta("evaluate", "--run", "old", "--json").stdout)
    as_stored_by_0_1("old")
    again = glta("recommend", "--user", "u7", "--run", "old", "--json")
    assert (again.stdout, again.stderr) == (answered.stdout, "")
    finished = glta("evaluate", "--run", "old", "--json")
    assert json.loads(finished.stdout)["models"] == measured["models"]
    assert "▸" not in finished.stderr


def test_a_run_of_the_encoder_alone_is_asked_from_what_it_has(own: Path) -> None:
    glta("evaluate", "--recipe", str(own), "--set", "fusion.terms=[encoder]", "--run", "old", "--json")
    assert "index" not in as_stored_by_0_1("old")["stages"]
    asked = glta("recommend", "--user", "u7", "--run", "old", "--json")
    assert json.loads(asked.stdout)["terms"] == {"lightgcn": 1.0}
    assert "pretrain-graph: done" not in asked.stderr
    assert glta("recommend", "--user", "u7", "--run", "old", "--json").stderr == ""


# --------------------------------------------------------------------------------------------- what is refused


def test_a_damaged_linear_term_is_named_and_no_answer_given(run_toy: Run, tmp_path: Path) -> None:
    from glta_cli.workspace.artefact import Artefact

    published = run_toy("fusion.terms=[ease]", stage=SERVING, name="ease").ensure(SERVING)
    copy = Artefact(Path(shutil.copytree(published.path, tmp_path / "stages" / SERVING / published.fingerprint)))
    path = copy.path / "linear.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(GltaError, match="changed after it was published") as caught:
        recommend(copy, "u7", 5)
    assert caught.value.location == str(path)
    path.unlink()
    with pytest.raises(GltaError, match="missing"):
        recommend(Artefact(copy.path), "u7", 5)


def test_the_weights_of_a_linear_term_take_no_second_place_on_the_disk(run_toy: Run) -> None:
    pipeline = run_toy("fusion.terms=[ease]", stage=SERVING, name="ease")
    files = [pipeline.ensure(stage).path / "linear.safetensors" for stage in ("fit-linear", "index", SERVING)]
    contents = [load_file(file)["weights"] for file in files]
    assert_array_equal(contents[0], contents[1])
    assert files[0].samefile(files[1])
