"""Where weights come from: folders, the hub, or nowhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.huggingface import HuggingFace
from glta_backbones.settings import HuggingFaceOptions, TinyOptions
from glta_backbones.tiny import Tiny
from huggingface_hub import constants

from glta_cli.core.errors import GltaError, InputError
from glta_cli.plugin.settings import BackboneSettings

CPU = torch.device("cpu")
TINY = TinyOptions(hidden_size=32, depth=3, heads=2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A saved Llama whose weights are not those `weights: random` draws."""
    model = Tiny("tiny", BackboneSettings(), TINY).load(CPU)
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder = tmp_path / "checkpoint"
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def backbone(model: str | None, **settings: object) -> HuggingFace:
    options = HuggingFaceOptions(model=model, revision=None, architecture=None, tokenizer=None)
    return HuggingFace("huggingface", BackboneSettings.model_validate(settings), options)


def weights(model: CausalLanguageModel) -> dict[str, torch.Tensor]:
    return dict(model.module.named_parameters())


def test_a_local_folder_loads_with_its_own_weights_and_tokenizer(checkpoint: Path) -> None:
    model = backbone(str(checkpoint)).load(CPU)
    assert model.hidden_size == 32
    assert model.embed(torch.tensor([[1, 2, 3]])).shape == (1, 3, 32)
    assert (
        model.tokenizer("héllo").input_ids
        == Tiny("tiny", BackboneSettings(), TINY).load(CPU).tokenizer("héllo").input_ids
    )


def test_the_random_twin_shares_no_weight_matrix_with_the_pretrained_model(checkpoint: Path) -> None:
    pretrained = weights(backbone(str(checkpoint)).load(CPU))
    twin = weights(backbone(str(checkpoint), weights="random").load(CPU))
    again = weights(backbone(str(checkpoint), weights="random").load(CPU))
    assert pretrained.keys() == twin.keys()
    for name, matrix in pretrained.items():
        assert matrix.shape == twin[name].shape
        assert torch.equal(twin[name], again[name])
        if matrix.ndim == 2:
            similarity = torch.cosine_similarity(matrix.flatten(), twin[name].flatten(), dim=0)
            assert similarity.abs() < 0.2, name


def test_an_early_exit_from_a_folder_has_the_first_layers_and_says_nothing(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    full, early = (
        weights(backbone(str(checkpoint)).load(CPU)),
        weights(backbone(str(checkpoint), layers=1).load(CPU)),
    )
    assert {name for name in full if "layers.0." in name} == {name for name in early if ".layers." in name}
    assert all(torch.equal(early[name], full[name]) for name in early)
    assert capfd.readouterr().err == ""


def test_what_came_of_states_that_padding_changed_is_not_found_again(tmp_path: Path) -> None:
    """Of MPT and GPT-Neo 0.1 read other states where prompts shared a batch."""
    shape = {"d_model": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 259}
    for family, ending in (({"model_type": "mpt", **shape}, "+0.2"), ({"model_type": "gpt2", "n_embd": 32}, "")):
        options = HuggingFaceOptions(model=None, revision=None, architecture=family, tokenizer="bytes")
        source = HuggingFace("huggingface", BackboneSettings(weights="random"), options)
        assert source.identity().partition("+bytes")[2] == ending


def test_the_identity_follows_the_weights(checkpoint: Path) -> None:
    before = backbone(str(checkpoint)).identity()
    assert before == backbone(str(checkpoint), layers=2).identity()
    assert before != backbone(str(checkpoint), weights="random").identity()
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert backbone(str(checkpoint)).identity() != before


def test_a_folder_without_safetensors_and_one_that_is_absent_are_named(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(GltaError, match="no usable checkpoint") as caught:
        backbone(str(checkpoint)).load(CPU)
    assert "safetensors" in str(caught.value.hint)
    with pytest.raises(InputError, match="no such folder"):
        backbone(str(checkpoint / "absent")).load(CPU)


def test_random_weights_from_a_written_architecture_need_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    architecture = {
        "model_type": "llama", "vocab_size": 258, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2,
    }  # fmt: skip
    options = HuggingFaceOptions(model=None, revision=None, architecture=architecture, tokenizer="bytes")
    source = HuggingFace("huggingface", BackboneSettings(weights="random"), options)
    assert source.identity().startswith("random:")
    assert source.load(CPU).hidden_size == 16
    with pytest.raises(InputError, match="pretrained weights need a model"):
        HuggingFace("huggingface", BackboneSettings(), options).load(CPU)


def test_an_unknown_architecture_is_the_users_mistake() -> None:
    options = HuggingFaceOptions(model="a/b", revision=None, architecture={"model_type": "lama"}, tokenizer=None)
    with pytest.raises(InputError) as caught:
        HuggingFace("huggingface", BackboneSettings(), options).architecture()
    assert caught.value.location == "backbone.options.architecture"


# ------------------------------------------------------------------------------- a hub that cannot be reached


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_silent_hub_costs_five_seconds_at_most(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", silent_server)
    started = time.monotonic()
    with pytest.raises(GltaError, match="cannot be fetched from the hub") as caught:
        backbone("someone/some-model").load(CPU)
    assert time.monotonic() - started < 5
    assert "backbone.options.model" in str(caught.value.hint)


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_name_server_that_does_not_answer_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(8) or [])
    monkeypatch.setattr(constants, "ENDPOINT", "http://unresolvable.invalid")
    started = time.monotonic()
    with pytest.raises(GltaError, match="no answer within"):
        backbone("someone/some-model").identity()
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("empty_hub_cache")
def test_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(GltaError, match="HF_HUB_OFFLINE"):
        backbone("someone/some-model").architecture()
    assert time.monotonic() - started < 1


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_cached_hub_model_needs_no_hub(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    checkpoint.rename(repository / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = backbone("someone/some-model")
    assert source.identity() == f"hub:someone/some-model@{commit}"
    assert source.load(CPU).hidden_size == 32
