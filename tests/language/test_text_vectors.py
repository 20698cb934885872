"""Item texts as whitened vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save

from glta_cli.core.errors import GltaError
from glta_cli.language import text_vectors as text_vectors_module
from glta_cli.language.text_vectors import encode_texts, text_vectors
from glta_cli.language.whitening import whiten
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.registry import installed
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import Recipe, TextSettings
from glta_cli.recipe.selection import component_options
from glta_cli.stages import backbone as stage_backbone
from glta_cli.stages.backbone import model_identity


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    recipe = Recipe(backbone=BackboneSettings(name="tiny"))
    tiny = installed().find("backbone", "tiny").target()
    return tiny("tiny", recipe.backbone, component_options(recipe, "backbone")).load(torch.device("cpu"))


def anisotropic(count: int, width: int = 8) -> np.ndarray:
    """Vectors far from the origin, most of whose variance lies in one direction."""
    generator = np.random.default_rng(0)
    scales = np.array([100, 10, 5, 3, 1, 0.5, 0.3, 0.1])[:width]
    turned = np.linalg.qr(generator.normal(size=(width, width)))[0]
    return (50 + generator.normal(size=(count, width)) * scales @ turned).astype(np.float32)


def test_whitened_vectors_have_unit_length_and_no_preferred_direction() -> None:
    white = whiten(anisotropic(20_000), 8)
    assert white.dtype == np.float32
    assert_allclose(np.linalg.norm(white, axis=1), 1, atol=1e-5)
    assert_allclose(white.mean(0), 0, atol=0.02)
    # Unit vectors spread evenly over D dimensions have the covariance I / D.
    assert_allclose(8 * white.T @ white / len(white), np.eye(8), atol=0.05)


def test_the_directions_of_largest_variance_are_kept() -> None:
    vectors = anisotropic(3000)
    white = whiten(vectors, 3)
    centred = vectors - vectors.mean(0)
    left, _, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = left[:, :3] / np.linalg.norm(left[:, :3], axis=1, keepdims=True)
    # The sign of a principal direction is arbitrary.
    signs = np.sign((expected * white).sum(0))
    assert_allclose(white, expected * signs, atol=1e-3)


def test_no_more_dimensions_than_the_rank_are_kept() -> None:
    assert whiten(anisotropic(4), 8).shape == (4, 3)
    assert whiten(anisotropic(50), 100).shape == (50, 8)


def test_vectors_that_are_all_the_same_become_zeros() -> None:
    assert_array_equal(whiten(np.ones((5, 4), dtype=np.float32), 3), np.zeros((5, 1)))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_a_texts_vector_is_the_mean_of_its_states_whatever_the_batch(model: Any, batch_size: int) -> None:
    texts = [f"{'word ' * (number % 7)}number {number}" for number in range(23)]
    expected = []
    for text in texts:
        ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
        with torch.no_grad():
            expected.append(model.hidden(model.embed(ids), torch.ones_like(ids))[0].mean(0).numpy())
    assert_allclose(encode_texts(model, texts, TextSettings(batch_size=batch_size)), expected, atol=1e-5)


def test_what_lies_beyond_the_cut_has_no_influence_and_an_empty_text_has_a_vector(model: Any) -> None:
    long, short, empty = encode_texts(model, ["same start, other end", "same start", ""], TextSettings(tokens=10))
    assert_allclose(long, short, atol=1e-6)
    assert np.isfinite(empty).all()


# -------------------------------------------------------------------------------------------------- the cache


class Counted:
    """A language model that remembers how many texts it was given."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.loads = self.texts = 0

    def load(self) -> LanguageModel:
        self.loads += 1
        return self.model

    def vectors(self, cache: Path, texts: Sequence[str], identity: str = "m", **settings: int) -> np.ndarray:
        before = text_vectors_module.encode_texts

        def counting(model: LanguageModel, missing: Sequence[str], chosen: TextSettings, keep: Any) -> np.ndarray:
            self.texts += len(missing)
            return before(model, missing, chosen, keep)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_vectors_module, "encode_texts", counting)
            return text_vectors(self.load, identity, texts, TextSettings(**settings), cache)


def test_what_is_kept_of_a_batch_takes_no_memory_of_its_own(model: Any) -> None:
    # Arrays of their own would stand between the tensors of one batch and the next, which then take twice the memory.
    kept: list[np.ndarray] = []
    found = encode_texts(model, [f"text {number}" for number in range(9)], TextSettings(batch_size=2), keep_into(kept))
    assert len(kept) == 9
    assert all(np.shares_memory(vector, found) for vector in kept)


def keep_into(kept: list[np.ndarray]) -> Callable[[np.ndarray, Sequence[np.ndarray]], object]:
    return lambda rows, vectors: kept.extend(vectors)


def test_vectors_are_kept_by_what_the_text_says(model: Any, tmp_path: Path) -> None:
    texts = ["a film", "a book", "a film", "", "a song"]
    counted = Counted(model)
    expected = encode_texts(model, texts, TextSettings())
    assert_allclose(counted.vectors(tmp_path, texts), expected, atol=1e-5)
    assert (counted.loads, counted.texts) == (1, 4)
    assert_array_equal(counted.vectors(tmp_path, texts[::-1]), counted.vectors(tmp_path, texts)[::-1])
    assert counted.loads == 1
    # One item more is one text more to encode.
    assert counted.vectors(tmp_path, [*texts, "a game"]).shape == (6, model.hidden_size)
    assert (counted.loads, counted.texts) == (2, 5)


def test_another_model_and_another_cut_encode_anew_and_another_batch_does_not(model: Any, tmp_path: Path) -> None:
    counted = Counted(model)
    for settings in ({}, {"identity": "other"}, {"tokens": 5}, {"batch_size": 7}, {"dimensions": 3}):
        counted.vectors(tmp_path, ["a film", "a book"], **settings)
    assert counted.texts == 6


def test_the_file_is_bounded_and_forgets_what_the_last_writer_did_not_ask_for(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_vectors_module, "MOST_STORED_BYTES", 3 * 4 * model.hidden_size)
    counted = Counted(model)
    counted.vectors(tmp_path, ["a", "b", "c"])
    counted.vectors(tmp_path, ["d", "a"])
    assert counted.texts == 4
    counted.vectors(tmp_path, ["a", "d", "b"])
    assert counted.texts == 4
    assert counted.vectors(tmp_path, ["a", "b", "c", "d", "e"]).shape == (5, model.hidden_size)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 3 * (4 * model.hidden_size + 32) + 512


def test_a_stopped_run_goes_on_where_the_file_was_written_last(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_vectors_module, "SECONDS_BETWEEN_WRITES", 0.0)
    texts = [f"number {number}" for number in range(10, 16)]
    passes: list[int] = []

    class Stopped:
        tokenizer, module, hidden_size, embed = model.tokenizer, model.module, model.hidden_size, model.embed

        def hidden(self, *given: Any) -> Any:
            if len(passes) == 2:
                raise KeyboardInterrupt
            passes.append(1)
            return model.hidden(*given)

    with pytest.raises(KeyboardInterrupt):
        text_vectors(Stopped, "m", texts, TextSettings(batch_size=2), tmp_path)  # type: ignore[arg-type]
    counted = Counted(model)
    found = counted.vectors(tmp_path, texts, batch_size=2)
    assert counted.texts == 2
    assert_allclose(found, encode_texts(model, texts, TextSettings()), atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no tensors", "cut", save({"keys": np.zeros((1, 32), np.uint8)})])
def test_a_damaged_file_is_set_aside_with_a_word_and_its_texts_encoded_again(
    model: Any, tmp_path: Path, content: Any, capsys: pytest.CaptureFixture
) -> None:
    counted = Counted(model)
    whole = counted.vectors(tmp_path, ["a film", "a book"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5] if content == "cut" else content)
    capsys.readouterr()
    assert_array_equal(counted.vectors(tmp_path, ["a film", "a book"]), whole)
    assert counted.texts == 4
    assert {path.name for path in tmp_path.iterdir()} == {file.name, f"{file.name}.damaged"}
    assert f"{file}: is damaged" in capsys.readouterr().err


def test_no_flipped_bit_of_the_file_gives_another_vector(model: Any, tmp_path: Path) -> None:
    counted = Counted(model)
    whole = counted.vectors(tmp_path, ["a film", "a book"])
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for bit in np.random.default_rng(0).choice(8 * len(content), 60, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert_array_equal(counted.vectors(tmp_path, ["a film", "a book"]), whole)


def test_a_file_without_a_checksum_is_used_as_it_is(model: Any, tmp_path: Path) -> None:
    counted = Counted(model)
    whole = counted.vectors(tmp_path, ["a film", "a book"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(save(load_file(file)))
    assert_array_equal(counted.vectors(tmp_path, ["a book", "a film"]), whole[::-1])
    assert counted.texts == 2


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143), MemoryError(), ValueError()])
def test_what_ends_an_encoding_loses_nothing_of_it(model: Any, tmp_path: Path, end: BaseException) -> None:
    """Long before the file would be written by the clock."""
    texts = [f"number {number}" for number in range(10, 16)]
    passes: list[int] = []

    class Ended:
        tokenizer, module, hidden_size, embed = model.tokenizer, model.module, model.hidden_size, model.embed

        def hidden(self, *given: Any) -> Any:
            passes.append(1)
            if len(passes) == 3:
                raise end
            return model.hidden(*given)

    with pytest.raises(type(end)):
        text_vectors(Ended, "m", texts, TextSettings(batch_size=2), tmp_path)  # type: ignore[arg-type]
    counted = Counted(model)
    counted.vectors(tmp_path, texts, batch_size=2)
    assert counted.texts == 2


def test_vectors_that_have_no_room_are_not_begun(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.core.storage.free_bytes", lambda folder: 8 * model.hidden_size - 1)
    counted = Counted(model)
    with pytest.raises(GltaError, match="no space left on the disk") as caught:
        counted.vectors(tmp_path, ["a film", "a book"])
    assert (caught.value.location, counted.texts) == (str(tmp_path), 0)


def test_the_same_recipe_in_another_dtype_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is float32 on one device and bfloat16 on another."""
    recipe = Recipe(backbone=BackboneSettings(name="tiny"))
    cpu = torch.device("cpu")
    before = [model_identity(recipe, cpu, full_depth=full_depth) for full_depth in (False, True)]
    monkeypatch.setattr(stage_backbone, "choose_dtype", lambda name, device: torch.bfloat16)
    after = [model_identity(recipe, cpu, full_depth=full_depth) for full_depth in (False, True)]
    assert not set(before) & set(after)


def test_another_split_of_the_same_items_encodes_nothing(run_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_toy(stage="encode-items")

    def unexpected(*_: object) -> np.ndarray:
        raise AssertionError("a text was encoded again")

    monkeypatch.setattr(text_vectors_module, "encode_texts", unexpected)
    second = run_toy("dataset.split.seed=1", stage="encode-items", name="resplit")
    vectors = [
        load_file(each.ensure("encode-items").file("vectors.safetensors"))["vectors"] for each in (first, second)
    ]
    assert_array_equal(*vectors)
