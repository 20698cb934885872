"""`glta similar`: the items most like one, by the graph, by texts or by the linear term."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.serving.index import Index
from glta_cli.stages.pipeline import Pipeline

HEAVY = {"torch", "transformers", "polars", "pydantic", "rich", "scipy"}
ENCODER_AND_EASE = ("finetune.enabled=false", "fusion.terms=[ease,encoder]")


@pytest.fixture(scope="module")
def pipeline(run_toy: Any) -> Pipeline:
    """Of a run without a language model."""
    return run_toy(*ENCODER_AND_EASE, stage="serving-index", name="alike")


@pytest.fixture
def ask(pipeline: Pipeline, toy_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("GLTA_DATA_DIR", str(toy_root))
    return lambda *words: CliRunner().invoke(app, ["similar", "--run", "alike", *words], catch_exceptions=False)


def tensors_of(pipeline: Pipeline, name: str) -> dict[str, Any]:
    return load_file(pipeline.ensure("serving-index").path / name)


def names_of(pipeline: Pipeline) -> list[str]:
    """The items' ids, by index."""
    return Index(pipeline.ensure("serving-index")).item_ids.tolist()


def cosines_with(vectors: Any, names: list[str], item: str) -> dict[str, float]:
    """Of the vectors [I, d], by the names of the other items."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return {name: cosine for name, cosine in zip(names, unit @ unit[names.index(item)], strict=True) if name != item}


def test_by_the_graph_it_is_the_cosine_of_the_encoders_vectors(ask: Callable[..., Any], pipeline: Pipeline) -> None:
    answer = json.loads(ask("i3", "-k", "39", "--by", "graph", "--json").stdout)
    vectors = tensors_of(pipeline, "vectors.safetensors")["graph_items"].T
    expected = cosines_with(vectors, names_of(pipeline), "i3")
    found = {entry["item"]: entry["score"] for entry in answer["similar"]}
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert (answer["by"], answer["row"], answer["score_is"]) == ("graph", "lightgcn", "cosine")


def test_by_the_linear_term_it_is_the_weight_and_what_has_none_is_left_out(
    ask: Callable[..., Any], pipeline: Pipeline
) -> None:
    answer = json.loads(ask("i3", "-k", "39", "--by", "linear", "--json").stdout)
    names = names_of(pipeline)
    weights = tensors_of(pipeline, "linear.safetensors")["weights"][names.index("i3")]
    expected = {name: weight for name, weight in zip(names, weights, strict=True) if weight > 0}
    found = {entry["item"]: entry["score"] for entry in answer["similar"]}
    assert found == pytest.approx(expected, abs=1e-4)
    assert 0 < len(found) < 39
    assert (answer["row"], answer["score_is"]) == ("ease", "weight")


def test_without_a_way_it_is_what_the_served_row_is_made_of(ask: Callable[..., Any], pipeline: Pipeline) -> None:
    details = pipeline.ensure("serving-index").details
    alone = {name: details["validation"][name] for name in ("ease", "lightgcn")}
    served = details["served_terms"] if len(details["served_terms"]) == 1 else None
    best = {"linear": "ease", "encoder": "lightgcn"}[served[0]] if served else max(alone, key=alone.__getitem__)
    answer = json.loads(ask("i3", "--json").stdout)
    assert answer["row"] == best
    assert f"--by {answer['by']}" in ask("i3").stdout


def test_an_item_is_named_by_its_title_too_and_never_like_itself(ask: Callable[..., Any]) -> None:
    by_title = ask("space film 3", "-k", "5").stdout
    assert by_title == ask("i3", "-k", "5").stdout
    assert by_title.startswith("like Space film 3, by run alike (dataset table)\n")
    assert "Space film 3 " not in by_title.partition("score")[2]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["i99"], "ITEM: no item has the id or the title 'i99'"),
        (["i3", "--by", "grahp"], "--by: 'grahp' is not one of graph, text, linear\n  hint: did you mean 'graph'?"),
    ],
)
def test_what_is_not_there_is_refused(ask: Callable[..., Any], words: list[str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(*words)
    assert str(caught.value).startswith(problem)


def test_a_way_the_run_has_nothing_for_names_those_it_has(
    run_toy: Any, toy_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_toy(stage="serving-index")
    monkeypatch.setenv("GLTA_DATA_DIR", str(toy_root))
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, ["similar", "i3", "--run", "toy", "--by", "linear"], catch_exceptions=False)
    assert str(caught.value) == "--by: the run holds no linear term\n  hint: it can be asked by graph or text"


def test_by_texts_it_is_the_cosine_of_their_vectors(
    run_toy: Any, toy_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy(stage="serving-index")
    monkeypatch.setenv("GLTA_DATA_DIR", str(toy_root))
    words = ["similar", "i30", "--run", "toy", "--by", "text", "-k", "39", "--json"]
    answer = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    vectors = load_file(pipeline.ensure("encode-items").path / "vectors.safetensors")["vectors"]
    expected = cosines_with(vectors, names_of(pipeline), "i30")
    assert {entry["item"]: entry["score"] for entry in answer["similar"]} == pytest.approx(expected, abs=1e-4)
    assert answer["row"] == "item texts"


def test_asking_imports_nothing_heavy_but_numpy(pipeline: Pipeline, toy_root: Path) -> None:
    code = (
        "import sys; from glta_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    words = ["similar", "i3", "--run", "alike", "--data-dir", str(toy_root)]
    finished = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "loaded: []" in finished.stderr
