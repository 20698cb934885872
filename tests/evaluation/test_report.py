"""`write_report`: what it reads from a run, where it writes, and what it leaves out."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glta_cli.core.errors import InputError
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.report.axes import Axis, linear_axis, log_axis
from glta_cli.evaluation.report.extras import gathered_extras, without_paths
from glta_cli.evaluation.report.projection import nearest_words, principal_plane, vocabulary_words
from glta_cli.evaluation.report.writing import checked_report_path, write_report
from glta_cli.serving.index import Index


def test_a_report_of_a_run_shows_its_trainings_tokens_and_users(run_toy, tmp_path: Path) -> None:
    pipeline = run_toy()
    report, path = evaluate_run(pipeline), tmp_path / "report.html"
    write_report(pipeline, report, path)
    text = path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    for name in report["models"]:
        assert f'<th scope="row">{name}</th>' in text
    for training in ("pretrain-graph, full", "pretrain-graph, alignment", "align", "finetune"):
        assert f"<h3>{training}</h3>" in text
    assert "item: Space film" in text
    assert "letters (the vocabulary has no whole words)" in text
    assert len(re.findall(r"<h3>User u\d+</h3>", text)) == 6
    # The recipe names the folder of the dataset.
    for private in (
        str(tmp_path.parent),
        str(Path.home()),
        pipeline.recipe.dataset.source,
        str(pipeline.workspace.root),
    ):
        assert private not in text


def test_sample_users_are_ranked_as_evaluate_ranks_them(run_toy) -> None:
    pipeline = run_toy()
    prepared, index = pipeline.prepared(), Index(pipeline.ensure("index"))
    train, validation, test = (prepared.split(name) for name in ("train", "valid", "test"))
    samples = gathered_extras(pipeline).samples
    assert not isinstance(samples, str)
    for sample in samples:
        user = prepared.user_ids.index(sample.user)
        scores = index.scorer(train, validation)(np.array([user]))[0]
        seen = np.concatenate([train.of(user), validation.of(user)])
        scores[seen] = -np.inf
        best = np.argsort(-scores, kind="stable")[:10]
        wanted = set(test.of(user))
        assert sample.recommended == [(prepared.titles[item], item in wanted) for item in best]
        assert sample.test_items == len(wanted)
        assert sample.history_length == len(seen)
        assert set(sample.history) <= {prepared.titles[item] for item in seen}


def test_the_item_tokens_are_those_of_the_trained_projector(run_toy) -> None:
    from safetensors.numpy import load_file

    pipeline = run_toy()
    projection = gathered_extras(pipeline).projection
    assert not isinstance(projection, str)
    artefacts = dict(pipeline.status())
    tensors = load_file(artefacts["finetune"].file("model.safetensors"))
    embeddings = load_file(artefacts["pretrain-graph"].file("alignment.safetensors"))["served_items"]
    tokens = embeddings @ tensors["item_projector.linear.weight"].T + tensors["item_projector.linear.bias"]
    titles = pipeline.prepared().titles
    shown = tokens[[titles.index(item.title) for item in projection.items]].astype(np.float64)
    assert len(shown) == len(titles) == projection.item_count
    # No plane holds more of the items' spread than their own first two components.
    places = np.array([(item.x, item.y) for item in projection.items])
    spread = ((places - places.mean(axis=0)) ** 2).sum()
    singular = np.linalg.svd(shown - shown.mean(axis=0), compute_uv=False)
    assert 0 < spread <= (singular[:2] ** 2).sum() * (1 + 1e-6)
    # The plane is linear in the tokens: regressing the places on them leaves nothing.
    design = np.c_[shown, np.ones(len(shown))]
    fitted = design @ np.linalg.lstsq(design, places, rcond=None)[0]
    np.testing.assert_allclose(fitted, places, atol=1e-5)
    assert 0 < projection.shares[1] <= projection.shares[0] < 1


def test_a_run_without_a_language_model_says_that_it_has_no_tokens(run_toy) -> None:
    extras = gathered_extras(run_toy("graph.training.epochs=2", stage="pretrain-graph", name="graph-only"))
    assert extras.projection == "This run has no stage with a language model, so there are no item tokens."
    assert extras.samples == "This run has no index to recommend from."
    assert [each.name for each in extras.trainings] == ["pretrain-graph, full", "pretrain-graph, alignment"]


def test_a_language_model_that_cannot_be_loaded_costs_its_section_alone(
    run_toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pipeline = run_toy()
    report = evaluate_run(pipeline)

    def fail(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("no memory left for /home/somebody/weights")

    monkeypatch.setattr("glta_backbones.tiny.Tiny.load", fail)
    write_report(pipeline, report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "The item tokens could not be had: RuntimeError." in text
    assert "/home/somebody" not in text
    assert "no memory left for /home/somebody/weights" in capsys.readouterr().err


def test_a_report_replaces_the_one_before(run_toy, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    pipeline = run_toy()
    write_report(pipeline, evaluate_run(pipeline), path)
    assert path.read_text().startswith("<!doctype html>")


def test_a_path_nothing_can_be_written_to_is_said_at_once(tmp_path: Path) -> None:
    assert checked_report_path(tmp_path / "report.html") == tmp_path / "report.html"
    with pytest.raises(InputError, match="is a folder") as folder:
        checked_report_path(tmp_path)
    assert "report.html" in str(folder.value.hint)
    with pytest.raises(InputError, match="there is no folder"):
        checked_report_path(tmp_path / "absent" / "report.html")
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match="cannot be written to"):
            checked_report_path(tmp_path / "report.html")


def test_a_page_that_cannot_be_written_after_all_says_where(
    run_toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pipeline = run_toy()
    report = evaluate_run(pipeline)
    monkeypatch.setattr("glta_cli.core.files.write_bytes", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device") as refused:
        write_report(pipeline, report, tmp_path / "report.html")
    assert str(tmp_path / "report.html") in str(refused.value.location)


@pytest.mark.parametrize(
    "path", ["/home/ann/data", "~/data", "./data", "../data", "file:///data", "C:\\data", "D:/data", "\\\\host\\data"]
)
def test_paths_of_the_machine_stay_out_of_the_recipe(path: str) -> None:
    assert without_paths({"dataset": {"source": path, "name": "shop"}, "more": [path, 1, None]}) == {
        "dataset": {"source": "(a local path)", "name": "shop"},
        "more": ["(a local path)", 1, None],
    }


@pytest.mark.parametrize("text", ["https://example.org/a.zip", "Liked: {items}\n", "HuggingFaceTB/SmolLM2-135M", ""])
def test_other_texts_of_the_recipe_stay(text: str) -> None:
    assert without_paths(text) == text


# -------------------------------------------------------------------------------------------------- the plane


def test_the_plane_is_that_of_the_covariances_first_two_eigenvectors() -> None:
    generator = np.random.default_rng(0)
    points = (generator.normal(size=(50, 7)) * [9, 5, 1, 1, 1, 0.5, 0.1]).astype(np.float32) + 3
    places, shares = principal_plane(points)
    values, vectors = np.linalg.eigh(np.cov(points.T.astype(np.float64), bias=True))
    expected = (points - points.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    expected *= np.sign((expected * places).sum(axis=0))
    np.testing.assert_allclose(places, expected, atol=1e-4)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum(), rtol=1e-5)


def test_the_nearest_words_have_the_largest_cosine() -> None:
    items = np.array([[1, 0], [0, 2]], dtype=np.float32)
    words = np.array([[0, 9], [5, 1], [1, 1], [-1, 0]], dtype=np.float32)
    assert nearest_words(items, words).tolist() == [[1, 2, 0, 3], [0, 2, 1, 3]]


def test_words_are_whole_words_of_the_vocabulary_each_once() -> None:
    class Vocabulary:
        tokens = ("<s>", "Ġthe", "ing", "ĠThe", "Ġlamp", "Ġ42", "Ġof", "Ġlamp-", "Ġcaf\u00c3\u00a9")
        all_special_ids = (0,)

        def __len__(self) -> int:
            return len(self.tokens)

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [self.tokens[each] for each in ids]

        def batch_decode(self, ids: list[list[int]]) -> list[str]:
            texts = [self.tokens[each].replace("Ġ", " ").encode("latin-1", "replace") for [each] in ids]
            return [text.decode() for text in texts]

    assert vocabulary_words(Vocabulary()) == ([1, 4, 8], ["the", "lamp", "café"], True)


# --------------------------------------------------------------------------------------------------- the axes


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.1, 0.3], ["0.10", "0.15", "0.20", "0.25", "0.30"]),
        ([5.0, 5.0], ["4.6", "4.8", "5.0", "5.2", "5.4"]),
        ([0.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round_and_told_apart(values: list[float], labels: list[str]) -> None:
    axis = linear_axis(values, 0, 100)
    assert [label for _, label in axis.ticks()] == labels
    assert all(0 <= axis.at(value) <= 100 for value in values)


def test_a_logarithmic_axis_shows_powers_of_ten() -> None:
    axis = log_axis([0.001, 30.0, 900.0], 0, 100)
    assert [label for _, label in axis.ticks()] == ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]
    assert axis.at(1.0) == pytest.approx((axis.at(0.1) + axis.at(10.0)) / 2)
    assert len(log_axis([3.0], 0, 100).ticks()) >= 3


def test_an_axis_maps_its_ends_to_its_pixels() -> None:
    axis = Axis(2, 4, 200, 100)
    assert (axis.at(2), axis.at(3), axis.at(4)) == (200, 150, 100)
