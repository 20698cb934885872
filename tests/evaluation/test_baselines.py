"""Baselines beside the model: fitted once, checked, and the recipe's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.text_only import TextOnly
from safetensors.numpy import load, load_file, save
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError
from glta_cli.evaluation.baselines import (
    checked_arrays,
    checked_scorer,
    fitted_baseline,
    made_baseline,
)
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import BaselineRow
from glta_cli.main import app
from glta_cli.plugin import BaselineData, BaselineDeclaration
from glta_cli.plugin.component import Component, Origin
from glta_cli.plugin.identity import source_digest
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

RECORDER = """
import numpy as np

from glta_cli.plugin import Settings


class RecorderSettings(Settings):
    shift: float = 0.0


class Recorder:
    given = []

    def __init__(self, settings):
        self.settings = settings

    def fit(self, data):
        Recorder.given.append(data)
        return {"shift": np.float32([self.settings.shift])}

    def scorer(self, learnt, train):
        return lambda users: np.zeros((len(users), train.item_count), dtype=np.float32) + learnt["shift"]


class Again(Recorder):
    pass
"""


class RecorderPlugin:
    """A plugin of another distribution, with a baseline that keeps what it is fitted on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "glta_recorder"
        (self.folder / "inner").mkdir(parents=True)
        (self.folder / "__init__.py").write_text("")
        (self.folder / "baseline.py").write_text(RECORDER)
        (self.folder / "inner" / "solver.py").write_text("STEPS = 3\n")

    @property
    def given(self) -> list[BaselineData]:
        from glta_recorder.baseline import Recorder

        given: list[BaselineData] = Recorder.given
        return given


RECORDER_DECLARATION = BaselineDeclaration(
    name="recorder",
    summary="keeps what it is fitted on",
    target="glta_recorder.baseline:Recorder",
    config="glta_recorder.baseline:RecorderSettings",
)
RECORDER_ORIGIN = Origin("recorder", "glta-recorder", "1.0")


def declare(monkeypatch: pytest.MonkeyPatch, *components: Component) -> None:
    """Have these installed beside what is, in place of what has the same kind and name."""
    names = {(component.kind, component.name) for component in components}
    others = [each for each in installed().components if (each.kind, each.name) not in names]
    monkeypatch.setattr(installed(), "components", [*others, *components])


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecorderPlugin]:
    import sys

    plugin = RecorderPlugin(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    declare(monkeypatch, Component(RECORDER_DECLARATION, RECORDER_ORIGIN))
    source_digest.cache_clear()
    yield plugin
    source_digest.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "glta_recorder"]:
        del sys.modules[name]


def same(first: Interactions, second: Interactions) -> bool:
    return np.array_equal(first.indptr, second.indptr) and np.array_equal(first.items, second.items)


def baseline_scorer(name: str, options: Mapping[str, Any], pipeline: Pipeline) -> Scorer:
    return fitted_baseline(made_baseline(name, options), pipeline).score


def test_a_baseline_gets_what_it_may_learn_from_and_nothing_else(
    recorder: RecorderPlugin, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    pipeline = Pipeline("toy", tiny_recipe("seed=5"), Workspace(tmp_path / "w"), device="cpu")
    baseline_scorer("recorder", {}, pipeline)
    [data] = recorder.given
    prepared = pipeline.prepared()
    assert same(data.train, prepared.split("train"))
    assert same(data.validation, prepared.split("valid"))
    assert data.texts == prepared.texts
    assert data.texts is not None
    assert len(data.texts) == 40
    assert data.seed == 5
    assert data.device == torch.device("cpu")


def test_without_item_texts_a_baseline_gets_none(
    recorder: RecorderPlugin, tiny_recipe: Callable[..., Recipe], toy_table: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "interactions.csv"
    bare.write_bytes((toy_table / "interactions.csv").read_bytes())
    recipe = tiny_recipe(f"dataset.source={bare}")
    baseline_scorer("recorder", {}, Pipeline("bare", recipe, Workspace(tmp_path / "w"), device="cpu"))
    [data] = recorder.given
    assert data.texts is None


def test_a_baseline_is_fitted_again_for_whatever_it_depends_on_and_for_nothing_else(
    recorder: RecorderPlugin, tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "w")

    def fits(*overrides: str, options: dict[str, Any] | None = None, name: str = "recorder") -> int:
        """How often it is fitted for these settings."""
        before = len(recorder.given)
        pipeline = Pipeline("toy", tiny_recipe(*overrides), workspace, device="cpu")
        baseline_scorer(name, options or {}, pipeline)(np.arange(3))
        return len(recorder.given) - before

    assert fits() == 1
    assert fits() == 0
    for unrelated in ("graph.training.epochs=3", "evaluate.cutoffs=[3]"):
        assert fits(unrelated) == 0, unrelated
    assert fits("dataset.split.seed=1") == 1
    assert fits("seed=1") == 1
    assert fits(options={"shift": 0.5}) == 1
    assert fits(options={"shift": 0.5}) == 0

    for declaration, origin in (
        (RECORDER_DECLARATION, replace(RECORDER_ORIGIN, version="1.1")),
        (RECORDER_DECLARATION, replace(RECORDER_ORIGIN, distribution="glta-recorder-fork")),
        (replace(RECORDER_DECLARATION, target="glta_recorder.baseline:Again"), RECORDER_ORIGIN),
    ):
        declare(monkeypatch, Component(declaration, origin))
        assert fits() == 1, (declaration, origin)
    another = replace(RECORDER_DECLARATION, name="another")
    declare(monkeypatch, Component(RECORDER_DECLARATION, RECORDER_ORIGIN), Component(another, RECORDER_ORIGIN))
    assert fits(name="another") == 1
    assert fits() == 0

    # The author of `pip install -e` edits a module the target imports, and keeps the version.
    (recorder.folder / "inner" / "solver.py").write_text("STEPS = 4\n")
    source_digest.cache_clear()
    assert fits() == 1


def test_what_is_published_is_read_while_another_process_holds_the_lock(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(stage="pretrain-graph", name="baselines")
    scores = baseline_scorer("ease", {"regularization": 9.0}, pipeline)(np.arange(5))
    [identity] = [
        path.parent.name
        for path in (pipeline.workspace.root / "stages" / "baseline").glob("*/manifest.json")
        if json.loads(path.read_text())["settings"]["options"] == {"regularization": 9.0}
    ]
    with pipeline.workspace.locked(f"baseline-{identity}"):
        again = baseline_scorer("ease", {"regularization": 9.0}, pipeline)(np.arange(5))
    np.testing.assert_array_equal(scores, again)


def test_a_baseline_is_fitted_once_for_each_data_and_settings(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    from glta_baselines.ease import Ease

    fitted = []
    fit = Ease.fit
    monkeypatch.setattr(Ease, "fit", lambda self, data: fitted.append(self.settings.regularization) or fit(self, data))
    pipeline = run_toy(stage="pretrain-graph", name="baselines")
    users = np.arange(5)
    first = baseline_scorer("ease", {"regularization": 7.0}, pipeline)(users)
    again = baseline_scorer("ease", {"regularization": 7.0}, pipeline)(users)
    other = baseline_scorer("ease", {"regularization": 70.0}, pipeline)(users)
    assert fitted == [7.0, 70.0]
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(("uses_seed", "fits"), [(None, 2), (True, 2), (False, 1)])
def test_a_baseline_that_does_not_use_the_seed_is_fitted_once_for_all_seeds(
    recorder: RecorderPlugin, tiny_recipe: Callable[..., Recipe], tmp_path: Path, uses_seed: bool | None, fits: int
) -> None:
    if uses_seed is not None:
        path = recorder.folder / "baseline.py"
        path.write_text(path.read_text().replace("    given = []\n", f"    given = []\n    uses_seed = {uses_seed}\n"))
    workspace = Workspace(tmp_path / "w")
    for seed in (0, 1, 0):
        pipeline = Pipeline("toy", tiny_recipe(f"seed={seed}", "dataset.split.seed=5"), workspace, device="cpu")
        baseline_scorer("recorder", {}, pipeline)
    assert len(recorder.given) == fits


def test_the_report_stands_the_listed_baselines_before_the_model(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy()
    report = evaluate_run(pipeline, compared_rows({"ease": {}, "popularity": {}}, pipeline.recipe))
    assert list(report["models"]) == ["ease", "popularity", "lightgcn", "glta-llm", "glta"]
    # Two tastes that never mix: histories tell them apart, popularity cannot.
    assert report["models"]["ease"]["ndcg@10"] > report["models"]["popularity"]["ndcg@10"]
    assert list(evaluate_run(run_toy(), [])["models"]) == ["lightgcn", "glta-llm", "glta"]


def test_the_option_names_baselines_and_the_recipe_holds_their_settings(
    workspace_root: Path, tiny_recipe_file: Path
) -> None:
    def glta(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--json"])

    own = ["--set", "evaluate.baselines={ease: {regularization: 5}}"]
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "popularity, ease", *own)
    assert list(json.loads(finished.stdout)["models"])[:2] == ["popularity", "ease"]
    [manifest] = [
        manifest
        for path in (workspace_root / "stages" / "baseline").glob("*/manifest.json")
        if (manifest := json.loads(path.read_text()))["details"]["baseline"] == "ease"
    ]
    assert manifest["settings"]["options"] == {"regularization": 5}
    latest = glta("evaluate", "--baselines", "popularity")
    assert "other settings" not in latest.stderr
    assert next(iter(json.loads(latest.stdout)["models"])) == "popularity"

    wrong = glta("evaluate", "--baselines", "popularty")
    assert isinstance(wrong.exception, InputError)
    assert str(wrong.exception) == (
        "--baselines: no baseline is called 'popularty'\n  hint: did you mean 'popularity'?"
    )


@pytest.mark.parametrize("learnt", [None, [np.zeros(2)], {"a": [1.0]}, {1: np.zeros(2)}, {"a": np.array(["x"])}])
def test_what_a_baseline_learnt_has_to_be_named_arrays(learnt: Any) -> None:
    with pytest.raises(GltaError, match="what the baseline 'mine' learnt is not a mapping of names to arrays"):
        checked_arrays(learnt, "mine")


@pytest.mark.parametrize(
    ("learnt", "problem"),
    [
        ({}, "the baseline 'mine' learnt nothing: the mapping is empty"),
        ({"__metadata__": np.zeros(2)}, "the baseline 'mine' calls an array __metadata__"),
        ({"a": np.zeros(2), "long": np.zeros(2, np.longdouble)}, "the baseline 'mine' learnt 'long' as float128"),
    ],
)
def test_what_safetensors_cannot_hold_is_refused(learnt: Any, problem: str) -> None:
    with pytest.raises(GltaError, match=problem.replace("float128", r"\w+")):
        checked_arrays(learnt, "mine")


def test_arrays_are_stored_as_they_are_seen() -> None:
    learnt = {
        "transposed": np.arange(6).reshape(2, 3).T,
        "number": np.array(3.0),
        "foreign": np.arange(3, dtype=">f4"),
        **{kind: np.ones(2, kind) for kind in ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d")},
    }
    stored = checked_arrays(learnt, "mine")
    assert stored["transposed"].flags.c_contiguous
    read = load(save(stored))
    assert read.keys() == learnt.keys()
    for name, array in learnt.items():
        assert read[name].shape == array.shape
        assert read[name].tolist() == array.tolist()


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        (lambda users: np.zeros((4, len(users)), np.float32), r"its shape is \[4, 3\], not \[3, 4\]"),
        (lambda users: np.zeros(4, np.float32), r"its shape is \[4\], not"),
        (lambda users: np.zeros((len(users), 4), np.int64), "it gives int64"),
        (lambda users: np.full((len(users), 4), np.nan, np.float32), "among the scores: nan"),
        (lambda users: np.float32([[1, np.inf, 0, -np.inf]] * len(users)), "among the scores: -inf, inf"),
        (lambda users: [[0.0] * 4 for _ in users], "it gives a list"),
    ],
)
def test_scores_that_cannot_be_ranked_name_their_baseline(scores: Any, problem: str) -> None:
    with pytest.raises(GltaError, match=f"the scores of the baseline 'mine' cannot be ranked: {problem}"):
        checked_scorer(scores, "mine", 4)(np.arange(3))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, -2.5, np.finfo(np.float32).max])
def test_finite_scores_pass_as_they_are(value: float) -> None:
    scores = np.full((3, 4), value, np.float32)
    assert checked_scorer(lambda users: scores, "mine", 4)(np.arange(3)) is scores


def test_a_baseline_that_scores_wrongly_is_named_by_the_evaluation(
    recorder: RecorderPlugin, run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_baseline("recorder", {"shift": 3.0})
    monkeypatch.setattr(type(made.baseline), "scorer", lambda self, learnt, train: lambda users: np.zeros(7))
    with pytest.raises(GltaError, match=r"the baseline 'recorder' cannot be ranked: its shape is \[7\]"):
        evaluate_run(run_toy(), [BaselineRow(made)])


# -------------------------------------------------------------------------- refused before anything is trained


@pytest.mark.parametrize("row", ["lightgcn", "glta-llm", "glta"])
@pytest.mark.parametrize("by_option", [True, False])
def test_a_baseline_called_like_a_row_of_the_model_is_refused_before_anything_is_trained(
    recorder: RecorderPlugin,
    monkeypatch: pytest.MonkeyPatch,
    workspace_root: Path,
    tiny_recipe_file: Path,
    row: str,
    by_option: bool,
) -> None:
    declare(monkeypatch, Component(replace(RECORDER_DECLARATION, name=row), RECORDER_ORIGIN))
    chosen = ["--baselines", row] if by_option else ["--set", f"evaluate.baselines=[{row}]"]
    finished = CliRunner().invoke(app, ["evaluate", "--recipe", str(tiny_recipe_file), *chosen])
    assert isinstance(finished.exception, InputError)
    location = "--baselines" if by_option else "evaluate.baselines"
    assert str(finished.exception).startswith(
        f"{location}: the baseline '{row}' of glta-recorder 1.0 is called like a row the report has already"
    )
    assert not (workspace_root / "stages").exists()


def test_the_recipe_s_baselines_are_made_before_anything_is_trained(
    recorder: RecorderPlugin, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe("evaluate.baselines=[recorder]")
    declare(monkeypatch, Component(replace(RECORDER_DECLARATION, target="glta_recorder.gone:Gone"), RECORDER_ORIGIN))
    with pytest.raises(GltaError, match=r"baseline 'recorder' of glta-recorder 1\.0 cannot be imported"):
        evaluate_run(Pipeline("toy", recipe, Workspace(tmp_path / "w"), device="cpu"))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("chosen", [["--baselines", "recorder"], ["--set", "evaluate.baselines=[recorder]"]])
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("glta_recorder.baseline:Gone", "baseline 'recorder' of glta-recorder 1.0 cannot be imported: AttributeError"),
        ("glta_recorder.refusing:Refusing", "baseline 'recorder' of glta-recorder 1.0 cannot be made: ValueError: no"),
    ],
)
def test_a_baseline_that_cannot_be_had_is_said_before_anything_is_trained(
    recorder: RecorderPlugin,
    monkeypatch: pytest.MonkeyPatch,
    workspace_root: Path,
    tiny_recipe_file: Path,
    chosen: list[str],
    target: str,
    problem: str,
) -> None:
    (recorder.folder / "refusing.py").write_text(
        "class Refusing:\n    def __init__(self, settings):\n        raise ValueError('no')\n"
    )
    declare(monkeypatch, Component(replace(RECORDER_DECLARATION, target=target), RECORDER_ORIGIN))
    finished = CliRunner().invoke(app, ["evaluate", "--recipe", str(tiny_recipe_file), *chosen])
    assert isinstance(finished.exception, GltaError)
    assert problem in str(finished.exception)
    assert not (workspace_root / "stages").exists()


def test_a_baseline_that_asks_for_them_is_given_the_text_vectors(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    fit = TextOnly.fit
    monkeypatch.setattr(TextOnly, "fit", lambda self, data: given.append(data.text_vectors) or fit(self, data))
    pipeline = run_toy(stage="pretrain-graph", name="texts")
    baseline_scorer("text-only", {}, pipeline)
    vectors = pipeline.ensure("encode-items")
    np.testing.assert_array_equal(given[0], load_file(vectors.file("vectors.safetensors"))["vectors"])

    # Other vectors are other data: it is fitted anew.
    baseline_scorer("text-only", {}, run_toy("text.tokens=8", stage="pretrain-graph", name="shorter"))
    baseline_scorer("text-only", {}, run_toy(stage="pretrain-graph", name="texts"))
    assert len(given) == 2


def test_a_baseline_that_needs_texts_is_refused_without_any(
    run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    (tmp_path / "interactions.csv").write_text((toy_table / "interactions.csv").read_text())
    pipeline = run_toy(f"dataset.source={tmp_path}", "align.enabled=false", stage="pretrain-graph", name="wordless")
    with pytest.raises(InputError, match="the baseline 'ease-text' needs item texts, and table was prepared without"):
        baseline_scorer("ease-text", {}, pipeline)


def test_missing_texts_are_said_before_anything_is_trained(
    workspace_root: Path, tiny_recipe_file: Path, toy_table: Path, tmp_path: Path
) -> None:
    (tmp_path / "interactions.csv").write_text((toy_table / "interactions.csv").read_text())
    source = ["--set", f"dataset.source={tmp_path}", "--set", "align.enabled=false"]
    refused = CliRunner().invoke(
        app, ["evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "ease-text", *source]
    )
    assert isinstance(refused.exception, InputError)
    assert "needs item texts" in str(refused.exception)
    assert [path.name for path in (workspace_root / "stages").iterdir()] == ["prepare"]


def test_a_recipe_without_text_vectors_can_be_compared_with_texts(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("finetune.head=linear", name="linear head")
    report = evaluate_run(pipeline, compared_rows({"text-only": {}}, pipeline.recipe))
    assert list(report["models"]) == ["text-only", "lightgcn", "glta-llm", "glta"]
    # They are the baseline's, not the run's: what depends on the run's stages stays what it was.
    run = pipeline.workspace.run(pipeline.name)
    assert run is not None
    assert "encode-items" not in run.stages
