"""People who are in no file, read by the language model: as a new user is once `glta update` took them in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import glta_cli
from glta_cli.answers.question import Question
from glta_cli.main import app
from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.index import Index, mapped_tensors
from glta_cli.stages.deep_reading import DeepReader
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

# Of space films, of garden books, of one film alone, and of more than a prompt shows; oldest first.
HISTORIES = ([3, 1, 4, 2], [21, 22, 24, 23], [7], list(range(2, 38)))

# Of float32 through a language model, whose sums depend on how many prompts it is given at once; rows are some units.
ROUNDING = 1e-4


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def people(histories: tuple[list[int], ...], index: Index) -> Interactions:
    """Histories by item ids of the toy table, as rows over the items of an index."""
    ids = index.item_ids.tolist()
    items = [[ids.index(f"i{item}") for item in history] for history in histories]
    users = np.repeat(np.arange(len(items)), [len(each) for each in items])
    return Interactions.from_pairs(users, np.concatenate(items), user_count=len(items), item_count=len(ids))


def served(name: str, workspace: Workspace) -> Index:
    run = workspace.run(name)
    assert run is not None
    return Index(Artefact(workspace.root / "stages" / "serving-index" / run.stages["serving-index"]))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("graph.encoder=sasrec",),
        ("finetune.head=linear", "finetune.user_token=false"),
        ("finetune.readout=autoregressive", "finetune.context_items=6", "finetune.refit=true"),
    ],
    ids=["graph", "histories", "ids in words", "refit"],
)
def test_they_are_read_as_users_whom_an_update_took_in(
    overrides: tuple[str, ...], run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    pipeline = run_toy(*overrides, stage="serving-index", name="deep")
    index = Index(pipeline.ensure("serving-index"))
    shutil.copytree(pipeline.workspace.root, tmp_path / "workspace")
    reader = DeepReader.of(pipeline, index.artefact)
    guests, names = people(HISTORIES, index), [f"n{person}" for person in range(len(HISTORIES))]
    rows, vectors = reader.language_rows(guests, names), reader.graph_vectors(guests)
    alone = [reader.language_rows(people((each,), index), [name]) for each, name in zip(HISTORIES, names, strict=True)]
    assert_allclose(np.concatenate(alone), rows, rtol=1e-5, atol=ROUNDING)

    source = shutil.copytree(toy_table, tmp_path / "source")
    events = [
        f"n{person},i{item},17000{place:05}\n" for person in range(4) for place, item in enumerate(HISTORIES[person])
    ]
    with (source / "interactions.csv").open("a") as log:
        log.writelines(events)
    options = ("--run", "deep", "--data-dir", str(tmp_path / "workspace"))
    assert json.loads(glta("update", "--source", str(source), "--json", *options).stdout)["new"]["users"] == 4
    after = served("deep", Workspace(tmp_path / "workspace"))
    tensors = mapped_tensors(after.artefact.mapped_file("vectors.safetensors"))
    known = [after.user(name) for name in names]
    assert_allclose(rows, tensors["rows"][known], rtol=1e-5, atol=ROUNDING)
    assert_allclose(vectors, tensors["graph_users"][known], rtol=1e-5, atol=ROUNDING)

    run = glta_cli.load("deep", tmp_path / "workspace")
    for name, history in zip(names, HISTORIES, strict=True):
        asked = Question(history=tuple(f"i{item}" for item in history), k=40, deep=True)
        # Where prompts hold ids in words, nobody who is in no file has one.
        if "finetune.user_token=false" not in overrides:
            told, stored = run.answer(asked), run.answer(Question(name, k=40))
            assert [each["item"] for each in told["recommendations"]] == [e["item"] for e in stored["recommendations"]]
            assert told["terms"] == stored["terms"]
