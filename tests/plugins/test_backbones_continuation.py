"""Greedy continuation of a batch, against one prompt after another without any cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.continuation import continue_greedily, shared_starts
from glta_backbones.huggingface import HuggingFace
from glta_backbones.settings import HuggingFaceOptions, SmolLM2Options
from glta_backbones.smollm2 import SmolLM2
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.language.chat import chat_text
from glta_cli.plugin.settings import BackboneSettings

CPU = torch.device("cpu")
LIKED = "A user liked:\n- Heat, a crime film\n- Fargo\n- Alien\n"
OTHER = "A user liked:\n- Toy Story, a film for children\n"
PROMPTS = [LIKED + "Sum up", LIKED + "Name a few", OTHER + "Sum up", "A user", OTHER + "Name", "x", LIKED + "Sum up"]

LLAMA = {
    "model_type": "llama", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 258, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
WINDOW = LLAMA | {"model_type": "mistral", "sliding_window": 8}


def random_backbone(architecture: dict[str, Any]) -> CausalLanguageModel:
    """Weights large enough for answers that change from token to token and from prompt to prompt."""
    options = HuggingFaceOptions(model=None, revision=None, architecture=architecture, tokenizer="bytes")
    model = HuggingFace("huggingface", BackboneSettings(weights="random"), options).load(CPU)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.module.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


def one_by_one(model: CausalLanguageModel, prompt: list[int], count: int, stops: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    for _ in range(count):
        ids = torch.cat([ids, model.module(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
        if int(ids[0, -1]) in stops:
            break
    return ids[0, len(prompt) :].tolist()


@pytest.mark.parametrize("architecture", [LLAMA, GPT2, WINDOW], ids=["llama", "gpt2", "window"])
def test_a_batch_goes_on_as_each_prompt_alone_does(architecture: dict[str, Any]) -> None:
    model = random_backbone(architecture)
    prompts = model.tokenizer(PROMPTS, add_special_tokens=False)["input_ids"]
    expected = [one_by_one(model, prompt, 12, []) for prompt in prompts]
    texts = model.tokenizer.batch_decode(expected, skip_special_tokens=True)
    assert len(set(texts)) > 4
    assert model.generate(PROMPTS, 12) == texts


@pytest.mark.parametrize("stop_count", [1, 3, 8])
def test_rows_that_end_leave_the_others_as_they_were(stop_count: int) -> None:
    model = random_backbone(LLAMA)
    prompts = model.tokenizer(PROMPTS, add_special_tokens=False)["input_ids"]
    whole = [one_by_one(model, prompt, 12, []) for prompt in prompts]
    stops = [tokens[2 + 3 * row % 9] for row, tokens in enumerate(whole)][:stop_count]
    expected = [one_by_one(model, prompt, 12, stops) for prompt in prompts]
    assert len({len(tokens) for tokens in expected}) > 1
    head = model.module.get_output_embeddings()
    found = continue_greedily(model.module.model, head, prompts, 12, stops, depth=3, device=CPU)
    assert found == expected


def test_what_prompts_share_is_run_once() -> None:
    model = random_backbone(LLAMA)
    prompts = model.tokenizer([LIKED + "Sum up", LIKED + "Name"], add_special_tokens=False)["input_ids"]
    run = []
    model.module.model.register_forward_pre_hook(
        lambda _, __, given: run.append(given["input_ids"].numel()), with_kwargs=True
    )
    model.generate([LIKED + "Sum up", LIKED + "Name"], 3)
    # Two rows of the longer rest, and two tokens more for each; the last token is never run.
    assert sum(run) == len(LIKED) + 2 * len("Sum up") + 2 * 2
    assert sum(run) < sum(map(len, prompts))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=9))
def test_every_start_is_the_start_of_its_prompts_and_leaves_a_token(prompts: list[list[int]]) -> None:
    starts, start_of = shared_starts(prompts)
    assert set(start_of) == set(range(len(starts)))
    for prompt, number in zip(prompts, start_of, strict=True):
        start = starts[number]
        assert prompt[: len(start)] == start
        assert len(start) < len(prompt)
        # A start that is shared is worth it, and one that is not is all but the last token.
        if start_of.count(number) > 1:
            assert 2 * len(start) >= len(prompt)
        else:
            assert len(start) == len(prompt) - 1


def test_a_start_that_shrinks_stays_half_of_the_longest_prompt_that_has_it() -> None:
    longest, middle, short = [1] * 8, [1] * 4 + [2], [1] * 2 + [3]
    starts, start_of = shared_starts([longest, middle, short])
    assert starts == [[1] * 4, [1] * 2]
    assert start_of == [0, 0, 1]


@pytest.mark.smollm2
def test_smollm2_answers_as_transformers_own_generation_does() -> None:
    model = SmolLM2("smollm2", BackboneSettings(), SmolLM2Options(folder=None)).load(CPU)
    questions = ["Sum up this user's taste in 5 short tags.", "Name 5 words for what this user would like next."]
    prompts = [
        chat_text(model.tokenizer, "You recommend items.", f"{text}{q}") for text in (LIKED, OTHER) for q in questions
    ]
    batch = model.tokenizer(prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    stop = model.tokenizer.eos_token_id
    output = model.module.generate(**batch, max_new_tokens=16, do_sample=False, pad_token_id=stop, eos_token_id=stop)
    expected = model.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    assert model.generate(prompts, 16) == expected
