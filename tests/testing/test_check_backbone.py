"""Backbones that keep every promise, and what `check_backbone` is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.tiny import Tiny

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.plugin.settings import BackboneSettings, LoraSettings
from glta_cli.testing import ContractError, check_backbone
from tests.testing.backbone_promises.broken import CPU, OPTIONS, changed, put, report_of

GPT2 = {"model_type": "gpt2", "vocab_size": 258, "n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 128}
GPT2 |= {"bos_token_id": None, "eos_token_id": 257}
WINDOWS = {
    "model_type": "mistral", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 32, "sliding_window": 8,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------- promises kept


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"layers": 1},
        {"weights": "random"},
        {"gradient_checkpointing": True},
        {"lora": {"rank": 4, "dropout": 0.5, "layers": 1}},
    ],
    ids=str,
)
def test_tiny_keeps_every_promise(settings: dict[str, Any]) -> None:
    check_backbone("tiny", options={"hidden_size": 16, "depth": 3}, settings=settings)


def test_a_local_folder_keeps_every_promise(tmp_path: Path) -> None:
    model = Tiny("tiny", BackboneSettings(), OPTIONS).load(CPU)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1.5)
    model.module.save_pretrained(tmp_path)  # type: ignore[operator]
    model.tokenizer.save_pretrained(tmp_path)
    check_backbone("huggingface", options={"model": str(tmp_path)})


@pytest.mark.parametrize("architecture", [GPT2, WINDOWS], ids=["learned positions", "windows"])
def test_other_architectures_keep_every_promise(architecture: dict[str, Any]) -> None:
    options = {"architecture": architecture, "tokenizer": "bytes"}
    check_backbone("huggingface", options=options, settings={"weights": "random"})


@pytest.mark.smollm2
def test_smollm2_keeps_every_promise() -> None:
    check_backbone("smollm2", settings={"layers": 2})


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"lora": {"rank": 2}}], ids=str)
def test_no_language_model_keeps_every_promise(settings: dict[str, Any]) -> None:
    check_backbone("none", options={"hidden_size": 16}, settings=settings)


def test_one_that_refuses_adapters_and_early_exits_keeps_every_promise() -> None:
    class Plain(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            if self.settings.lora or (self.settings.layers and not full_depth):
                raise InputError("neither adapters nor early exits")
            return super().load(device, full_depth=full_depth)

    assert report_of(Plain) == ""


def test_one_without_prefixes_keeps_every_promise() -> None:
    assert report_of(changed(lambda model: put(model, "prefix", lambda token_ids: None))) == ""


def test_a_check_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    report_of(Tiny)
    assert torch.equal(torch.rand(1), expected)


# ------------------------------------------------------------------------------------------------- what is asked


def test_the_adapters_of_the_settings_are_those_that_are_tried() -> None:
    ranks = set()

    class Noting(Tiny):
        def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
            ranks.add(self.settings.lora and self.settings.lora.rank)
            return super().load(device, full_depth=full_depth)

    assert report_of(Noting, BackboneSettings(lora=LoraSettings(rank=5))) == ""
    assert ranks == {None, 5}


def test_settings_that_no_recipe_may_have_are_the_testers_mistake() -> None:
    with pytest.raises(InputErrors, match="rnak"):
        check_backbone("tiny", settings={"lora": {"rnak": 2}})


def test_an_unknown_backbone_is_a_broken_promise() -> None:
    with pytest.raises(ContractError, match="no backbone is called 'tinny'"):
        check_backbone("tinny")
