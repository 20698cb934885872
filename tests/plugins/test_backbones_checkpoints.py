"""A checkpoint runs on its own weights, all of them, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from glta_backbones import refusals
from glta_backbones.byte_tokenizer import byte_tokenizer
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.huggingface import HuggingFace
from glta_backbones.settings import HuggingFaceOptions
from glta_backbones.transformer import load_transformer, quiet_transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, BertConfig

from glta_cli.core.errors import GltaError
from glta_cli.plugin import Demand
from glta_cli.plugin.settings import BackboneSettings

CPU = torch.device("cpu")
LLAMA = {
    "model_type": "llama", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
Tensors = dict[str, Tensor]


def saved(folder: Path, family: Any = AutoModelForCausalLM, **values: Any) -> Path:
    """A checkpoint whose weights no seed of ours draws."""
    values = {**LLAMA, **values}
    with quiet_transformers(), torch.random.fork_rng():
        torch.manual_seed(77)
        config = AutoConfig.for_model(values.pop("model_type"), **values)
        family.from_config(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def backbone(folder: Path, **settings: Any) -> HuggingFace:
    options = HuggingFaceOptions(model=str(folder), revision=None, architecture=None, tokenizer=None)
    return HuggingFace("huggingface", BackboneSettings.model_validate(settings), options)


def load(folder: Path, **settings: Any) -> CausalLanguageModel:
    return backbone(folder, **settings).load(CPU)


def change(folder: Path, edit: Callable[[Tensors], Tensors]) -> None:
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


def renamed(rename: Callable[[str], str]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {rename(name): tensor for name, tensor in tensors.items()}


def states(model: CausalLanguageModel) -> Tensor:
    ids = torch.arange(1, 9)[None]
    return model.hidden(model.embed(ids), torch.ones_like(ids))


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing said or found before."""
    monkeypatch.setattr(refusals, "_said", set())
    monkeypatch.setenv("GLTA_CACHE_DIR", str(tmp_path / "cache"))


def nothing_long(tokenizer: Any, most: int | None) -> list[Any]:
    return []


DEMAND = Demand(nothing_long, writes=False)


def refusal(folder: Path, **settings: Any) -> GltaError:
    """What loading says, which must be what is said before any stage runs."""
    with pytest.raises(GltaError) as early:
        backbone(folder, **settings).check_demand(DEMAND)
    with pytest.raises(GltaError) as late:
        load(folder, **settings)
    assert str(early.value) == str(late.value)
    assert early.value.hint
    return early.value


def test_missing_tensors_are_counted_and_named_in_place_of_being_drawn(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    change(folder, lambda tensors: {name: each for name, each in tensors.items() if "layers.1." not in name})
    error = refusal(folder)
    assert "9 of 21 tensors are missing: model.layers.1." in error.problem
    assert error.location == str(folder)


def test_missing_layers_are_no_loss_where_an_early_exit_drops_them(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    expected = states(load(folder, layers=1))
    change(folder, lambda tensors: {name: each for name, each in tensors.items() if "layers.1." not in name})
    backbone(folder, layers=1).check_demand(DEMAND)
    torch.testing.assert_close(states(load(folder, layers=1)), expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"base_model.model.{name.replace('q_proj.', 'q_proj.base_layer.')}",
        lambda name: name.replace("layers.1.", "layers.1._checkpoint_wrapped_module."),
    ],
)
def test_what_a_wrapper_left_in_the_names_is_taken_off_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrap: Callable[[str], str]
) -> None:
    folder = saved(tmp_path / "model")
    expected = states(load(folder))
    assert capsys.readouterr().err == ""
    change(folder, renamed(wrap))
    backbone(folder).check_demand(DEMAND)
    torch.testing.assert_close(states(load(folder)), expected, rtol=0, atol=0)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("warning") == 1
    assert "carry a wrapper's prefix" in said


def test_unmerged_adapters_among_the_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    wrap = renamed(lambda name: f"base_model.model.{name.replace('q_proj.', 'q_proj.base_layer.')}")
    added = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight": torch.zeros(2, 32)}
    change(folder, lambda tensors: wrap(tensors) | added)
    error = refusal(folder)
    assert "adapters" in error.problem
    assert "merge_and_unload" in str(error.hint)


def test_tensors_under_unknown_names_are_refused_with_one_of_them(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    change(folder, renamed(lambda name: f"student.{name}"))
    assert "student." in str(refusal(folder).hint)


def test_tensors_of_another_shape_or_without_a_place_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 40}))
    assert "[48, 32] instead of [40, 32]" in refusal(folder).problem.replace("[32, 48]", "[48, 32]")
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert "9 tensors have no place" in refusal(folder).problem


def test_another_heads_tensors_are_told_and_a_models_own_constants_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path / "model")
    expected = states(load(folder))
    inverse = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}
    change(folder, lambda tensors: tensors | inverse)
    torch.testing.assert_close(states(load(folder)), expected)
    assert capsys.readouterr().err == ""
    change(folder, lambda tensors: tensors | {"score.weight": torch.zeros(2, 32)})
    torch.testing.assert_close(states(load(folder)), expected)
    assert "score.weight" in capsys.readouterr().err


def test_a_missing_output_head_is_missed_by_whoever_writes(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", AutoModel)
    backbone(folder).check_demand(DEMAND)
    model = load(folder)
    assert torch.equal(states(model), states(load(folder)))
    with pytest.raises(GltaError, match="no output head"):
        model.generate(["a"], 1)
    with pytest.raises(GltaError, match="no output head"):
        backbone(folder).check_demand(Demand(nothing_long, writes=True))
    tied = saved(tmp_path / "tied", AutoModel, tie_word_embeddings=True)
    assert len(load(tied).generate(["a"], 1)) == 1


def test_a_sentence_encoder_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=258, **shape)
    folder = tmp_path / "bert"
    with quiet_transformers():
        AutoModel.from_config(config).save_pretrained(folder)
    change(folder, lambda tensors: {name: each for name, each in tensors.items() if "layer.1." not in name})
    with pytest.raises(GltaError, match="16 of 39 tensors are missing"):
        load_transformer(AutoModel, config, folder, BackboneSettings(), CPU, full_depth=False)


def test_files_that_are_not_whole_are_named_with_what_to_do(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    spoilt = {
        "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "not a whole safetensors file": whole[: len(whole) // 2],
        "not a whole": b"",
    }
    for said, content in spoilt.items():
        file.write_bytes(content)
        error = refusal(folder)
        assert said in error.problem
        assert error.location == str(file)
        assert "git lfs pull" in str(error.hint)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"weight_map": {"model.norm.weight": "../outside.safetensors"}}, "outside its folder: ../outside"),
        ({"weight_map": {"model.norm.weight": "/outside.safetensors"}}, "outside its folder: /outside"),
        ({"weight_map": {"model.norm.weight": "lost.safetensors"}}, "the weight file lost.safetensors is missing"),
        ({"weights": {}}, "no usable index"),
        ([], "no usable index"),
    ],
)
def test_a_shard_index_names_files_of_its_folder_that_are_there(tmp_path: Path, index: object, said: str) -> None:
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert said in str(refusal(folder))


def test_a_weight_file_of_another_name_lies_in_the_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    expected = states(load(folder))
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "mine.safetensors"}))
    torch.testing.assert_close(states(load(folder)), expected)
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "../mine.safetensors"}))
    assert "outside its folder" in refusal(folder).problem


def test_weights_that_are_no_numbers_are_refused_for_what_they_are(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    load(folder)
    change(folder, lambda tensors: tensors | {"model.norm.weight": torch.full((32,), float("nan"))})
    with pytest.raises(GltaError, match="states are no numbers") as caught:
        load(folder)
    assert "fetch it again" in str(caught.value.hint)


def test_a_sound_shard_index_loads(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    expected = states(load(folder))
    model = load(folder).module
    (folder / "model.safetensors").unlink()
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size="20KB")  # type: ignore[operator]
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(states(load(folder)), expected)


def test_a_checkpoint_with_code_of_its_own_is_refused_and_nobody_is_told_to_run_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "mine.py").write_text("raise SystemExit\n")
    with pytest.raises(GltaError, match="glta never runs") as caught:
        load(folder)
    assert "trust_remote_code" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("bert", "reads in both directions"), ("t5", "an encoder with a decoder"), ("xlnet", "reads in both directions")],
)
def test_a_model_that_is_not_causal_is_refused_before_anything_is_loaded(tmp_path: Path, kind: str, said: str) -> None:
    with quiet_transformers():
        AutoConfig.for_model(kind).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(GltaError, match=said):
        backbone(tmp_path, weights="random").check_demand(DEMAND)
    with pytest.raises(GltaError, match=said):
        load(tmp_path, weights="random")


def test_words_beyond_the_embedding_are_refused_and_a_special_token_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = saved(tmp_path / "words", vocab_size=200)
    error = refusal(words)
    assert "258 tokens" in error.problem
    assert "200 rows" in error.problem
    padding = saved(tmp_path / "padding", vocab_size=258)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(padding)
    model = load(padding)
    assert model.tokenizer.pad_token_id < 258
    assert "[PAD]" in capsys.readouterr().err
    with pytest.raises(GltaError, match=r"\[PAD\]"):
        model.embed(torch.tensor([258]))


def test_added_words_beyond_the_embedding_are_words(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["zzword", "zzother"])
    tokenizer.save_pretrained(folder)
    assert "none for 'zzword' and 1 more" in refusal(folder).problem


def test_memory_that_runs_out_while_loading_is_no_internal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "model")

    def fails(*given: object, **named: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(GltaError, match="memory ran out") as caught:
        load(folder)
    assert "backbone.dtype=bfloat16" in str(caught.value.hint)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_weights_rounded_to_integers_are_refused_where_nothing_says_how(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = saved(tmp_path / "model")
    change(folder, lambda tensors: {name: (1000 * each).to(dtype) for name, each in tensors.items()})
    error = refusal(folder)
    assert "21 of its weights are no floating-point numbers: lm_head.weight (" in error.problem
    assert "quantization_config" in str(error.hint)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_every_floating_type_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = saved(tmp_path / "model")
    change(folder, lambda tensors: {name: each.to(dtype) for name, each in tensors.items()})
    backbone(folder).check_demand(DEMAND)


def test_loading_draws_nothing_whatever_the_file_lacks(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for folder in (saved(tmp_path / "headless", AutoModel), saved(tmp_path / "whole")):
        load(folder)
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("eos", ["x", [257, "x"], {"a": 1}, 2.5])
def test_the_end_token_of_the_generation_settings_is_a_number(tmp_path: Path, eos: object) -> None:
    folder = saved(tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    error = refusal(folder)
    assert "eos_token_id" in error.problem
    assert error.location == str(folder / "generation_config.json")


def test_a_shard_index_nested_without_end_and_a_weight_file_that_is_no_name_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": 5}))
    assert "transformers_weights is 5" in refusal(folder).problem
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[" * 100_000)
    assert "no usable index" in refusal(folder).problem


def test_states_wider_than_the_configuration_says_are_refused(tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_attention_heads": 2, "attention_head_size": 16, "feed_forward_size": 48}
    axes = {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (32, 32), "attn_layers": ["local"]}
    with quiet_transformers():
        AutoConfig.for_model("reformer", is_decoder=True, vocab_size=258, **shape, **axes).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(GltaError, match="states have 64 dimensions, its configuration says 32"):
        load(tmp_path, weights="random")


def test_adapters_beside_a_configuration_are_still_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert "adapters alone, without the model" in refusal(folder).problem


def test_packed_weights_lack_no_part_and_are_packed_in_a_known_way(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    packing = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": packing}))
    change(folder, renamed(lambda name: name.replace("proj.weight", "proj.qweight")))
    backbone(folder).check_demand(DEMAND)
    change(folder, lambda tensors: {name: each for name, each in tensors.items() if "layers.1." not in name})
    assert "9 of 21 tensors are missing, packed and plain" in refusal(folder).problem
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "zzz"}}))
    assert "quant_method 'zzz'" in refusal(folder).problem
