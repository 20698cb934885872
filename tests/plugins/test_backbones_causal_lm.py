"""The promises of `CausalLanguageModel`, on Llamas small enough to run in milliseconds."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from glta_backbones.byte_tokenizer import byte_tokenizer
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.huggingface import HuggingFace
from glta_backbones.settings import HuggingFaceOptions, TinyOptions
from glta_backbones.tiny import Tiny
from glta_backbones.transformer import random_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from glta_cli.core.errors import InputError
from glta_cli.plugin.settings import BackboneSettings, LoraSettings

CPU = torch.device("cpu")
SHAPE = TinyOptions(hidden_size=32, depth=3, heads=2)


def tiny(settings: BackboneSettings | None = None, *, full_depth: bool = False) -> CausalLanguageModel:
    return Tiny("tiny", settings or BackboneSettings(), SHAPE).load(CPU, full_depth=full_depth)


def embeddings(batch: int, length: int) -> Tensor:
    return torch.randn(batch, length, 32, generator=torch.Generator().manual_seed(7))


def test_left_and_right_padding_and_none_agree() -> None:
    model, inputs = tiny(), embeddings(3, 9)
    mask = torch.ones(3, 9, dtype=torch.long)
    noise, none = torch.full((3, 4, 32), 5.0), torch.zeros(3, 4, dtype=torch.long)

    plain = model.hidden(inputs, mask)
    left = model.hidden(torch.cat([noise, inputs], 1), torch.cat([none, mask], 1))[:, 4:]
    right = model.hidden(torch.cat([inputs, noise], 1), torch.cat([mask, none], 1))[:, :9]

    torch.testing.assert_close(left, plain)
    torch.testing.assert_close(right, plain)


def test_a_batch_of_one_equals_a_batch_of_many() -> None:
    model, inputs = tiny(), embeddings(5, 8)
    mask = torch.ones(5, 8, dtype=torch.long)
    mask[1, :3] = 0
    mask[4, :6] = 0
    together = model.hidden(inputs, mask)
    for row in range(5):
        alone = model.hidden(inputs[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone[0, mask[row] == 1], together[row, mask[row] == 1])


def test_a_causal_mask_holds() -> None:
    """A position that saw its successors would read the target it has to predict."""
    model, inputs = tiny(), embeddings(1, 6)
    mask = torch.ones(1, 6, dtype=torch.long)
    changed = inputs.clone()
    changed[:, 4:] += 1
    before, after = model.hidden(inputs, mask), model.hidden(changed, mask)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_left_padding_gives_finite_gradients() -> None:
    model, inputs = tiny(), embeddings(2, 6).requires_grad_(True)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    model.hidden(inputs, mask)[:, -1].sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.isfinite().all()
    assert (inputs.grad[0, :2] == 0).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_an_early_exit_is_the_full_models_state_after_the_final_norm(layers: int) -> None:
    full, inputs = tiny(), embeddings(2, 7)
    causal = full.module
    # The full model's own record of its states; one before the last, so not yet normalised.
    states = causal.model(inputs_embeds=inputs, output_hidden_states=True).hidden_states[layers]
    expected = causal.model.norm(states)
    early = _with_weights_of(full, layers)
    torch.testing.assert_close(early.hidden(inputs, torch.ones(2, 7, dtype=torch.long)), expected)


def _with_weights_of(full: CausalLanguageModel, layers: int) -> CausalLanguageModel:
    early = tiny(BackboneSettings(layers=layers))
    own = early.module.state_dict()
    assert len({name.split(".")[2] for name in own if ".layers." in name}) == layers
    early.module.load_state_dict({name: full.module.state_dict()[name] for name in own}, strict=True)
    return early


def test_an_early_exit_beyond_the_model_names_its_depth() -> None:
    with pytest.raises(InputError, match="4 layers are asked for, the model has 3") as caught:
        tiny(BackboneSettings(layers=4))
    assert caught.value.location == "backbone.layers"


def test_full_depth_ignores_the_early_exit() -> None:
    model = tiny(BackboneSettings(layers=1), full_depth=True)
    assert model.module.config.num_hidden_layers == 3


def test_without_adapters_nothing_trains_and_gradients_reach_the_inputs() -> None:
    model, inputs = tiny(), embeddings(2, 5).requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    model.hidden(inputs, torch.ones(2, 5, dtype=torch.long)).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


@pytest.mark.parametrize("checkpointed", [False, True])
def test_only_adapters_train_and_checkpointing_changes_no_gradient(checkpointed: bool) -> None:
    settings = BackboneSettings(lora=LoraSettings(rank=4), gradient_checkpointing=checkpointed)
    torch.manual_seed(0)
    model = tiny(settings)
    model.module.train()
    trainable = {name: p for name, p in model.module.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in name and parameter.dtype == torch.float32 for name, parameter in trainable.items())
    assert not any("lm_head" in name for name in trainable)
    for name, parameter in trainable.items():
        if "lora_B" in name:  # zero at the start, which would hide the gradient of lora_A
            torch.nn.init.constant_(parameter, 0.05)

    calls = _count_layer_calls(model)
    frozen_inputs, free_inputs = embeddings(2, 6), embeddings(2, 6).requires_grad_(True)
    mask = torch.ones(2, 6, dtype=torch.long)
    for inputs in (frozen_inputs, free_inputs):
        model.module.zero_grad()
        calls.clear()
        model.hidden(inputs, mask).pow(2).sum().backward()
        # Checkpointing shows in the lower layers running a second time during the backward pass.
        assert (len(calls) > SHAPE.depth) == checkpointed
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in trainable.values())
    assert free_inputs.grad is not None
    assert free_inputs.grad.any()

    torch.manual_seed(0)
    plain = tiny(BackboneSettings(lora=LoraSettings(rank=4)))
    plain.module.load_state_dict(model.module.state_dict())
    expected = embeddings(2, 6).requires_grad_(True)
    plain.hidden(expected, mask).pow(2).sum().backward()
    torch.testing.assert_close(free_inputs.grad, expected.grad)


def _count_layer_calls(model: CausalLanguageModel) -> list[int]:
    calls: list[int] = []
    attention = model.module.base_model.model.model.layers
    for index, layer in enumerate(attention):
        # The attention runs inside what is checkpointed, the layer's own hooks outside of it.
        layer.self_attn.register_forward_hook(lambda *_, index=index: calls.append(index))
    return calls


def test_training_mode_switches_the_adapters_dropout_on_and_nothing_else() -> None:
    adapted = tiny(BackboneSettings(lora=LoraSettings(rank=4, dropout=0.5)))
    for name, parameter in adapted.module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.05)
    inputs, mask = embeddings(1, 5), torch.ones(1, 5, dtype=torch.long)
    assert torch.equal(adapted.hidden(inputs, mask), adapted.hidden(inputs, mask))
    adapted.module.train()
    assert not torch.equal(adapted.hidden(inputs, mask), adapted.hidden(inputs, mask))

    frozen = gpt2_with_dropout()
    frozen.module.train()
    assert torch.equal(frozen.hidden(inputs, mask), frozen.hidden(inputs, mask))


def gpt2_with_dropout(layers: int | None = None) -> CausalLanguageModel:
    architecture = {
        "model_type": "gpt2", "vocab_size": 258, "n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 64,
        "resid_pdrop": 0.5, "attn_pdrop": 0.5, "embd_pdrop": 0.5,
    }  # fmt: skip
    options = HuggingFaceOptions(model=None, revision=None, architecture=architecture, tokenizer="bytes")
    settings = BackboneSettings(weights="random", layers=layers)
    return HuggingFace("huggingface", settings, options).load(CPU)


def test_another_family_with_learned_positions_and_other_names_works_too() -> None:
    model, inputs = gpt2_with_dropout(layers=2), embeddings(2, 6)
    assert len(model.module.transformer.h) == 2
    mask, none = torch.ones(2, 6, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long)
    left = model.hidden(torch.cat([torch.ones(2, 3, 32), inputs], 1), torch.cat([none, mask], 1))[:, 3:]
    torch.testing.assert_close(left, model.hidden(inputs, mask))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_pass_continued_twice_equals_one_over_whole_prompts(family: str) -> None:
    model = tiny() if family == "llama" else gpt2_with_dropout()
    ids = torch.tensor([5, 6, 7])
    shared = model.embed(ids)[None]
    middles, ends = embeddings(3, 5), embeddings(3, 2) + 1
    lengths = [5, 0, 3]
    mask = torch.tensor([[1] * length + [0] * (5 - length) for length in lengths])
    prefix = model.prefix(ids)
    assert prefix is not None
    found = model.hidden(ends, torch.ones(3, 2, dtype=torch.long), model.extend(prefix, middles, mask))
    for row, length in enumerate(lengths):
        whole = torch.cat([shared, middles[row : row + 1, :length], ends[row : row + 1]], dim=1)
        expected = model.hidden(whole, torch.ones(1, whole.shape[1], dtype=torch.long))[0, -2:]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_a_model_with_a_window_gives_no_prefix_and_runs_nothing_to_find_out() -> None:
    architecture = {
        "model_type": "mistral", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": 8,
    }  # fmt: skip
    options = HuggingFaceOptions(model=None, revision=None, architecture=architecture, tokenizer="bytes")
    model = HuggingFace("huggingface", BackboneSettings(weights="random"), options).load(CPU)
    runs = []
    model.module.model.register_forward_pre_hook(lambda *given: runs.append(given))  # type: ignore[operator, union-attr]
    assert model.prefix(torch.tensor([5, 6, 7])) is None
    assert not runs


def test_adapters_can_be_kept_to_the_top_layers() -> None:
    model = tiny(BackboneSettings(lora=LoraSettings(rank=2, layers=2)))
    trained = [name for name, parameter in model.module.named_parameters() if parameter.requires_grad]
    assert {name.split(".layers.")[1][0] for name in trained} == {"1", "2"}
    every = tiny(BackboneSettings(lora=LoraSettings(rank=2)))
    assert len(trained) * 3 == 2 * sum(parameter.requires_grad for parameter in every.module.parameters())
    with pytest.raises(InputError, match="4 layers are to be adapted, the model runs 3") as caught:
        tiny(BackboneSettings(lora=LoraSettings(layers=4)))
    assert caught.value.location == "backbone.lora.layers"


def test_misnamed_adapter_layers_are_told_the_names_there_are() -> None:
    with pytest.raises(InputError) as caught:
        tiny(BackboneSettings(lora=LoraSettings(modules=("query",))))
    assert "q_proj" in str(caught.value)
    with pytest.raises(InputError, match="output head"):
        tiny(BackboneSettings(lora=LoraSettings(modules=("q_proj", "lm_head"))))


def test_the_hint_for_a_state_space_model_has_names_that_can_be_adapted() -> None:
    architecture = {"model_type": "mamba", "vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2}
    options = HuggingFaceOptions(model=None, revision=None, architecture=architecture, tokenizer="bytes")

    def adapted(modules: tuple[str, ...] | str) -> CausalLanguageModel:
        lora = LoraSettings.model_validate({"rank": 2, "modules": modules})
        return HuggingFace("huggingface", BackboneSettings(weights="random", lora=lora), options).load(CPU)

    with pytest.raises(InputError) as caught:
        adapted("all-linear")
    names = str(caught.value.hint).partition(": ")[2].split(", ")
    assert names == ["dt_proj", "in_proj", "x_proj"]
    model = adapted(tuple(names))
    assert any(parameter.requires_grad for parameter in model.module.parameters())


def test_quantisation_without_a_gpu_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        tiny(BackboneSettings(quantization="4bit"))
    assert caught.value.location == "backbone.quantization"


def test_generation_is_the_same_alone_and_in_a_padded_batch_and_leaves_training_mode_on() -> None:
    model = tiny()
    prompts = ["once upon a time", "a", "film: Heat"]
    model.module.train()
    together = model.generate(prompts, 6)
    assert model.module.training
    assert together == [model.generate([prompt], 6)[0] for prompt in prompts]
    assert model.generate([], 6) == []


def test_generation_is_greedy_over_the_models_own_logits() -> None:
    model = tiny()
    ids = model.tokenizer("hello", add_special_tokens=False, return_tensors="pt").input_ids
    for _ in range(4):
        ids = torch.cat([ids, model.module(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert model.generate(["hello"], 4) == [model.tokenizer.decode(ids[0, 5:], skip_special_tokens=True)]


def test_random_weights_are_reproducible_and_leave_the_generator_alone() -> None:
    config = Tiny("tiny", BackboneSettings(), SHAPE).architecture()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = (random_model(config, torch.float32).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)


@given(st.text())
def test_byte_tokens_give_the_text_back(text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    if "<pad>" not in text and "<eos>" not in text:
        assert len(ids) == len(text.encode())


def test_registering_the_backbones_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, glta_backbones, glta_backbones.settings;"
        "list(glta_backbones.glta_backbones());"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
