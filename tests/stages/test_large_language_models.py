"""The recipes of large language models, through all stages, with checkpoints of the same families that are tiny."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from glta_backbones.byte_tokenizer import byte_tokenizer
from glta_backbones.transformer import quiet_transformers
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from glta_cli.core.errors import InputError
from glta_cli.recipe.files import load_recipe
from glta_cli.stages.backbone import backbone_of, frozen_backbone_settings
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

SMALL = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# The warm start learns so little data by heart: without one, and in few long steps, there is something to gain.
SMALL_START = (
    "finetune.warm_start_users=0",
    "finetune.training.learning_rate=1e-2",
    "finetune.training.warmup_steps=0",
)
packs = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="pip install 'glta[quantization]' to run it")


@pytest.fixture
def shrunk(toy_table: Path, tmp_path: Path) -> Callable[..., Pipeline]:
    """A shipped recipe about a folder that holds a tiny checkpoint of its family; all but the sizes is as shipped."""

    def shrunk(name: str, *overrides: str) -> Pipeline:
        family = load_recipe(name).recipe.backbone.options["architecture"]["model_type"]
        folder = tmp_path / family
        with quiet_transformers(), torch.random.fork_rng():
            torch.manual_seed(77)
            AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL)).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
        given = [
            "dataset.name=table",
            f"dataset.source={toy_table}",
            "dataset.kcore=0",
            f"backbone.options={json.dumps({'model': str(folder)})}",
            "graph.training.epochs=2",
            "align.prompts=16",
            "align.validation_prompts=4",
            "align.training.epochs=1",
            "interests.new_tokens=2",
            *overrides,
        ]
        recipe = load_recipe(name, given).recipe
        return Pipeline(name, recipe, Workspace(tmp_path / "workspace"), device="cpu")

    return shrunk


def trained_adapters(pipeline: Pipeline) -> list[str]:
    """Of the stage 3 that is published, the second factors that left zero, where they start."""
    weights = load_file(pipeline.ensure("finetune").file("model.safetensors"))
    return [name for name, value in weights.items() if "lora_B" in name and value.abs().max() > 0]


@pytest.mark.parametrize("name", ["llama7b-lora", "qwen2.5-7b-lora"])
def test_adapters_of_a_folder_are_trained_in_bfloat16_and_served(shrunk: Callable[..., Pipeline], name: str) -> None:
    pipeline = shrunk(name, *SMALL_START)
    model = backbone_of(pipeline.recipe).load(torch.device("cpu"))
    assert {each.dtype for each in model.module.parameters() if not each.requires_grad} == {torch.bfloat16}
    assert {each.dtype for each in model.module.parameters() if each.requires_grad} == {torch.float32}
    assert model.module.config._attn_implementation == "sdpa"
    pipeline.ensure("align")
    attention, checkpoint = functional.scaled_dot_product_attention, torch.utils.checkpoint.checkpoint
    with (
        patch.object(functional, "scaled_dot_product_attention", side_effect=attention) as attended,
        patch("torch.utils.checkpoint.checkpoint", side_effect=checkpoint),
    ):
        assert len(trained_adapters(pipeline)) == len(LINEAR_LAYERS) * SMALL["num_hidden_layers"]
    assert attended.call_count > 0
    assert pipeline.ensure("serving-index").details["users"] == 60


@packs
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_packed_weights_take_a_fraction_and_give_nearly_the_same_states(
    shrunk: Callable[..., Pipeline], bits: str
) -> None:
    pipeline = shrunk("llama7b-frozen", f"backbone.quantization={bits}")
    packed, whole = (
        backbone_of(recipe).load(torch.device("cpu"))
        for recipe in (pipeline.recipe, shrunk("llama7b-frozen", "backbone.quantization=none").recipe)
    )
    embedded = whole.embed(torch.arange(1, 40)[None])
    mask = torch.ones(1, 39, dtype=torch.int64)
    states, expected = (model.hidden(embedded, mask).float() for model in (packed, whole))
    assert 0 < (states - expected).norm() < 0.2 * expected.norm()  # NF4 rounds by a tenth
    # After passes without gradients too, tokens are learnt through the layers.
    inputs = [embedded.clone().requires_grad_() for _ in range(2)]
    for model, tokens in zip((packed, whole), inputs, strict=True):
        model.module.train()
        model.hidden(tokens, mask)[0, -1, :32].sum().backward()
    towards, exact = (tokens.grad.float() for tokens in inputs)
    assert (towards - exact).norm() < 0.3 * exact.norm()
    layer, plain = (model.body.layers[0].mlp.up_proj.weight for model in (packed, whole))
    assert layer.numel() * layer.element_size() * {"4bit": 4, "8bit": 2}[bits] == plain.numel() * plain.element_size()
    if bits == "4bit":
        state: Any = layer.quant_state
        assert (state.quant_type, state.nested) == ("nf4", True)
        assert packed.body.layers[0].mlp.up_proj.compute_dtype == torch.bfloat16


@packs
def test_a_model_in_four_bits_runs_all_stages_and_has_its_adapters_trained(shrunk: Callable[..., Pipeline]) -> None:
    pipeline = shrunk("llama7b-lora", "backbone.quantization=4bit", *SMALL_START)
    assert len(trained_adapters(pipeline)) == len(LINEAR_LAYERS) * SMALL["num_hidden_layers"]
    assert pipeline.ensure("serving-index").details["users"] == 60


def test_without_what_packs_the_weights_it_is_refused_before_anything_runs(
    shrunk: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("glta_backbones.quantization.find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        shrunk("llama7b-frozen").ensure("finetune")
    assert str(caught.value) == (
        "backbone.quantization: needs bitsandbytes, which is not installed\n  hint: pip install 'glta[quantization]'"
    )
    stages = tmp_path / "workspace" / "stages"
    assert [path.name for path in stages.iterdir()] == ["prepare"]


def test_where_the_weights_lie_trains_nothing_again() -> None:
    settings = frozen_backbone_settings(load_recipe("quickstart").recipe)
    assert frozen_backbone_settings(load_recipe("quickstart", ["backbone.shard=true"]).recipe) == settings
    assert "shard" not in settings
