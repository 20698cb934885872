"""What a backbone cannot do is said before the first stage runs, with what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from glta_backbones.byte_tokenizer import byte_tokenizer
from glta_backbones.transformer import quiet_transformers
from transformers import AutoConfig, AutoModelForCausalLM

from glta_cli.core.errors import GltaError, InputError
from glta_cli.language.prompt_lengths import longest_alignment
from glta_cli.recipe.schema import AlignSettings, PromptSettings, Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

GPT2 = {"model_type": "gpt2", "vocab_size": 258, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
LLAMA = {
    "model_type": "llama", "vocab_size": 258, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def saved(folder: Path, shape: dict[str, Any]) -> Path:
    with quiet_transformers():
        config = AutoConfig.for_model(**shape)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def pipeline(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Pipeline]:
    def make(*overrides: str) -> Pipeline:
        return Pipeline("checks", tiny_recipe(*overrides), Workspace(tmp_path / "workspace"), device="cpu")

    return make


def of(folder: Path) -> tuple[str, str]:
    return "backbone.name=huggingface", f"backbone.options.model={folder}"


def stages_of(pipeline: Pipeline) -> list[str]:
    return [name for name, _ in pipeline.reached()]


def test_prompts_longer_than_the_table_of_positions_are_refused_before_anything_runs(
    pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model", GPT2)
    run = pipeline(*of(folder))
    with pytest.raises(GltaError, match="the model has 64 positions") as caught:
        run.ensure("index")
    assert "align.most_items" in str(caught.value.hint)
    assert stages_of(run) == ["prepare"]


def test_what_the_data_never_reaches_is_not_refused(pipeline: Callable[..., Pipeline], tmp_path: Path) -> None:
    """Settings allow descriptions of 400 bytes; the titles have fourteen."""
    folder = saved(tmp_path / "model", {**GPT2, "n_positions": 256})
    run = pipeline(*of(folder), "align.description_tokens=400", "finetune.context_items=400", "text.tokens=400")
    assert [stage.name for stage in run.checked("index")][-1] == "index"


def test_beyond_rotary_positions_it_is_told_and_goes_on(
    pipeline: Callable[..., Pipeline], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path / "model", LLAMA)
    pipeline(*of(folder)).checked("index")
    said = " ".join(capsys.readouterr().err.split())
    assert "the model has 64 positions, trained for no more" in said


def test_questions_are_held_against_the_positions_where_words_are_asked_for(
    pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model", {**GPT2, "n_positions": 256})
    pipeline(*of(folder)).checked("index")
    with pytest.raises(GltaError, match="prompts of describe-users") as caught:
        pipeline(*of(folder), "interests.profile=true").checked("index")
    assert "interests.items" in str(caught.value.hint)


def test_a_wording_without_its_slot_is_refused_before_anything_runs(pipeline: Callable[..., Pipeline]) -> None:
    run = pipeline("prompts.recommendation=Choose {items}")
    with pytest.raises(InputError, match=r"the slot \{user\} is missing"):
        run.ensure("index")
    assert stages_of(run) == ["prepare"]


def test_a_backbone_is_not_asked_again_where_its_stages_are_published(
    pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    from glta_backbones.tiny import Tiny

    asked: list[str] = []
    plain = Tiny.check_demand

    def counted(self: Tiny, demand: Any) -> None:
        asked.append(self.name)
        plain(self, demand)

    monkeypatch.setattr(Tiny, "check_demand", counted)
    pipeline().ensure("encode-items")
    assert asked == ["tiny"]
    pipeline().ensure("encode-items")
    assert asked == ["tiny"]


def test_a_backbone_that_cannot_be_asked_runs_as_before(
    pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    from glta_backbones import tiny

    class Silent:
        def __init__(self, *given: Any) -> None:
            own = plain(*given)
            self.identity, self.architecture, self.load = own.identity, own.architecture, own.load

    plain = tiny.Tiny
    monkeypatch.setattr(tiny, "Tiny", Silent)
    assert pipeline().ensure("encode-items").stage == "encode-items"


def test_the_longest_prompt_counts_the_longest_descriptions() -> None:
    settings = AlignSettings(most_items=2, least_items=1, description_tokens=100)
    tokenizer = byte_tokenizer()
    texts = ["a" * 30, "b" * 50, "c" * 10]
    wording = PromptSettings(system="", alignment="{descriptions}|{items}")
    # Two lines of 50 and 30 bytes with their ends, a bar, two item tokens, and the end of the wording.
    assert longest_alignment(tokenizer, lambda: texts, settings, wording, most=90) == 51 + 31 + 1 + 2 + 1
