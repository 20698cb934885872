"""Who shares a batch changes nobody's states: tried out when a model is loaded, and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from glta_backbones import batch_independence, causal_lm, refusals
from glta_backbones.batch_independence import Way
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.huggingface import HuggingFace
from glta_backbones.settings import HuggingFaceOptions
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.plugin.settings import BackboneSettings, LoraSettings

SHARED, ENDS = [5, 6, 7], [9, 10]
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    # Positions are weights by distance in the cache, padding included.
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 256},
    # Every second layer sees so many places of the cache, padding included.
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]],
        "window_size": 12, "max_position_embeddings": 128,
    },
    # A recurrent state takes padding for tokens.
    "rwkv": {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "context_length": 128},
}  # fmt: skip


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing said or found before."""
    monkeypatch.setattr(refusals, "_said", set())
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))


def load(family: str, **settings: Any) -> CausalLanguageModel:
    architecture = {"model_type": family, "vocab_size": 258, "bos_token_id": None, "eos_token_id": None}
    options = HuggingFaceOptions(
        model=None, revision=None, architecture={**architecture, **SHAPES[family]}, tokenizer="bytes"
    )
    return HuggingFace("huggingface", BackboneSettings(weights="random", **settings), options).load(torch.device("cpu"))


def padded(model: CausalLanguageModel, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
    lengths = torch.tensor(list(map(len, prompts)))
    return model.embed(ids), (torch.arange(longest) < lengths[:, None]).long()


@pytest.mark.parametrize("family", SHAPES)
@torch.no_grad()
def test_a_prompt_has_the_states_it_has_alone(family: str) -> None:
    model = load(family)
    middles = [list(range(20, 20 + length)) for length in (17, 1, 6, 6)]
    prompts = [SHARED + middle + ENDS for middle in middles]
    alone = [model.hidden(*padded(model, [prompt]))[0] for prompt in prompts]
    together = model.hidden(*padded(model, prompts))
    prefix = model.prefix(torch.tensor(SHARED))
    assert (prefix is None) == (family != "llama")
    for row, expected in enumerate(alone):
        torch.testing.assert_close(together[row, : len(expected)], expected, rtol=1e-4, atol=1e-5)
    if prefix is not None:
        behind = model.hidden(*padded(model, [ENDS] * 4), model.extend(prefix, *padded(model, middles)))
        for row, expected in enumerate(alone):
            torch.testing.assert_close(behind[row], expected[-2:], rtol=1e-4, atol=1e-5)


def test_a_model_that_continues_a_prompt_otherwise_than_it_reads_it_writes_nothing() -> None:
    with pytest.raises(GltaError, match="otherwise") as caught:
        load("rwkv").generate(["One", "Two"], 4)
    assert "interests.profile=false" in str(caught.value.hint)


@pytest.mark.parametrize("family", ["llama", "mpt", "gpt_neo"])
def test_a_prompt_is_continued_as_it_is_alone(family: str) -> None:
    model = load(family)
    texts = ["Once upon a time there was a", "Once upon a", "One"]
    assert model.generate(texts, 4) == [model.generate([text], 4)[0] for text in texts]


@pytest.mark.parametrize("side", ["left", "right", "both"])
@torch.no_grad()
def test_padding_on_either_side_is_taken_out_where_only_whole_prompts_run(side: str) -> None:
    model = load("rwkv")
    model.way = Way.APART
    inputs = model.embed(torch.arange(1, 9)[None])
    mask = torch.tensor([[1] * 8])
    if side != "right":
        mask[:, :2] = 0
    if side != "left":
        mask[:, 6:] = 0
    expected = model.hidden(inputs[:, mask[0] == 1], torch.ones(1, int(mask.sum()), dtype=torch.long))
    torch.testing.assert_close(model.hidden(inputs, mask)[:, mask[0] == 1], expected)


def test_gradients_reach_inputs_where_nothing_is_shared() -> None:
    model = load("mpt")
    model.way = Way.APART
    inputs = torch.randn(2, 5, 32, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    model.hidden(inputs, mask)[mask == 1].pow(2).sum().backward()
    assert inputs.grad is not None
    assert (inputs.grad.abs().sum(dim=2) > 0).equal(mask == 1)


def test_what_was_found_is_told_once_and_never_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load("mpt").way
    assert found is Way.WHOLE
    assert capsys.readouterr().err.count("every prompt is run whole") == 1
    tried: list[CausalLanguageModel] = []
    monkeypatch.setattr(causal_lm, "way_of_states", lambda model: tried.append(model) or Way.SHARED)
    assert load("mpt").way is found
    assert not tried
    assert capsys.readouterr().err == ""
    load("llama")
    assert len(tried) == 1


def test_a_cache_that_is_damaged_or_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    load("mpt")
    [kept] = (tmp_path / "cache" / "batching").iterdir()
    for damage in ("", "[]", "{}", '{"way": "sideways"}'):
        kept.write_text(damage)
        assert load("mpt").way is Way.WHOLE
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("no folder")
    assert load("mpt").way is Way.WHOLE


def test_trying_out_draws_no_random_number_an_adapter_would_get(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> Tensor:
        torch.manual_seed(5)
        load("llama", lora=LoraSettings(rank=2))
        return torch.rand(3)

    first = drawn()
    monkeypatch.setattr(causal_lm, "way_of_states", lambda model: Way.SHARED)
    assert torch.equal(first, drawn())


def test_a_model_that_looks_ahead_or_differs_even_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    plain = CausalLanguageModel.padded_states

    def ahead(self: CausalLanguageModel, inputs: Tensor, mask: Tensor, prefix: Any = None) -> Tensor:
        return plain(self, inputs, mask, prefix) + inputs.sum(dim=1, keepdim=True)

    monkeypatch.setattr(CausalLanguageModel, "padded_states", ahead)
    with pytest.raises(GltaError, match="no causal language model"):
        batch_independence.way_of_states(model)

    def by_row(self: CausalLanguageModel, inputs: Tensor, mask: Tensor, prefix: Any = None) -> Tensor:
        return plain(self, inputs, mask, prefix) + torch.arange(len(inputs))[:, None, None]

    monkeypatch.setattr(CausalLanguageModel, "padded_states", by_row)
    with pytest.raises(GltaError, match="beside another one of the same length"):
        batch_independence.way_of_states(model)
