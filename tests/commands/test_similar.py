"""`glta similar`: the items most like one, by the graph, by texts or by the linear term."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.serving.index import Index
from glta_cli.serving.similar import is_the_mean
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


# ----------------------------------------------------------------- of what nobody met, by words, and among some


@pytest.fixture(scope="module")
def shop(run_toy: Any, toy_root: Path, toy_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The toy log with `only`, met by one who met nothing else, and `unmet`, an item nobody met, and kinds of items.

    The run `shop` reads texts, `unread` does not, and `bare` has none.
    """
    folder = tmp_path_factory.mktemp("similar") / "table"
    shutil.copytree(toy_table, folder)
    items = (folder / "items.csv").read_text().splitlines()
    kinds = ["kind", *("film" if "film" in line else "book" for line in items[1:])]
    lines = [f"{line},{kind}" for line, kind in zip(items, kinds, strict=True)]
    lines += ["unmet,Garden book 99,book", "only,Garden book 98,book"]
    with (folder / "interactions.csv").open("a") as file:
        file.write("lone,only,1700000000\n")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    read = (f"dataset.source={folder}", "fusion.terms=[ease,encoder,llm]")
    run_toy(*read, stage="serving-index", name="shop")
    by_text = ("finetune.enabled=false", "fusion.terms=[ease-text,encoder]")
    run_toy(read[0], *by_text, stage="serving-index", name="term")
    run_toy(read[0], *ENCODER_AND_EASE, stage="serving-index", name="unread")
    bare = tmp_path_factory.mktemp("bare")
    shutil.copy(toy_table / "interactions.csv", bare)
    run_toy(f"dataset.source={bare}", *ENCODER_AND_EASE, stage="serving-index", name="bare")

    def ask(*words: str, run: str = "shop") -> Any:
        arguments = ["similar", "--run", run, "--data-dir", str(toy_root), *words]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    return ask


def test_of_an_item_without_weights_it_is_said_why_and_what_knows_it(shop: Any) -> None:
    shown = shop("only", "--by", "linear", run="unread")
    assert shown.stdout.endswith("\nnothing is\n")
    assert "ease has no weight above zero of item only: it can be asked by graph" in " ".join(shown.stderr.split())
    assert len(json.loads(shop("only", "--by", "graph", "--json", run="unread").stdout)["similar"]) == 10
    answer = json.loads(shop("unmet", "--by", "linear", "--json", run="unread").stdout)
    nobody = "ease has no weight above zero of item unmet, which nobody has met: nothing else the run holds knows of it"
    assert (answer["similar"], answer["remarks"]) == ([], [f"{nobody} either"])
    assert "remarks" not in json.loads(shop("i3", "--by", "linear", "--json").stdout)


def test_of_an_item_nobody_met_the_graph_knows_what_its_text_says_or_says_that_it_knows_nothing(shop: Any) -> None:
    assert "remarks" not in json.loads(shop("unmet", "--by", "graph", "--json").stdout)
    [remark] = json.loads(shop("unmet", "--by", "graph", "--json", run="unread").stdout)["remarks"]
    assert remark == "nobody has met it, and no text says what it is: by lightgcn it is the mean item"


def test_what_nobody_met_is_like_nothing_by_the_graph_unless_a_text_foretells_it(shop: Any) -> None:
    unread, read = (
        {
            each["item"]
            for each in json.loads(shop("i3", "-k", "41", "--by", "graph", "--json", run=run).stdout)["similar"]
        }
        for run in ("unread", "shop")
    )
    assert read - unread == {"unmet"}
    assert len(unread) == 40


def test_how_many_items_were_not_compared_is_said(shop: Any) -> None:
    shown = shop("i3", "--by", "graph", run="unread").stdout
    assert "\nwithout 1 item nobody has met: the graph knows nothing of it\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert json.loads(shop("i3", "--by", "graph", "--json", run="unread").stdout)["unmet"] == 1
    # A text foretells it, the linear term has its weights all the same, and it is no film.
    known = [(("--by", "graph"), "shop"), (("--by", "linear"), "unread"), (("--where", "kind=film"), "unread")]
    for words, run in known:
        assert "unmet" not in json.loads(shop("i3", *words, "--json", run=run).stdout)
    assert "unmet" not in json.loads(shop("unmet", "--by", "graph", "--json", run="unread").stdout)


def test_texts_that_the_linear_term_alone_reads_foretell_items_and_can_be_asked(shop: Any, toy_root: Path) -> None:
    index = glta_cli.load("term", toy_root).index
    vectors = index.graph_vectors()[1]
    assert is_the_mean(index, index.item_ids.tolist().index("unmet")) is False
    others = np.delete(vectors, index.item_ids.tolist().index("unmet"), axis=1)
    assert not np.allclose(vectors[:, index.item_ids.tolist().index("unmet")], others.mean(axis=1), atol=1e-3)
    assert "remarks" not in json.loads(shop("unmet", "--by", "graph", "--json", run="term").stdout)
    assert json.loads(shop("unmet", "--by", "text", "--json", run="term").stdout)["similar"]


def test_a_history_of_what_nobody_met_is_answered_with_the_same_remark(shop: Any, toy_root: Path) -> None:
    run = glta_cli.load("unread", toy_root)
    remark = "nobody has met item unmet, and no text says what it is: by lightgcn it is the mean item"
    for history in (("unmet",), ("unmet", "i3")):
        assert run.answer(Question(history=history, model="lightgcn", because=True))["remarks"] == [remark]
    assert "remarks" not in run.answer(Question(history=("i3",), model="lightgcn"))
    assert "remarks" not in run.answer(Question(history=("unmet", "i3"), model="ease"))
    foretold = glta_cli.load("shop", toy_root)
    assert "remarks" not in foretold.answer(Question(history=("unmet",), model="lightgcn"))


def test_a_run_without_texts_says_what_would_have_them(shop: Any, ask: Callable[..., Any]) -> None:
    with pytest.raises(InputError) as bare:
        shop("i3", "--by", "text", run="bare")
    assert str(bare.value).startswith(
        "--by: nothing is written about the items of this run\n  hint: it can be asked by "
    )
    with pytest.raises(InputError) as unread:
        ask("i3", "--by", "text")
    assert str(unread.value).startswith("--by: this run reads no item texts\n")
    assert "text.backbone=minilm" in str(unread.value)


def test_words_find_the_items_whose_texts_are_nearest(shop: Any, toy_root: Path) -> None:
    shown = shop("--text", "Garden book 27", "-k", "3")
    assert shown.stdout.startswith("like 'Garden book 27', by run shop (dataset table)\n")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    found = json.loads(shop("--text", "Garden book 27", "-k", "3", "--json").stdout)
    assert (found["text"], found["by"], found["score_is"]) == ("Garden book 27", "text", "cosine")
    assert found["similar"][0] == {"rank": 1, "item": "i27", "title": "Garden book 27", "score": 1.0}
    wished = glta_cli.load("shop", toy_root).recommend_for([], k=3, wish="Garden book 27")
    assert [each["item"] for each in found["similar"]] == wished["item"].to_list()


def test_conditions_leave_items_out_of_the_list_alone(shop: Any) -> None:
    every = json.loads(shop("i3", "-k", "41", "--by", "text", "--json").stdout)["similar"]
    books = json.loads(shop("i3", "-k", "41", "--by", "text", "--where", "kind=book", "--json").stdout)
    assert [each["item"] for each in books["similar"]] == [e["item"] for e in every if "book" in e["title"]]
    assert books["among"] == len(books["similar"]) == 22
    by_words = json.loads(shop("--text", "Garden book 27", "--where", "kind=film", "--json").stdout)["similar"]
    assert all("film" in each["title"] for each in by_words)
    assert "among the 22 items that are chosen" in shop("i3", "--where", "kind=book").stdout
    with pytest.raises(InputError) as caught:
        shop("i3", "--where", "kind=lamp")
    assert str(caught.value).startswith("--where: ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "ITEM: nothing is named that items are to be like"),
        (["i3", "--text", "a lamp"], "--text: items are asked for like an item already"),
        (["--text", "a lamp", "--by", "graph"], "--by: words are no part of 'graph'"),
        (["--text", " "], "--text: says nothing"),
    ],
)
def test_either_an_item_or_words_are_asked_for(shop: Any, words: list[str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        shop(*words)
    assert str(caught.value).startswith(problem)


def test_words_need_a_run_that_reads_texts(ask: Callable[..., Any]) -> None:
    with pytest.raises(InputError) as caught:
        ask("--text", "a lamp")
    assert str(caught.value).startswith("--text: this run reads no item texts")


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
