"""`--dry-run`: exact parameter counts, and an estimate that is near what training really keeps."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
import torch
from rich.console import Console

from glta_cli.core.errors import InputError
from glta_cli.language.memory_plan import activation_bytes, attended_bytes, plan, plan_table
from glta_cli.plugin.registry import installed
from glta_cli.recipe.files import load_recipe, recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options
from glta_cli.training.losses import Positives, catalogue_softmax_loss

CPU = torch.device("cpu")


def tiny_recipe(**sections: Any) -> Recipe:
    backbone = {
        "name": "tiny",
        "dtype": "float32",
        "options": {"hidden_size": 256, "depth": 6, "heads": 4},
        **sections.pop("backbone", {}),
    }
    return recipe_from({"backbone": backbone, **sections})


def load(recipe: Recipe) -> Any:
    target = installed().find("backbone", recipe.backbone.name).target()
    return target(recipe.backbone.name, recipe.backbone, component_options(recipe, "backbone")).load(CPU)


def test_llama_2_7b_is_counted_to_the_last_parameter_without_weights() -> None:
    recipe = load_recipe("llama7b-lora").recipe
    result = plan(recipe, users=1000, items=500, graph_dimension=64)
    assert result.parameters["language model"] == 6_738_415_616
    rank, layers, hidden, feed_forward = recipe.backbone.lora.rank, 32, 4096, 11008  # type: ignore[union-attr]
    per_layer = 4 * (hidden + hidden) + 3 * (hidden + feed_forward)
    assert result.parameters["adapters"] == rank * layers * per_layer
    assert result.parameters["user projector"] == 64 * hidden + hidden
    assert result.parameters["head"] == (hidden + 1) * (64 + recipe.text.dimensions) + 500
    assert result.stages[-1].weights == 2 * 6_738_415_616


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("llama7b-frozen", 6_738_415_616),
        ("qwen2.5-7b-lora", 7_615_616_512),
        ("smollm2-1.7b", 1_711_376_384),
        ("smollm2-360m", 361_821_120),
    ],
)
def test_a_recipes_architecture_has_the_parameters_its_checkpoint_has(name: str, published: int) -> None:
    recipe = load_recipe(name, ["backbone.layers=null"]).recipe
    assert plan(recipe, users=1000, items=500, graph_dimension=64).parameters["language model"] == published


@pytest.mark.parametrize("adapted", [False, True])
def test_counts_are_those_of_the_loaded_model(adapted: bool) -> None:
    recipe = tiny_recipe(backbone={"layers": 4, "lora": {"rank": 3} if adapted else None})
    result = plan(recipe, users=10, items=20, graph_dimension=8)
    parameters = list(load(recipe).module.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    assert result.layers == 4
    assert result.parameters["adapters"] == trainable
    assert result.parameters["language model"] == sum(p.numel() for p in parameters) - trainable
    align, finetune = result.stages
    projector, head = 8 * 256 + 256, 257 * (8 + 20 - 1) + 20
    assert finetune.trainable == projector + head + trainable
    assert align.trainable == projector + head


def test_the_papers_head_and_a_skipped_alignment_count_as_such() -> None:
    recipe = tiny_recipe(finetune={"head": "linear"}, align={"enabled": False})
    result = plan(recipe, users=10, items=20, graph_dimension=8)
    assert result.parameters["head"] == 256 * 20 + 20
    (finetune,) = result.stages
    assert finetune.trainable == 2 * (8 * 256 + 256) + 256 * 20 + 20


def test_alignment_knows_no_adapters() -> None:
    """Stage 2 loads the model without them, so they cost it nothing."""
    plain, adapted = (
        plan(tiny_recipe(backbone={"lora": lora}), users=10, items=20, graph_dimension=8)
        for lora in (None, {"rank": 8})
    )
    assert adapted.stages[0] == plain.stages[0]
    assert adapted.stages[1].activations > plain.stages[1].activations


@pytest.mark.parametrize("items", [5_000, 100_000])
def test_the_logits_are_near_what_a_loss_allocates(items: int) -> None:
    """Stage 2 scores the whole catalogue, in chunks where it is large, and stage 3 a sample of it."""
    recipe = tiny_recipe(finetune={"softmax_items": 4000})
    align, finetune = plan(recipe, users=10, items=items, graph_dimension=8).stages
    queries = recipe.align.training.batch_size * recipe.align.most_items
    assert _allocated(queries, items, None) == pytest.approx(align.logits, rel=0.35)
    assert (align.logits == 4 * queries * items) == (items == 5_000)
    assert _allocated(recipe.finetune.training.batch_size, items, 4000) == pytest.approx(finetune.logits, rel=0.35)


def _allocated(queries: int, items: int, sample: int | None) -> int:
    """Most bytes of tensors at once during a loss and its gradients."""
    vectors, catalogue = torch.randn(queries, 2, requires_grad=True), torch.randn(items, 2)
    bias = torch.zeros(items, requires_grad=True)
    positives = Positives(torch.arange(queries), torch.randint(items, (queries,)))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        catalogue_softmax_loss(vectors, catalogue, positives, bias=bias, sample=sample).backward()
    results: Any = profile.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


@pytest.mark.parametrize(
    ("loss", "readout", "placeholders"), [("first", "autoregressive", 0), ("positions", "first", 6)]
)
def test_the_trained_prompt_ends_in_the_placeholders_of_the_loss(loss: str, readout: str, placeholders: int) -> None:
    def tokens(**settings: Any) -> int:
        recipe = tiny_recipe(finetune={"positions": 7, **settings})
        return plan(recipe, users=10, items=20, graph_dimension=8).stages[-1].prompt_tokens

    assert tokens(loss=loss, readout=readout) == tokens() + placeholders


def test_before_prepare_the_unknown_stays_unknown() -> None:
    result = plan(tiny_recipe(), users=None, items=None, graph_dimension=8)
    assert result.parameters["head"] is None
    assert result.stages[0].logits is None
    assert any("unknown until prepared" in value for _, value in result.rows())


def test_quantisation_and_checkpointing_save_memory() -> None:
    def stage(**backbone: Any) -> Any:
        return plan(tiny_recipe(backbone=backbone), users=10, items=20, graph_dimension=8).stages[-1]

    plain, packed8, packed4 = stage(), stage(quantization="8bit"), stage(quantization="4bit")
    assert plain.weights > 3.5 * packed8.weights > 6 * packed4.weights
    assert stage(dtype="bfloat16").weights * 2 == plain.weights
    assert stage(gradient_checkpointing=True).activations < plain.activations / 3


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
def test_activations_are_near_what_autograd_keeps(adapted: bool, checkpointed: bool) -> None:
    recipe = tiny_recipe(backbone={"lora": {"rank": 8} if adapted else None, "gradient_checkpointing": checkpointed})
    model = load(recipe)
    model.module.train()
    batch, tokens = 2, 48
    estimate = batch * tokens * activation_bytes(model.module, recipe.backbone, torch.float32)
    inputs = torch.randn(batch, tokens, 256, requires_grad=True)
    mask = torch.ones(batch, tokens, dtype=torch.long)
    kept = _kept(model, lambda: model.hidden(inputs, mask))
    if checkpointed:
        # What one layer keeps while it is run again is estimated from the same layer without checkpoints.
        single = recipe.model_copy(
            update={"backbone": recipe.backbone.model_copy(update={"gradient_checkpointing": False, "layers": 1})}
        )
        rerun = load(single)
        rerun.module.train()
        kept += _kept(rerun, lambda: rerun.hidden(inputs, mask))
    assert kept == pytest.approx(estimate, rel=0.35)


def test_of_tokens_without_a_gradient_little_is_kept() -> None:
    """Stage 2's descriptions, behind which the trained item tokens stand."""
    recipe = tiny_recipe()
    model = load(recipe)
    batch, described, shown = 2, 96, 8
    context, items = torch.randn(batch, described, 256), torch.randn(batch, shown, 256, requires_grad=True)
    full = activation_bytes(model.module, recipe.backbone, torch.float32)
    estimate = batch * (described * attended_bytes(model.module, torch.float32) + shown * full)
    masks = [torch.ones(batch, length, dtype=torch.long) for length in (described, shown)]
    prefix = model.prefix(torch.tensor([1, 2]))
    kept = _kept(model, lambda: model.hidden(items, masks[1], model.extend(prefix, context, masks[0])))
    assert kept == pytest.approx(estimate, rel=0.35)


def _kept(model: Any, states: Callable[[], torch.Tensor]) -> int:
    """Bytes of the distinct tensors, other than weights, that autograd saves for the backward pass."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.module.state_dict().values()}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # a freed address would be counted for another tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states().sum()
    return sum(kept.values())


def test_an_early_exit_beyond_the_model_is_found_without_loading_it() -> None:
    with pytest.raises(InputError, match="7 layers are asked for, the model has 6"):
        plan(tiny_recipe(backbone={"layers": 7}), users=1, items=1, graph_dimension=8)


def test_the_plan_prints_and_is_plain_json() -> None:
    result = plan(tiny_recipe(), users=10, items=20, graph_dimension=8)
    values = json.loads(json.dumps(result.as_dict()))
    assert values["parameters"]["total"] == result.total_parameters
    assert values["stages"]["finetune"]["per_device"] == result.bytes_per_device(result.stages[-1])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plan_table(result))
    shown = console.export_text()
    assert f"{result.parameters['language model']:,}" in shown
    # No row of names that are empty stands above the first.
    assert "backbone" in shown.splitlines()[2]


def test_the_backbone_of_item_texts_is_counted_apart() -> None:
    plain, read = tiny_recipe(), tiny_recipe(text={"backbone": "minilm"})
    before, after = (plan(each, users=10, items=20, graph_dimension=8) for each in (plain, read))
    assert before.text_backbone is None
    assert before.as_dict()["text_backbone"] is None
    assert after.as_dict()["text_backbone"] == {"name": "minilm", "parameters": 22_713_216}
    assert ("text.backbone", "minilm, 22,713,216 parameters, for encode-items alone") in list(after.rows())
    assert after.total_parameters == before.total_parameters


def test_moments_of_half_the_width_take_four_bytes_less_a_trained_number() -> None:
    half = {"training": {"moments": "bfloat16"}}
    before, now = (
        plan(tiny_recipe(**sections), users=10, items=20, graph_dimension=8).stages
        for sections in ({}, {"align": half, "finetune": half})
    )
    for one, other in zip(before, now, strict=True):
        assert one.trained - other.trained == 4 * one.trainable
